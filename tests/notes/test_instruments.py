from itertools import groupby

import librosa
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeporch.notes.instruments import INSTRUMENTS, dynamic_order, instrument_order, midi_to_pitch, pitch_to_midi

NAMES = st.from_regex(r"[A-G](#|##|b|bb)?[0-8]", fullmatch=True)


@settings(deadline=None)
@given(NAMES)
def test_pitch_names_agree_with_librosa(name):
    assert pitch_to_midi(name) == librosa.note_to_midi(name)


@settings(deadline=None)
@given(st.integers(0, 127))
def test_round_trip_is_spelt_with_sharps(midi):
    name = midi_to_pitch(midi)
    assert pitch_to_midi(name) == midi
    assert name == librosa.midi_to_note(midi, unicode=False)
    assert pitch_to_midi(name.replace("#", "s")) == midi


def test_reference_pitches():
    assert [pitch_to_midi(p) for p in ("C4", "A4", "As3", "Db4", "C-1", "G9", "B♭3", "F♯4")] == [
        60, 69, 58, 61, 0, 127, 58, 66,
    ]  # fmt: skip
    assert midi_to_pitch(61) == "C#4"


@pytest.mark.parametrize("name", ["", "H4", "C", "4", "C#", "C##b4", "C4 ", "Cx4"])
def test_what_is_no_pitch_name(name):
    with pytest.raises(ValueError, match="is no pitch name"):
        pitch_to_midi(name)


@pytest.mark.parametrize("name", ["G#9", "Cb-1", "C12"])
def test_outside_midi(name):
    with pytest.raises(ValueError, match="lies beyond the pitches that there are, C-1 to G9"):
        pitch_to_midi(name)


def test_orders():
    assert sorted(["ff", "crescendo", "pp", "mf", "ppp"], key=dynamic_order) == ["ppp", "pp", "mf", "ff", "crescendo"]
    assert sorted(["Vc", "Zz", "Fl", "Vn", "Hn"], key=instrument_order) == ["Fl", "Hn", "Vn", "Vc", "Zz"]
    assert INSTRUMENTS["EH"][:2] == ("english horn", "woodwinds")


def test_midi_programs_are_those_of_general_midi():
    names = {
        "Piccolo": "Picc", "Flute": "Fl BFl CbFl", "Oboe": "Ob", "English Horn": "EH", "Alto Sax": "ASax",
        "Clarinet": "ClEb ClBb BClBb CbClBb", "Bassoon": "Bn CBn", "French Horn": "Hn", "Trumpet": "TpC",
        "Trombone": "Tbn TTbn BTbn", "Tuba": "BTb CbTb", "Accordion": "Acc", "Orchestral Harp": "Hp",
        "Acoustic Guitar (nylon)": "Gtr", "Violin": "Vn", "Viola": "Va", "Cello": "Vc", "Contrabass": "Cb",
        "String Ensemble 1": "Vns Vas Vcs",
    }  # fmt: skip
    expected = {instrument: name for name, instruments in names.items() for instrument in instruments.split()}
    found = {name: pretty_midi.program_to_instrument_name(each.program) for name, each in INSTRUMENTS.items()}
    assert found == expected


def test_a_written_c4_sounds_as_players_expect():
    sounding = {
        "Picc": "C5", "BFl": "C3", "CbFl": "C2", "EH": "F3", "ClEb": "Eb4", "ClBb": "Bb3", "BClBb": "Bb2",
        "CbClBb": "Bb1", "ASax": "Eb3", "CBn": "C3", "Hn": "F3", "Gtr": "C3", "Cb": "C3",
    }  # fmt: skip
    for name, instrument in INSTRUMENTS.items():
        pitch = sounding.get(name, "C4")
        assert instrument.semitones == librosa.note_to_midi(pitch) - 60, name
        assert instrument.steps == "CDEFGAB".index(pitch[0]) + 7 * (int(pitch[-1]) - 4), name


def test_seats_from_left_to_right():
    by_seat = groupby(sorted(INSTRUMENTS, key=lambda name: INSTRUMENTS[name].seat), lambda name: INSTRUMENTS[name].seat)
    rows = {seat: " ".join(names) for seat, names in by_seat}
    assert list(rows.values()) == [
        "Vn", "Vns", "Hp", "Hn", "Acc Gtr", "CbClBb", "Picc CbFl BClBb", "BFl ClEb", "Fl", "ClBb", "ASax", "TpC", "Ob",
        "Bn", "EH", "CBn Va Vas", "Tbn TTbn", "BTbn", "BTb", "CbTb Vc Vcs", "Cb",
    ]  # fmt: skip
    assert -1 <= min(rows) < 0 < max(rows) <= 1
    assert rows[0.0] == "ASax"


@pytest.mark.parametrize("midi", [-1, 128])
def test_numbers_outside_midi_have_no_name(midi):
    with pytest.raises(ValueError, match="must lie between 0 and 127"):
        midi_to_pitch(midi)
