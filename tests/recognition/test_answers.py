"""Answers by pitch, group and instrument, and notes over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pretty_midi
import pytest
import torch

import deeporch as do
from deeporch.models.open_pitchnet import Evidence
from deeporch.recognition.answers import answers
from deeporch.recognition.transcription import save_csv, save_midi, spans

PLAIN = {"pitch": (1.0, 0.0), "instrument": (1.0, 0.0)}


def evidence(shares: list[float], pitch: float = 0.9) -> Evidence:
    """Return evidence for A4 with these probabilities of its instruments."""
    pitches, instruments = torch.full((1, 88), -20.0), torch.full((1, len(shares), 88), -20.0)
    pitches[0, 48] = torch.tensor(pitch).logit()
    instruments[0, :, 48] = torch.tensor(shares).logit()
    return Evidence(pitches, instruments)


def test_an_uncertain_instrument_is_told_by_its_group():
    [answer] = answers(evidence([0.3, 0.1, 0.5, 0.1]), ["EH", "Fl", "Ob"], **PLAIN, least=0.5)
    assert (answer.pitch, answer.group) == ("A4", "double reed")
    assert answer.probability == pytest.approx(0.9, abs=1e-5)
    assert answer.group_probability == pytest.approx(0.8, abs=1e-5)
    assert list(answer.instruments) == ["Ob", "EH"]
    assert str(answer) == "A4  0.90  double reed 0.80: oboe 0.50, english horn 0.30"


@pytest.mark.parametrize("shares", [[0.1, 0.1, 0.1, 0.7], [0.25, 0.3, 0.05, 0.05]])
def test_what_is_like_no_named_instrument_or_like_several_is_unknown(shares):
    [answer] = answers(evidence(shares), ["Ob", "Fl", "Vn"], **PLAIN, least=0.5)
    expected = "unknown" if shares[3] > 0.5 else "flute"
    assert answer.group == expected


def test_no_group_may_be_likely():
    [answer] = answers(evidence([0.2, 0.2, 0.2, 0.1]), ["Ob", "Fl", "Vn"], **PLAIN, least=0.5)
    assert (answer.group, answer.instruments) == ("unknown", {})


def test_spans_begin_high_and_last_while_they_are_not_low():
    track = np.array([0.1, 0.3, 0.6, 0.3, 0.2, 0.3, 0.4, 0.1, 0.7])
    assert spans(track, 0.5, 0.25) == [(1, 3), (8, 8)]
    assert spans(np.zeros(4), 0.5, 0.25) == []


def test_tables_are_written_as_midi_and_csv(tmp_path):
    rows = [(0.5, 1.0, "Vn", "A4", 69, 0.9), (0.25, 2.0, "Bn", "C3", 48, 0.8)]
    notes = pd.DataFrame(rows, columns=["begin", "end", "instrument", "pitch", "midi", "probability"])
    midi = pretty_midi.PrettyMIDI(str(save_midi(notes, tmp_path / "notes.mid")))
    found = {(track.program, note.pitch, round(note.start, 2), round(note.end, 2))
             for track in midi.instruments for note in track.notes}  # fmt: skip
    assert found == {(40, 69, 0.5, 1.0), (70, 48, 0.25, 2.0)}
    assert pd.read_csv(save_csv(notes, tmp_path / "notes.csv")).equals(notes)


def test_a_passage_is_recognised_note_after_note():
    notes = do.load_library("soundfont", instruments=["Fl", "ClBb"], dynamics="mf")
    wanted, sound = [("ClBb", 62, 0.3), ("Fl", 74, 1.2), ("ClBb", 67, 2.1)], np.zeros(3 * 44_100, np.float32)
    for instrument, midi, begin in wanted:
        row = np.flatnonzero((notes.table["instrument"] == instrument) & (notes.table["midi"] == midi))[0]
        part = notes.sound(int(row)).numpy()[: round(0.7 * 44_100)].astype(np.float32)
        sound[round(begin * 44_100) :][: len(part)] += part * np.linspace(1, 0, len(part)) ** 0.2
    table = do.Recognizer.load("orchestra").predict_over_time(sound, 44_100)
    shift = 0.3 - table["begin"].min()  # silence before the sound is left out
    for _name, midi, begin in wanted:
        found = table[(table["midi"] == midi) & ((table["begin"] + shift - begin).abs() < 0.1)]
        assert len(found) == 1
        assert found["end"].item() + shift - begin == pytest.approx(0.7, abs=0.3)


def test_networks_that_name_only_notes_say_so():
    with pytest.raises(ValueError, match="load 'orchestra'"):
        do.Recognizer.load("soundfont").explain(np.ones(44_100, np.float32), 44_100)
