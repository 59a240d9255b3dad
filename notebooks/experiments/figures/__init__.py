"""Figures and tables of the committed runs; what the notebooks use of them."""

from .recognition import (
    attribution_picture,
    changed_pictures,
    constantq_picture,
    draw_other_libraries,
    draw_recognizer,
    draw_steps,
    listen,
    low_semitone,
    recall_by_level,
    recall_table,
    reliability_picture,
)  # fmt: skip
from .searches import draw_orchestrations
from .study import (
    compare,
    draw_cnn_instruments,
    draw_cnn_lstm_cnn,
    draw_cnn_one_class_per_file,
    draw_mixtures,
    draw_regularization,
    draw_resnet,
    show_table,
)  # fmt: skip
from .tables import instrument_table, k_of_n_table, show_committed, totals_table

__all__ = [
    "attribution_picture", "changed_pictures", "compare", "constantq_picture", "draw_cnn_instruments",
    "draw_cnn_lstm_cnn", "draw_cnn_one_class_per_file", "draw_mixtures", "draw_orchestrations", "draw_other_libraries",
    "draw_recognizer", "draw_regularization", "draw_resnet", "draw_steps", "instrument_table", "k_of_n_table", "listen",
    "low_semitone", "recall_by_level", "recall_table", "reliability_picture", "show_committed", "show_table",
    "totals_table",
]  # fmt: skip
