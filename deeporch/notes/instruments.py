"""Pitches, dynamics and instruments: their names, their order, how each is written."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..util.checks import check_range

_SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_PITCH = re.compile(r"([A-Ga-g])(##|#|♯|s|bb|b|♭)?(-?\d{1,2})")
_ALTERATIONS = {None: 0, "#": 1, "♯": 1, "s": 1, "##": 2, "b": -1, "♭": -1, "bb": -2}

# Softest first. Everything that is ordered by dynamic uses this order.
DYNAMICS = ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")

# Abbreviation: (name in full, family), in score order. The abbreviations are the study's.
ORDINARY = ("ord", "ordinario", "normal", "")  # names of the ordinary technique
INSTRUMENTS: dict[str, tuple[str, str]] = {
    "Picc": ("piccolo", "woodwinds"),
    "Fl": ("flute", "woodwinds"),
    "BFl": ("bass flute", "woodwinds"),
    "CbFl": ("contrabass flute", "woodwinds"),
    "Ob": ("oboe", "woodwinds"),
    "EH": ("english horn", "woodwinds"),
    "ClEb": ("clarinet in E flat", "woodwinds"),
    "ClBb": ("clarinet in B flat", "woodwinds"),
    "BClBb": ("bass clarinet", "woodwinds"),
    "CbClBb": ("contrabass clarinet", "woodwinds"),
    "ASax": ("alto saxophone", "woodwinds"),
    "Bn": ("bassoon", "woodwinds"),
    "CBn": ("contrabassoon", "woodwinds"),
    "Hn": ("horn", "brass"),
    "TpC": ("trumpet in C", "brass"),
    "Tbn": ("trombone", "brass"),
    "TTbn": ("tenor trombone", "brass"),
    "BTbn": ("bass trombone", "brass"),
    "BTb": ("bass tuba", "brass"),
    "CbTb": ("contrabass tuba", "brass"),
    "Acc": ("accordion", "keyboards"),
    "Hp": ("harp", "plucked strings"),
    "Gtr": ("guitar", "plucked strings"),
    "Vn": ("violin", "strings"),
    "Vns": ("violin section", "strings"),
    "Va": ("viola", "strings"),
    "Vas": ("viola section", "strings"),
    "Vc": ("cello", "strings"),
    "Vcs": ("cello section", "strings"),
    "Cb": ("contrabass", "strings"),
}


def pitch_to_midi(pitch: str) -> int:
    """Return the MIDI number of a pitch name (C4 is 60, A4 is 69).

    Parameters
    ----------
    pitch : str
        A letter, an optional accidental (``#``, ``##``, ``b``, ``bb``, ``♯``, ``♭``, or ``s`` for sharp as in the
        Philharmonia file names), and the octave: ``C#4``, ``Db4``, ``Cs4``.

    Returns
    -------
    int
        0 to 127.

    Raises
    ------
    ValueError
        If this is no pitch name, or it lies outside the MIDI range.

    Examples
    --------
    >>> pitch_to_midi("C#4"), pitch_to_midi("Db4"), pitch_to_midi("As3")
    (61, 61, 58)
    """
    found = _PITCH.fullmatch(pitch)
    if not found:
        raise ValueError(f"{pitch!r} is no pitch name: write a letter, an accidental and an octave, such as 'C#4'.")
    letter, accidental, octave = found.groups()
    midi = 12 * (int(octave) + 1) + _STEPS[letter.upper()] + _ALTERATIONS[accidental]
    return int(check_range(midi, 0, 127, f"The MIDI number of {pitch!r}"))


def midi_to_pitch(midi: int) -> str:
    """Return the name of a MIDI number, spelt with sharps.

    Parameters
    ----------
    midi : int
        0 to 127; 60 is C4.

    Returns
    -------
    str
        For example ``"C#4"``.

    Raises
    ------
    ValueError
        If `midi` lies outside 0 to 127.

    Examples
    --------
    >>> midi_to_pitch(61)
    'C#4'
    """
    check_range(midi, 0, 127, "A MIDI number")
    return f"{_SHARPS[int(midi) % 12]}{int(midi) // 12 - 1}"


def instrument_order(instrument: str) -> tuple[int, str]:
    """Return a sort key that puts instruments in score order and unknown ones last, by name."""
    known = list(INSTRUMENTS)
    return (known.index(instrument) if instrument in INSTRUMENTS else len(known), instrument)


def dynamic_order(dynamic: str) -> tuple[int, str]:
    """Return a sort key from softest to loudest; words such as ``crescendo`` come last."""
    return (DYNAMICS.index(dynamic) if dynamic in DYNAMICS else len(DYNAMICS), dynamic)


class Instrument(NamedTuple):
    """What a score, a stage and a synthesizer need to know of an instrument.

    Parameters
    ----------
    program : int
        General MIDI program, counted from 0.
    seat : float
        Where it sits: −1 is the conductor's left, 1 the right.
    clef : str
        Of its part: ``"treble"``, ``"alto"`` or ``"bass"``.
    steps, semitones : int
        How far it sounds from what is written, in steps of the staff and in semitones: −1 and −2 for a clarinet in B
        flat, which sounds a tone lower.
    """

    program: int
    seat: float = 0.0
    clef: str = "treble"
    steps: int = 0
    semitones: int = 0

    @property
    def octaves(self) -> int:
        """Whole octaves of the transposition, towards zero."""
        return int(self.steps / 7)


# After Samuel Adler, The Study of Orchestration: bass clarinet and contrabass clarinet in the treble clef (a ninth and
# two octaves and a tone lower), horn in F, tubas and trombones at sounding pitch. The seats are the American ones.
WRITING: dict[str, Instrument] = {
    "Picc": Instrument(72, -0.3, "treble", 7, 12),
    "Fl": Instrument(73, -0.2),
    "BFl": Instrument(73, -0.25, "treble", -7, -12),
    "CbFl": Instrument(73, -0.3, "treble", -14, -24),
    "Ob": Instrument(68, 0.15),
    "EH": Instrument(69, 0.25, "treble", -4, -7),
    "ClEb": Instrument(71, -0.25, "treble", 2, 3),
    "ClBb": Instrument(71, -0.15, "treble", -1, -2),
    "BClBb": Instrument(71, -0.3, "treble", -8, -14),
    "CbClBb": Instrument(71, -0.35, "treble", -15, -26),
    "ASax": Instrument(65, 0.0, "treble", -5, -9),
    "Bn": Instrument(70, 0.2, "bass"),
    "CBn": Instrument(70, 0.3, "bass", -7, -12),
    "Hn": Instrument(60, -0.5, "treble", -4, -7),
    "TpC": Instrument(56, 0.05),
    "Tbn": Instrument(57, 0.35, "bass"),
    "TTbn": Instrument(57, 0.35, "bass"),
    "BTbn": Instrument(57, 0.45, "bass"),
    "BTb": Instrument(58, 0.55, "bass"),
    "CbTb": Instrument(58, 0.6, "bass"),
    "Acc": Instrument(21, -0.4),
    "Hp": Instrument(46, -0.6),
    "Gtr": Instrument(24, -0.4, "treble", -7, -12),
    "Vn": Instrument(40, -0.75),
    "Vns": Instrument(48, -0.7),
    "Va": Instrument(41, 0.3, "alto"),
    "Vas": Instrument(48, 0.3, "alto"),
    "Vc": Instrument(42, 0.6, "bass"),
    "Vcs": Instrument(48, 0.6, "bass"),
    "Cb": Instrument(43, 0.85, "bass", -7, -12),
}
UNKNOWN = Instrument(48)  # of a library of your own: written as it sounds, in the middle


def writing(instrument: str) -> Instrument:
    """Return how an instrument is written and placed; one that is not known is written as it sounds."""
    return WRITING.get(instrument, UNKNOWN)


def full_name(instrument: str) -> str:
    """Return an instrument's name in full, ``"Clarinet in B flat"``; of an unknown one its abbreviation."""
    name = INSTRUMENTS.get(instrument, (instrument,))[0]
    return name[:1].upper() + name[1:]
