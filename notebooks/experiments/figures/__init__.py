"""Figures and tables of the notebooks and of the committed runs; each loaded when it is first used."""

import lazy_loader

USED = {
    "notes": ["mel_picture", "pitch_ranges"],
    "recognition": [
        "attribution_picture", "changed_pictures", "constantq_picture", "draw_other_libraries", "draw_recognizer",
        "draw_steps", "listen", "low_semitone", "recall_by_level", "recall_table", "reliability_picture",
    ],
    "score": ["draw_match", "draw_piano_roll"],
    "searches": ["draw_orchestrations"],
    "study": [
        "compare", "draw_cnn_instruments", "draw_cnn_lstm_cnn", "draw_cnn_one_class_per_file", "draw_mixtures",
        "draw_regularization", "draw_resnet", "show_table",
    ],
    "tables": ["instrument_table", "k_of_n_table", "show_committed", "totals_table"],
}  # fmt: skip
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["gallery", *USED], submod_attrs=USED)
