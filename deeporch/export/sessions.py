"""Solutions for other programs: the text of a bach.roll (Max), a project of Reaper with a track a player."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..notes.instruments import writing
from ..util.files import write_text
from .midi import velocity
from .staves import staves, tempo_and_grid
from .wav import panning, write_wav

if TYPE_CHECKING:
    from ..orchestration.solution import Solution

BACH_CLEFS = {"treble": "G", "alto": "Alto", "tenor": "Tenor", "bass": "F"}
DYNAMICS_SLOT = 20  # of a note in bach: its dynamic


def to_bach(solution: Solution, path: str | Path) -> Path:
    """Write the text of a bach.roll: a voice a player, onsets and durations in ms, pitches in midicents."""
    parts = staves(solution, *tempo_and_grid(solution))
    clefs = " ".join(BACH_CLEFS[writing(staff.plays[0]).clefs.split()[0]] for staff in parts)
    names = " ".join(_quoted(staff.name) for staff in parts)
    lines = [f"roll [ clefs {clefs} ] [ voicenames {names} ]"]
    for staff in parts:
        lines.append("[")
        for n in (note for note in solution.attacks if note.player == staff.player):
            sound = f"{100 * n.midi + n.cents:.10g} {1000 * n.duration:.10g} {velocity(n.dynamic)}"
            slots = f"[ slots [ {DYNAMICS_SLOT} {_quoted(n.dynamic)} ] ]"
            lines.append(f"  [ {1000 * n.onset:.10g} [ {sound} {slots} 0 ] 0 ]")
        lines.append("]")
    return write_text(path, "\n".join(lines) + "\n")


def to_reaper(solution: Solution, path: str | Path, *, tempo: float | None = None) -> Path:
    """Write a Reaper project, and beside it in a folder ``…_stems`` what each player plays, as WAV."""
    path = Path(path)
    tempo, grid = tempo_and_grid(solution, tempo)
    stems, gains, folder = solution.stems(), panning(solution), path.with_name(f"{path.stem}_stems")
    lines = ['<REAPER_PROJECT 0.1 "6.0" 0', f"  TEMPO {tempo:g} 4 4"]
    for number, staff in enumerate(staves(solution, tempo, grid), 1):
        file = f"{number:02}_{re.sub(r'[^A-Za-z0-9]+', '_', staff.short)}.wav"
        write_wav(folder / file, stems[staff.player].clip(-1, 1), solution.library.sample_rate)
        pan = float(gains[staff.player, 1] ** 2 - gains[staff.player, 0] ** 2)
        lines += [
            "  <TRACK", f"    NAME {_quoted(staff.name)}", f"    VOLPAN 1 {pan:.3f} -1 -1 1", "    <ITEM",
            "      POSITION 0", f"      LENGTH {solution.seconds:.6f}", f"      NAME {_quoted(staff.name)}",
            "      <SOURCE WAVE", f"        FILE {_quoted(f'{folder.name}/{file}')}", "      >", "    >", "  >",
        ]  # fmt: skip
    return write_text(path, "\n".join([*lines, ">"]) + "\n")


def _quoted(text: str) -> str:
    return '"' + re.sub(r'[\x00-\x1f"]', "'", text) + '"'
