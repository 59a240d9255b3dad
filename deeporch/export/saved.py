"""Solutions to be read again: as JSON, and in the form of Orchidea's connection.txt."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..util.files import write_text

if TYPE_CHECKING:
    from ..orchestration.solution import Solution, SolutionNote

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]()]|[^\s\[\]()"]+')
STRING, RETUNING = re.compile(r"[1-6]c|alt\d+"), re.compile(r"T\d+[ud]|R\d*[ud]?|N|NA")
EXTRAS = ("player", "gain", "swell")  # our own, in a list after what Orchidea writes: a number a note


def to_json(solution: Solution, path: str | Path) -> Path:
    """Write everything but the audio as JSON: the notes, the orchestra, the distance, the library's name and key."""
    library, distance = solution.library, solution.distance if np.isfinite(solution.distance) else None
    card = {
        "format": "deeporch solution 1", "library": {"name": library.name, "key": library.key},
        "orchestra": list(solution.orchestra), "distance": distance,
        **{name: getattr(solution, name) for name in ("distance_name", "seconds", "title", "loudness")},
        "notes": [asdict(note) for note in solution.notes],
    }  # fmt: skip
    return write_text(path, json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def to_connection(solution: Solution, path: str | Path) -> Path:
    """Write a solution in Orchidea's connection form."""
    return write_text(path, connection_text(solution))


def connection_text(solution: Solution) -> str:
    """Return a solution in the connection form: a segment for every onset, the notes in score order."""
    lines = ["[ orchestra " + " ".join(map(_quoted, solution.orchestra)) + " ]"]
    notes = sorted(solution.notes, key=lambda note: (note.onset, note.player, note.midi))
    for onset, group in groupby(notes, key=lambda note: note.onset):
        lines += [f"[ segment {1000 * onset:.10g}", "\t[ solution 1", *map(_line, group), "\t]", "]"]
    extras = [f"[ {name} " + " ".join(f"{getattr(note, name):.10g}" for note in notes) + " ]" for name in EXTRAS]
    lines.append(f"[ deeporch [ seconds {solution.seconds:.10g} ] {' '.join(extras)} ]")
    return "\n".join(lines) + "\n"


def _line(note: SolutionNote) -> str:
    after = Path(note.file).stem.split("-")[4:]  # what SOL's names say after the dynamic
    string = next((word for word in after if STRING.fullmatch(word)), "N")
    retuning = after[-1] if after and RETUNING.fullmatch(after[-1]) else "N"
    instrument = f"{note.instrument}+{note.mute}" if note.mute else note.instrument
    words = (instrument, note.technique or "ord", note.pitch, note.dynamic or "N", string, retuning, note.file or "N")
    return f"\t\t[ note {1000 * note.duration:.10g} {' '.join(map(_quoted, words))} {note.cents:.10g} ]"


def _quoted(word: str) -> str:
    return word if TOKEN.fullmatch(word) and word[0] not in '"[]()' else '"' + word.replace('"', "'") + '"'
