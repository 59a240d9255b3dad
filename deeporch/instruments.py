"""How each instrument is written, where it sits, and which General MIDI program stands for it."""

from __future__ import annotations

from typing import NamedTuple

from .pitches import INSTRUMENTS


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
