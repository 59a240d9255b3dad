"""Pitches, dynamics and instruments under the names that the study and the SOL libraries use."""

from __future__ import annotations

import re

from .checks import check_range

_SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_PITCH = re.compile(r"([A-Ga-g])(##|#|♯|s|bb|b|♭)?(-?\d{1,2})")
_ALTERATIONS = {None: 0, "#": 1, "♯": 1, "s": 1, "##": 2, "b": -1, "♭": -1, "bb": -2}

# Softest first. Everything that is ordered by dynamic uses this order.
DYNAMICS = ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")

# Abbreviation: (name in full, family), in score order. The abbreviations are the study's.
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
