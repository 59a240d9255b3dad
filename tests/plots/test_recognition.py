"""The recognizer's figures show the numbers of their tables."""

import pandas as pd
import pytest
import torch
from experiments.figures import gallery, recognition
from matplotlib.figure import Figure

import deeporch as do
from deeporch.features.constantq import ConstantQ
from deeporch.recognition.calibration import Calibration
from deeporch.results import load_results


def test_every_figure_of_the_recognizer_is_redrawn_by_plots():
    assert set(recognition.FIGURES) <= set(gallery.FIGURES)


def test_five_minutes_shows_its_recalls_and_the_studys():
    table = load_results("five_minutes")
    (ax,) = recognition.draw_five_minutes(table).axes
    lines = {line.get_label(): line for line in ax.lines}
    expected = 100 * table[table["quantity"] == "top_n_recall"].sort_values("n")["value"]
    assert lines["seen recordings"].get_ydata() == pytest.approx(expected.to_numpy())
    assert lines["the study (seen)"].get_ydata() == pytest.approx([92.15, 83.80, 72.62, 52.08], abs=0.006)


def test_steps_are_compared_with_the_first():
    rows = [
        {"setting": setting, "split": split, "value": value}
        for setting, values in (("as it is", (0.8, 0.7)), ("wider", (0.9, 0.6)))
        for split, value in zip(("mixture", "recording"), values, strict=True)
    ]
    labels = {"quantity": "top_n_recall", "n": 5, "n_classes": 9, "features": "", "train_mixtures": 9, "epochs": 1}
    labels |= {"seconds": 1, "seed": 0, "data": "x", "device": "y", "profile": "z"}
    (ax,) = recognition.draw_steps(pd.DataFrame(rows).assign(**labels)).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["as it is", "wider"]
    points = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert points["seen recordings"] == [80, 90]
    assert points["another dynamic, unseen"] == [70, 60]
    dotted = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert dotted == [80, 70]


def test_a_perfectly_calibrated_network_lies_on_the_diagonal():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 20, generator=generator)
    targets = (torch.rand(logits.shape, generator=generator) < torch.sigmoid(logits)).float()
    ax = Figure().subplots()
    recognition.reliability_picture(ax, logits, targets, Calibration(temperature=4.0))
    right, wrong = (line for line in ax.lines[:2])
    assert abs(right.get_ydata() - right.get_xdata()).max() < 0.03
    assert abs(wrong.get_ydata() - wrong.get_xdata()).max() > 0.1


def test_a_picture_has_its_octaves_where_they_are():
    features = ConstantQ(frames=8)
    ax = Figure().subplots()
    recognition.constantq_picture(ax, torch.rand(1, features.bins, 8), features)
    labels = dict(zip((t.get_text() for t in ax.get_yticklabels()), ax.get_yticks(), strict=True))
    assert labels["C1"] == 6  # three semitones above A0
    assert labels["C5"] == 6 + 4 * 24


def test_low_notes_of_one_instrument_are_drawn_a_semitone_apart(tiny_library):
    axes = Figure().subplots(1, 2)
    recognition.low_semitone(axes, tiny_library)
    for ax in axes:
        assert [line.get_label() for line in ax.lines] == ["Fl C4", "Fl C#4"]
        assert all(line.get_ydata().max() == 1 for line in ax.lines)
    below, above = (int(line.get_ydata().argmax()) for line in axes[1].lines)
    assert (below, above) == (2 * (60 - 21), 2 * (61 - 21)), "the fundamentals, two bins a semitone from A0"


def test_a_notes_partials_are_marked_over_what_the_network_looks_at(tiny_library):
    net = do.build("pitchnet", do.Classes(tiny_library), features=ConstantQ(frames=8), blocks=1)
    ax = Figure().subplots()
    index = net.classes.names.index("Fl A4")
    recognition.attribution_picture(ax, net, torch.rand(1, 1, 216, 8), index)
    marks = [line.get_xdata()[0] for line in ax.lines]
    assert marks[:2] == [96, 120]  # A4 is four octaves above A0
    assert marks[2] == pytest.approx(120 + 24 * 0.585, abs=0.01)
    assert ax.get_title("left") == "Fl A4"


def test_a_table_of_recalls_names_its_tests():
    table = load_results("07_recognizer")
    found = recognition.recall_table(table)
    assert list(found.columns) == ["2", "3", "5", "10"]
    rows = table[(table["quantity"] == "top_n_recall") & (table["split"] == "recording") & (table["n"] == 5)]
    assert found.loc["another dynamic, unseen", "5"] == round(100 * rows["value"].iloc[0], 1)
    by_step = recognition.recall_table(load_results("07_steps"), rows="setting", columns="split")
    assert list(by_step.columns) == ["seen recordings", "another dynamic, unseen", "other takes, unseen"]
    assert by_step.index[0] == "as it is"


def test_quiet_notes_stand_on_the_left():
    level = torch.arange(80.0).flip(0).reshape(16, 5) - 40
    ax = Figure().subplots()
    recognition.recall_by_level(ax, level > 0, level, bins=4)
    (line,) = ax.lines
    assert list(line.get_ydata()) == [0, 0, pytest.approx(95), 100]
    assert list(line.get_xdata()) == [-30.5, -10.5, 9.5, 29.5]
