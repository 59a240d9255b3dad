"""Solutions in Orchidea's connection form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..util.files import writing_to

if TYPE_CHECKING:
    from ..orchestration.solution import Solution


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]()]|[^\s\[\]()"]+')


def to_connection(solution: Solution, path: str | Path) -> Path:
    """Write a solution in Orchidea's connection form.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with writing_to(path) as temporary:
        temporary.write_text(connection_text(solution), encoding="utf-8")
    return Path(path)


def connection_text(solution: Solution) -> str:
    """Return a solution in the connection form: a segment for every onset, the notes in score order."""
    lines = ["[orchestration " + " ".join(solution.orchestra)]
    for onset in sorted({note.onset for note in solution.notes}):
        notes = sorted((n for n in solution.notes if n.onset == onset), key=lambda n: (n.player, n.midi))
        lines.append(f"  [segment {1000 * onset:.10g} {1000 * max(note.duration for note in notes):.10g}")
        for note in notes:
            words = (note.instrument, note.technique, note.pitch, note.dynamic, note.file)
            extras = f"[player {note.player}] [cents {note.cents:.10g}] [gain {note.gain:.10g}]"
            lines.append(f"    [note {1000 * note.duration:.10g} {' '.join(map(_quoted, words))} {extras}]")
        lines[-1] += "]"
    return "\n".join(lines) + "]\n"


def _quoted(word: str) -> str:
    return word if TOKEN.fullmatch(word) and word[0] not in '"[]()' else '"' + word.replace('"', "'") + '"'
