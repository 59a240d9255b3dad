import numpy as np
import pytest
import torch
from experiments import front_picture
from matplotlib.colors import to_hex

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.plots import theme
from deeporch.recognition import recognizer


@pytest.fixture(scope="module")
def mixtures(tiny_library):
    """Two notes an octave and a fifth of partials apart, one of them at half level."""
    table = tiny_library.table
    rows = [
        table[(table["instrument"] == name) & (table["pitch"] == pitch) & (table["dynamic"] == "mf")].index[0]
        for name, pitch in (("Fl", "C4"), ("Vn", "F#4"))
    ]
    return Mixtures.from_recipe(tiny_library, Classes(tiny_library), [rows], gains=[[0.75, 0.5]])


ANSWER = [("Vn", "F#4", 0.9), ("Ob", "C4", 0.5), ("Fl", "C4", 0.2), ("Fl", "C5", 0.1)]


def test_right_and_wrong_are_told_by_more_than_colour(mixtures):
    bars = front_picture.draw_front(mixtures, 0, ANSWER).axes[1]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([90, 50, 20, 10])
    assert [bar.get_hatch() for bar in bars.patches] == [None, "///", None, "///"]
    assert [text.get_text().strip() for text in bars.texts] == ["✓ 90 %", "✗ 50 %", "✓ 20 %", "✗ 10 %"]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["Vn F#4", "Ob C4", "Fl C4", "Fl C5"]
    assert to_hex(bars.patches[0].get_facecolor()).upper() == theme.COLOURS[1], "the second note's colour"
    missed = front_picture.draw_front(mixtures, 0, ANSWER[:2]).axes[1]
    assert missed.get_xlabel().endswith("not heard: Fl C4")


def test_every_partial_has_the_colour_of_its_note(mixtures):
    picture = front_picture.draw_front(mixtures, 0, ANSWER).axes[0].images[0].get_array()
    assert picture.shape == (216, 64, 3)
    for index, midi in ((0, 60), (1, 66)):
        colour = np.array([int(theme.COLOURS[index][i : i + 2], 16) / 255 for i in (1, 3, 5)])
        shown = picture[2 * (midi - 21), 10]
        tint = (1 - shown) / (1 - shown).max()
        np.testing.assert_allclose(tint, (1 - colour) / (1 - colour).max(), atol=0.06)
        assert (1 - shown).max() > 0.5, "loud"
    np.testing.assert_allclose(picture[2 * (63 - 21), 10:30], 1, atol=0.35)


def test_notes_alone_add_up_to_the_mixture(mixtures):
    alone = front_picture._notes_alone(mixtures, 0)
    assert alone.shape == (2, mixtures.samples)
    torch.testing.assert_close(alone.sum(0) / 2, mixtures.audio([0])[0], atol=1e-6, rtol=0)
    assert mixtures.n == 2, "the set itself stays as it is"


def test_what_cannot_be_drawn_is_one_sentence(mixtures):
    with pytest.raises(ValueError, match=r"There is no mixture 1: the set has 1, numbered from 0\."):
        front_picture.draw_front(mixtures, 1, ANSWER)
    with pytest.raises(ValueError, match="There is no answer to draw: give the network's notes as"):
        front_picture.draw_front(mixtures, 0, [])


def test_dark_and_light(mixtures):
    dark = front_picture.draw_front(mixtures, 0, ANSWER, dark=True)
    assert dark.axes[0].images[0].get_array().min(axis=(0, 1)).max() < 0.15, "silence has the background's colour"
    assert front_picture.draw_front(mixtures, 0, ANSWER).axes[0].images[0].get_array().max() > 0.99


def test_command_line_without_a_checkpoint_and_with_one(tmp_path, monkeypatch, capsys, mixtures):
    monkeypatch.setattr(front_picture, "ROOT", tmp_path)
    assert front_picture.main([str(tmp_path / "none.safetensors")]) == 1
    assert "There is no checkpoint" in capsys.readouterr().err
    assert front_picture.main(["a", "b"]) == 2
    assert "usage: python notebooks/experiments/front_picture.py [CHECKPOINT]" in capsys.readouterr().err

    class Answering:
        def predict(self, audio, sample_rate, *, n):
            assert (len(audio), sample_rate, n) == (mixtures.samples, 44_100, front_picture.SHOWN)
            return ANSWER

    monkeypatch.setattr(front_picture, "_mixture", lambda: mixtures)
    monkeypatch.setattr(recognizer.Recognizer, "load", lambda _: Answering())
    assert front_picture.main([]) == 0
    assert 10_000 < (tmp_path / "figures" / "front.png").stat().st_size < 300_000


def test_the_mixture_is_held_out_and_has_five_different_pitch_classes(soundfont_library):
    made = front_picture._mixture()
    rows = made.notes.table.iloc[made.indices[0].tolist()]
    assert len(made) == 1
    assert made.notes.key == soundfont_library.key
    assert (rows["midi"] % 12).nunique() == rows["instrument"].nunique() == 5
