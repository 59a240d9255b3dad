import librosa
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
    with pytest.raises(ValueError, match="must lie between 0 and 127"):
        pitch_to_midi(name)


def test_orders():
    assert sorted(["ff", "crescendo", "pp", "mf", "ppp"], key=dynamic_order) == ["ppp", "pp", "mf", "ff", "crescendo"]
    assert sorted(["Vc", "Zz", "Fl", "Vn", "Hn"], key=instrument_order) == ["Fl", "Hn", "Vn", "Vc", "Zz"]
    assert INSTRUMENTS["EH"][:2] == ("english horn", "woodwinds")
