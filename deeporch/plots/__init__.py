"""Figures and tables, in one style; the functions of every module, each loaded when it is first used."""

import lazy_loader

FUNCTIONS = {
    "theme": [
        "style", "ink", "halo", "new_figure", "save", "show", "curve", "published_line", "BLUE", "ORANGE", "GREEN",
        "PINK", "SKY", "RED", "YELLOW", "GREY", "FAMILY_COLOURS", "COLOURS",
        "SPLIT_NAMES", "ROOT",
    ],
    "audio": [
        "waveform", "mel_picture", "pitch_ranges", "constantq_picture",
    ],
    "tables": [
        "by_test", "describe", "k_of_n_table", "totals_table", "instrument_table", "results_table", "headline_table",
        "training_time", "write_readme", "caption", "show_committed",
    ],
    "study": [
        "instrument_accuracy", "instrument_spread", "instrument_bars", "draw_accuracy", "draw_cnn_instruments",
        "draw_cnn_one_class_per_file", "recall_by_n", "heat_map", "confusion_table", "draw_mixtures", "compare",
        "recall_bars", "setting_curves", "draw_resnet", "draw_cnn_lstm_cnn", "draw_regularization", "show_table",
    ],
    "recognition": [
        "low_semitone", "changed_pictures", "recall_on_tests", "draw_recognizer", "recall_table", "draw_five_minutes",
        "draw_steps", "draw_other_libraries", "reliability_picture", "recall_by_level", "attribution",
        "attribution_picture",
    ],
    "orchestration": [
        "method_map", "budget_lines", "relative", "verdict_map", "recovery_bars", "cost_curve", "draw_orchestrations",
        "draw_match", "draw_piano_roll",
    ],
    "gallery": [
        "redraw", "gallery_page", "write_gallery",
    ],
}  # fmt: skip
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["svg", *FUNCTIONS], submod_attrs=FUNCTIONS)
