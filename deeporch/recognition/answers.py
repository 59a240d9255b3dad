"""Answers that say what is sure: the pitch, the group of instruments, and instruments as far as they can be told."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..models.open_pitchnet import Evidence
from ..models.pitchnet import A0
from ..notes.instruments import INSTRUMENTS, full_name, midi_to_pitch

if TYPE_CHECKING:
    import argparse

    from .recognizer import Heard, Recognizer

GROUPS = {
    "flute": ("Picc", "Fl", "BFl", "CbFl"),
    "double reed": ("Ob", "EH", "Bn", "CBn"),
    "clarinet": ("ClEb", "ClBb", "BClBb", "CbClBb"),
    "saxophone": ("ASax",),
    "brass": ("Hn", "TpC", "Tbn", "TTbn", "BTbn", "BTb", "CbTb"),
    "free reed": ("Acc",),
    "bowed string": ("Vn", "Vns", "Va", "Vas", "Vc", "Vcs", "Cb"),
    "plucked string": ("Hp", "Gtr"),
}
UNKNOWN = "unknown"
SURE = 0.4  # a group's probability below which the answer is `UNKNOWN`
WORTH = 0.1  # an instrument's probability from which it is named
UNSURE = 0.5  # a note's probability below which an answer is said to be unsure
NEXT = 4  # notes that are named beside it


@dataclass(frozen=True)
class PitchAnswer:
    """What is known of one sounding pitch."""

    pitch: str
    probability: float
    group: str
    group_probability: float
    instruments: dict[str, float]

    def __str__(self) -> str:
        """Return one line: ``A4 0.93  double reed 0.80: oboe 0.50, english horn 0.30``."""
        names = ", ".join(f"{full_name(i).lower()} {p:.2f}" for i, p in self.instruments.items())
        known = f"{self.pitch:<4}{self.probability:.2f}  {self.group} {self.group_probability:.2f}"
        return f"{known}: {names}" if names else known


def answers(
    evidence: Evidence, instruments: list[str], *, pitch: Sequence[float], instrument: Sequence[float], least: float
) -> list[PitchAnswer]:
    """Return the answers for one sound, the surest pitch first."""
    sounding = torch.sigmoid(evidence.pitches[0] / pitch[0] + pitch[1])
    each = torch.sigmoid(evidence.instruments[0] / instrument[0] + instrument[1])
    shares = each / each.sum(0).clamp(min=1e-6)  # one player a pitch is the rule
    return [
        _answer(A0 + p, float(sounding[p]), dict(zip([*instruments, UNKNOWN], shares[:, p].tolist(), strict=True)))
        for p in sounding.argsort(descending=True).tolist()
        if sounding[p] >= least
    ]


def _answer(midi: int, probability: float, shares: dict[str, float]) -> PitchAnswer:
    groups = {group: sum(shares.get(i, 0) for i in members) for group, members in GROUPS.items()}
    groups[UNKNOWN] = shares[UNKNOWN]
    group = max(groups, key=groups.get)
    if group == UNKNOWN or groups[group] < SURE:
        return PitchAnswer(midi_to_pitch(midi), probability, UNKNOWN, groups[UNKNOWN], {})
    members = sorted(((shares.get(i, 0), i) for i in GROUPS[group]), reverse=True)
    named = {i: p for p, i in members if p >= WORTH}
    return PitchAnswer(midi_to_pitch(midi), probability, group, groups[group], named)


def command(recognizer: Recognizer, options: argparse.Namespace) -> int:
    """Print the notes of sounds, or what is known of each pitch: what ``deeporch recognize`` does."""
    found, failed = {}, 0
    for file in options.files:
        try:
            if options.explain:
                lines = [f"  {answer}" for answer in recognizer.explain(file, n=options.n)]
            else:
                notes = recognizer.predict(file, n=options.n)
                more = [] if is_sure(notes) else recognizer.predict(file, n=len(notes) + NEXT)
                found[file] = notes, more[len(notes) :]
        except (OSError, ValueError) as error:
            print(f"deeporch recognize: {error}", file=sys.stderr)
            failed = 2
            continue
        if options.explain:
            print("\n".join([file, *lines]))
    if options.json:
        print(json.dumps({file: [note._asdict() for note in notes] for file, (notes, _) in found.items()}, indent=1))
    elif found:
        print("\n".join(line for file, (notes, rest) in found.items() for line in answer_lines(file, notes, rest)))
    return failed


def is_sure(notes: Sequence[Heard]) -> bool:
    """Return whether every note is likelier than not."""
    return all(note.probability >= UNSURE for note in notes)


def answer_lines(file: str, notes: Sequence[Heard], rest: Sequence[Heard] = ()) -> list[str]:
    """Return the lines that show the notes of one file, and those that come next where the answer is unsure."""
    lines = [file]
    for note in notes:
        name, family = INSTRUMENTS.get(note.instrument, (note.instrument, "other"))[:2]
        lines.append(f"  {note.pitch:<4} {f'{name} ({note.instrument})':<28} {family:<15} {note.probability:4.0%}")
    if not is_sure(notes):
        more = ", ".join(f"{note.pitch} {note.instrument} {note.probability:.0%}".strip() for note in rest)
        lines.append("  Unsure: the network has learned from other sounds than these, or there are more notes.")
        lines.append(f"  Next likely: {more}. Tell it how many notes there are with -n.")
    return lines
