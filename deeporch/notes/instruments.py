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

ORDINARY = ("ord", "ordinario", "normal", "arco-normal", "arco", "")  # names of the ordinary technique


class Instrument(NamedTuple):
    """What a score, a stage and a synthesizer need to know of an instrument: one row of the table below."""

    name: str
    family: str
    program: int  # General MIDI, counted from 0
    seat: float = 0.0  # where it sits: -1 is the conductor's left, 1 the right
    clefs: str = "treble"  # those that its players read, the usual one first
    steps: int = 0  # how far it sounds from what is written, in steps of the staff
    semitones: int = 0  # and in semitones: -1 and -2 for a clarinet in B flat, which sounds a tone lower
    holds: bool = True  # whether a player can hold a tone, so that it lasts as long as it is written


# Of every chart: Okabe and Ito's, which colour-blind readers tell apart
FAMILY_COLOURS = {
    "woodwinds": "#009E73", "brass": "#E69F00", "strings": "#0072B2", "keyboards": "#CC79A7",
    "plucked strings": "#56B4E9",
}  # fmt: skip

# In score order; the abbreviations are the study's. Written after Samuel Adler, The Study of Orchestration: bass
# clarinet and contrabass clarinet in the treble clef (a ninth and two octaves and a tone lower), horn in F, tubas and
# trombones at sounding pitch. The seats are the American ones.
INSTRUMENTS: dict[str, Instrument] = {
    "Picc": Instrument("piccolo", "woodwinds", 72, -0.3, "treble", 7, 12),
    "Fl": Instrument("flute", "woodwinds", 73, -0.2),
    "BFl": Instrument("bass flute", "woodwinds", 73, -0.25, "treble", -7, -12),
    "CbFl": Instrument("contrabass flute", "woodwinds", 73, -0.3, "treble", -14, -24),
    "Ob": Instrument("oboe", "woodwinds", 68, 0.15),
    "EH": Instrument("english horn", "woodwinds", 69, 0.25, "treble", -4, -7),
    "ClEb": Instrument("clarinet in E flat", "woodwinds", 71, -0.25, "treble", 2, 3),
    "ClBb": Instrument("clarinet in B flat", "woodwinds", 71, -0.15, "treble", -1, -2),
    "BClBb": Instrument("bass clarinet", "woodwinds", 71, -0.3, "treble", -8, -14),
    "CbClBb": Instrument("contrabass clarinet", "woodwinds", 71, -0.35, "treble", -15, -26),
    "ASax": Instrument("alto saxophone", "woodwinds", 65, 0.0, "treble", -5, -9),
    "Bn": Instrument("bassoon", "woodwinds", 70, 0.2, "bass tenor"),
    "CBn": Instrument("contrabassoon", "woodwinds", 70, 0.3, "bass", -7, -12),
    "Hn": Instrument("horn", "brass", 60, -0.5, "treble bass", -4, -7),
    "TpC": Instrument("trumpet in C", "brass", 56, 0.05),
    "Tbn": Instrument("trombone", "brass", 57, 0.35, "bass tenor"),
    "TTbn": Instrument("tenor trombone", "brass", 57, 0.35, "bass tenor"),
    "BTbn": Instrument("bass trombone", "brass", 57, 0.45, "bass"),
    "BTb": Instrument("bass tuba", "brass", 58, 0.55, "bass"),
    "CbTb": Instrument("contrabass tuba", "brass", 58, 0.6, "bass"),
    "Acc": Instrument("accordion", "keyboards", 21, -0.4, "treble bass"),
    "Hp": Instrument("harp", "plucked strings", 46, -0.6, "treble bass", holds=False),
    "Gtr": Instrument("guitar", "plucked strings", 24, -0.4, "treble", -7, -12, holds=False),
    "Vn": Instrument("violin", "strings", 40, -0.75),
    "Vns": Instrument("violin section", "strings", 48, -0.7),
    "Va": Instrument("viola", "strings", 41, 0.3, "alto treble"),
    "Vas": Instrument("viola section", "strings", 48, 0.3, "alto treble"),
    "Vc": Instrument("cello", "strings", 42, 0.6, "bass tenor treble"),
    "Vcs": Instrument("cello section", "strings", 48, 0.6, "bass tenor treble"),
    "Cb": Instrument("contrabass", "strings", 43, 0.85, "bass tenor treble", -7, -12),
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
    if not 0 <= midi <= 127:
        raise ValueError(f"{pitch!r} lies beyond the pitches that there are, C-1 to G9.")
    return midi


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


def writing(instrument: str) -> Instrument:
    """Return how an instrument is written and placed; an unknown one is written as it sounds, in the middle."""
    return INSTRUMENTS.get(instrument) or Instrument(instrument, "", 48, clefs="treble bass")


def full_name(instrument: str) -> str:
    """Return an instrument's name in full, ``"Clarinet in B flat"``; of an unknown one its abbreviation."""
    name = writing(instrument).name
    return name[:1].upper() + name[1:]


# How players write techniques: as words over the note. Names are those of SOL and of the Philharmonia's files.
TECHNIQUES = {
    "pizz": "pizz.", "pizzicato": "pizz.", "pizz-bartok": "pizz. Bartók", "pizz-lv": "pizz. l.v.",
    "pizz-sec": "pizz. sec", "snap-pizz": "pizz. Bartók", "col-legno-tratto": "col legno tratto",
    "con-sord": "con sord.", "col-legno-battuto": "col legno battuto", "trem": "trem.",
    "tremolo": "trem.", "arco-tremolo": "trem.", "sul-pont": "sul pont.", "pont": "sul pont.", "sul-tasto": "sul tasto",
    "tasto": "sul tasto", "pont-trem": "sul pont. trem.", "tasto-trem": "sul tasto trem.", "flatt": "flutter-tongue",
    "fluttertonguing": "flutter-tongue", "flutter-tongue": "flutter-tongue", "stacc": "stacc.", "staccato": "stacc.",
    "arco-staccato": "stacc.", "nonvib": "non vib.", "non-vibrato": "non vib.", "vib": "vib.", "harm-fngr": "harmonic",
    "art-harm": "artificial harmonic", "artificial-harmonic": "artificial harmonic", "harmonic": "harmonic",
    "natural-harmonic": "harmonic", "arco-harmonic": "harmonic", "sfz": "sfz", "fp": "fp", "cresc": "cresc.",
    "decresc": "dim.", "trill-min2up": "trill", "trill-maj2up": "trill", "breath": "breath tone", "brassy": "cuivré",
    "stopped": "stopped (+)", "arco-sul-ponticello": "sul pont.", "arco-sul-tasto": "sul tasto",
    "arco-con-sord": "con sord.", "pizz-normal": "pizz.",
}  # fmt: skip
MUTES = {"S": "con sord.", "C": "cup mute", "H": "harmon mute", "W": "wah-wah mute", "SP": "practice mute"}
STRUCK = re.compile(r"pizz|stacc|slap|battuto|sec|kiss|perc|xylo|key|snap|ram\b", re.IGNORECASE)


def holds(instrument: str, technique: str) -> bool:
    """Return whether a tone is held as long as it is written; what is struck, plucked or short dies away by itself."""
    return writing(instrument).holds and not STRUCK.search(technique)
