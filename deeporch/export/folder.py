"""The folder of one orchestration: what the command writes, as one step at the end."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..notes.instruments import INSTRUMENTS, dynamic_order, full_name, instrument_order, midi_to_pitch
from ..util.checks import check_choice
from ..util.files import draft_folder, umask, write_text
from ..util.progress import progress
from .staves import desk, technique_words
from .wav import PEAK, stage, write_wav

if TYPE_CHECKING:
    from ..notes.library import NoteLibrary
    from ..orchestration.solution import Solution

FILES = {
    "json": "solution.json", "connection": "connection.txt", "musicxml": "score.musicxml", "parts": "parts",
    "midi": "score.mid",
    "svg": "score.svg", "pdf": "score.pdf", "bach": "bach_roll.txt", "reaper": "reaper.rpp",
}  # fmt: skip
TIMED = ("musicxml", "parts", "midi", "svg", "pdf", "reaper")  # what has a tempo
HEADS = ("player", "plays", "pitch", "cents", "dynamic", "from / s", "to / s", "technique")
STYLE = """:root{color-scheme:light dark;background:Canvas}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;
margin:2rem auto;padding:0 1rem}audio{width:100%}img{max-width:100%;max-height:60rem;background:#fff}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}section{margin:2.5rem 0}"""


def free_folder(path: Path) -> Path:
    """Return a folder that does not exist or is empty: the one given, or with -2, -3 … after its name."""
    free, number = path, 1
    while free.exists() and not (free.is_dir() and not any(free.iterdir())):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def write_folder(
    folder: Path, solutions: Sequence[Solution], target: np.ndarray | None, options: Mapping[str, Any], *,
    room: float = 0.0, tempo: float | None = None,
) -> tuple[Path, list[str]]:  # fmt: skip
    """Write solutions, target [samples] and options into a new folder; return it and what failed, in words."""
    draft = draft_folder(folder)
    failed: dict[str, str] = {}
    try:
        lines = [line for k, solution in enumerate(solutions, 1) for line in solution_lines(k, solution)]
        write_text(draft / "solutions.txt", "\n".join(lines) + "\n")
        write_text(draft / "options.toml", toml(options))
        write_text(draft / "index.html", page(solutions, target is not None))
        with progress(total=len(solutions) * (len(FILES) + 1), desc="scores", unit=" files", leave=False) as bar:
            for name, file in FILES.items():
                for k, solution in enumerate(solutions, 1):
                    timed = {"tempo": tempo} if name in TIMED else {}
                    try:
                        getattr(solution, f"to_{name}")(draft / f"solution_{k}" / file, **timed)
                    except Exception as error:  # of whatever library: the others are still to be written
                        failed.setdefault(name, f"{file} of solution {k}: {str(error) or type(error).__name__}")
                    bar.update()
            try:
                _write_sounds(draft, solutions, target, room, bar.update)
            except Exception as error:
                failed["wav"] = f"sound.wav: {str(error) or type(error).__name__}"
        draft.chmod(0o777 & ~umask())
    finally:
        folder = free_folder(folder)
        if any(draft.iterdir()):
            if folder.exists():
                folder.rmdir()  # it is empty
            os.replace(draft, folder)
        else:
            shutil.rmtree(draft, ignore_errors=True)
    return folder, [" ".join(reason.replace(str(draft), str(folder)).split()) for reason in failed.values()]


def _write_sounds(
    draft: Path, solutions: Sequence[Solution], target: np.ndarray | None, room: float, done: Any
) -> None:
    """Write target and solutions equally loud, so soft that none of them clips."""
    sounds = {f"solution_{k}/sound.wav": stage(solution, room=room) for k, solution in enumerate(solutions, 1)}
    sounds |= {} if target is None else {"target.wav": np.asarray(target)}
    gain = min(1.0, PEAK / max(float(np.abs(sound).max(initial=1e-9)) for sound in sounds.values()))
    for name, sound in sounds.items():
        write_wav(draft / name, gain * sound, solutions[0].library.sample_rate)
        done()


def rows(solution: Solution) -> list[tuple[str, ...]]:
    """Return the words of a solution's table, a row an attack."""
    found = []
    for note in solution.attacks:
        mute = "+" + note.mute if note.mute else ""
        cents = f"{note.cents:+.0f}" if round(note.cents) else ""
        times = (f"{note.onset:.2f}", f"{note.onset + note.duration:.2f}")
        player = solution.orchestra[note.player] + desk(solution, note.player)
        name = full_name(note.instrument) + mute
        found.append((player, name, note.pitch, cents, note.dynamic, *times, technique_words(note.technique)))
    return found


def heading(number: int, solution: Solution) -> str:
    """Return the line above a solution's table."""
    count = len(solution.attacks)
    notes = f"{count} note" + "s" * (count != 1)
    quality = f"; {solution.quality}" if solution.quality else ""
    return f"Solution {number}: {notes}, distance {solution.distance:.4f} ({solution.distance_name}){quality}"


def solution_lines(number: int, solution: Solution) -> list[str]:
    """Return the lines that show one solution."""
    table = [HEADS, *rows(solution)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADS))]
    lines = ("  " + "  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip() for row in table)
    return [heading(number, solution), *lines, *(f"  hard to play: {each}" for each in solution.warnings)]


def a_screen(solutions: Sequence[Solution], folder: Path) -> list[str]:
    """Return the lines that show solutions: in a terminal at most a screen, and where all of them are."""
    lines = [line for k, solution in enumerate(solutions, 1) for line in solution_lines(k, solution)]
    room = shutil.get_terminal_size().lines - 4 if sys.stdout.isatty() else len(lines)
    return lines if len(lines) <= room else [*lines[:room], f"… the other lines: {folder / 'solutions.txt'}"]


def page(solutions: Sequence[Solution], target: bool) -> str:
    """Return the page of a folder: target and solutions to hear, scores, tables."""
    title = escape(solutions[0].title or "Orchestration") if solutions else "Orchestration"
    parts = [f"<h1>{title}</h1>"]
    if target:
        parts.append('<section><h2>Target</h2><audio controls src="target.wav"></audio></section>')
    for k, solution in enumerate(solutions, 1):
        cells = "".join("<tr>" + "".join(f"<td>{escape(w)}</td>" for w in row) + "</tr>" for row in rows(solution))
        links = " · ".join(f'<a href="solution_{k}/{file}">{file}</a>' for file in ("sound.wav", *FILES.values()))
        parts.append(
            f'<section><h2>{escape(heading(k, solution))}</h2><audio controls src="solution_{k}/sound.wav"></audio>'
            f'<p><img src="solution_{k}/score.svg" alt="Score of solution {k}"></p>'
            f"<table><tr>{''.join(f'<th>{head}</th>' for head in HEADS)}</tr>{cells}</table><p>{links}</p></section>"
        )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>{"".join(parts)}</html>\n'
    )


def toml(options: Mapping[str, Any]) -> str:
    """Return options as TOML; those that are None are left out."""
    lines = [f"{name} = {_toml(value)}" for name, value in options.items() if value is not None]
    return "# deeporch orchestrate -c options.toml reads these options back.\n" + "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_options(parser: argparse.ArgumentParser, path: str) -> None:
    """Make the options of a file the defaults of a command; an unknown one is an error."""
    try:
        values = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path!r} is no file of options ({error}).") from None
    known = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    for name, value in values.items():
        check_choice(name, known, f"option in {path!r}:")
        several = known[name].nargs == 2 or isinstance(known[name], argparse._AppendAction)
        wanted = known[name].type or (bool if known[name].const is True else list if several else str)
        found = float if wanted is float and type(value) is int else type(value)
        if found is not wanted or (several and not all(isinstance(each, str) for each in value)):
            raise ValueError(f"{name} in {path!r} is of type {wanted.__name__}, but is {value!r}.")
        if known[name].nargs == 2 and len(value) != 2:
            raise ValueError(f"{name} in {path!r} has two values, but is {value!r}.")
    parser.set_defaults(**values)


def instrument_lines(library: NoteLibrary) -> list[str]:
    """Return a table of the instruments, and what a library has of each."""
    lines = [f"{'':<8}{'instrument':<22}{'family':<18}{'range':<12}{'notes':>6}  dynamics"]
    for name in sorted({*INSTRUMENTS, *library.table["instrument"]}, key=instrument_order):
        notes = library.table[library.table["instrument"] == name]
        family = INSTRUMENTS[name].family if name in INSTRUMENTS else ""
        span = f"{midi_to_pitch(notes['midi'].min())} {midi_to_pitch(notes['midi'].max())}" if len(notes) else "-"
        dynamics = " ".join(sorted(notes["dynamic"].unique(), key=dynamic_order))
        lines.append(f"{name:<8}{full_name(name):<22}{family:<18}{span:<12}{len(notes):>6}  {dynamics}")
    return lines


def technique_lines(library: NoteLibrary) -> list[str]:
    """Return a table of a library's techniques, and how scores write them."""
    lines = [f"{'technique':<28}{'in the score':<24}{'notes':>6}  instruments"]
    for name, notes in library.table.groupby(library.table["technique"].fillna(""), sort=True):
        instruments = " ".join(sorted(notes["instrument"].unique(), key=instrument_order))
        shown = technique_words(name) or "(ordinary)"
        lines.append(f"{name or '(none)':<28}{shown:<24}{len(notes):>6}  {instruments}")
    return lines
