"""Figures and tables, in one style; each module and what notebooks use of it, loaded when it is first used."""

import lazy_loader

USED = {
    "theme": ["ROOT", "SPLIT_NAMES", "new_figure", "save", "show"],
    "audio": ["mel_picture", "pitch_ranges", "waveform"],
    "tables": ["show_committed"],
    "study": [
        "compare", "show_table", "draw_cnn_instruments", "draw_cnn_one_class_per_file", "draw_resnet",
        "draw_cnn_lstm_cnn", "draw_mixtures", "draw_regularization",
    ],
    "recognition": ["draw_recognizer", "draw_steps", "draw_other_libraries"],
    "orchestration": ["draw_orchestrations", "draw_match", "draw_piano_roll"],
}  # fmt: skip
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["gallery", "svg", *USED], submod_attrs=USED)
