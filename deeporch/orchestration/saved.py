"""Solutions read back from JSON and from Orchidea's connection form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..export.connection import TOKEN
from ..notes.instruments import DYNAMICS, INSTRUMENTS, ORDINARY, midi_to_pitch, pitch_to_midi
from ..notes.library import NoteLibrary
from ..util.checks import near
from .solution import Solution, SolutionNote


def from_json(path: str | Path, notes: NoteLibrary) -> Solution:
    """Read a solution that `to_json` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    notes : NoteLibrary
        The library it was made with, or any other that has its notes: they are then found by file, or else by
        instrument, pitch, dynamic and technique.

    Returns
    -------
    Solution

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no solution in JSON, or the library lacks a note of it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        rows = [SolutionNote(**_cast(row)) for row in card["notes"]]
        distance = float("nan") if card["distance"] is None else float(card["distance"])
        rest = (tuple(card["orchestra"]), notes, distance, str(card["distance_name"]), float(card["seconds"]))
        same = card["library"]["key"] == notes.key
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path.name} is no solution in JSON as to_json writes it ({reason}).") from None
    if not same:
        rows = [_moved(note, notes, path.name) for note in rows]
    return Solution(tuple(rows), *rest)


def _cast(row: dict[str, Any]) -> dict[str, Any]:
    """Return a note's fields with the types of SolutionNote."""
    kinds = {"int": int, "float": float, "str": str}
    return {f.name: kinds[str(f.type)](row[f.name]) for f in fields(SolutionNote)}


def _moved(note: SolutionNote, notes: NoteLibrary, where: str) -> SolutionNote:
    """Return a note at the row where another library has it."""
    row = find_row(
        notes, where, file=note.file, instrument=note.instrument, midi=note.midi, dynamic=note.dynamic,
        technique=note.technique,
    )  # fmt: skip
    options = {"cents": note.cents, "onset": note.onset, "duration": note.duration, "gain": note.gain}
    return SolutionNote.of(notes, row, note.player, **options)


_SOUND = re.compile(r"\.(wav|aiff?|flac|mp3|ogg)$", re.IGNORECASE)


def read_connection(path: str | Path, notes: NoteLibrary) -> Solution:
    """Read a solution in the connection form, Orchidea's or ours, so that it can be heard and scored.

    Parameters
    ----------
    path : str or Path
        The file.
    notes : NoteLibrary
        Where its notes are looked for: by file, or else by instrument, pitch, dynamic and technique.

    Returns
    -------
    Solution
        Its distance is not known (NaN). Notes without a player go to the first who plays the instrument and is free.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the brackets do not match, it holds no note, or the library has no such note (near ones are named).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    tree = _parse(path)
    orchestra: list[str] = []
    found: list[SolutionNote] = []
    seconds = 0.0
    for line, words, lists, segment in _walk(tree):
        head = words[0] if words else ""
        if head in ("orchestration", "orchestra"):
            orchestra += words[1:]
        elif head == "segment":
            seconds = max(seconds, sum(_span(words, f"{path.name}, line {line}")))
        elif (segment or head == "note") and any(_is_name(word, notes) for word in words):
            found.append(_note(words, lists, segment, notes, f"{path.name}, line {line}"))
    if not found:
        raise ValueError(f"{path.name} holds no note: a connection has lists such as [note 1500 Fl ord A4 mf …].")
    found = _seat(found, orchestra, path.name)
    seconds = max(seconds, *(note.onset + note.duration for note in found))
    return Solution(tuple(found), tuple(orchestra), notes, float("nan"), "unknown", seconds)


def _parse(path: Path) -> list:
    """Return the file as nested lists ``[line, word or list, …]``."""
    top: list = [1]
    stack = [top]
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        for token in TOKEN.findall(line):
            if token in "[(":
                stack.append([number])
                stack[-2].append(stack[-1])
            elif token in "])":
                stack.pop()
                if not stack:
                    raise ValueError(f"{path.name}, line {number}: there is a closing bracket too many.")
            else:
                stack[-1].append(token.strip('"'))
    if len(stack) > 1:
        raise ValueError(f"{path.name}: the bracket of line {stack[-1][0]} is not closed.")
    return top


def _walk(tree: list, segment: tuple = ()) -> Iterator[tuple[int, list[str], dict[str, str], tuple]]:
    """Yield every list: its line, its words, its two-word lists as a dict, and the words of its segment."""
    words = [item for item in tree[1:] if isinstance(item, str)]
    lists = [item for item in tree[1:] if isinstance(item, list)]
    options = {str(item[1]): item[2] for item in lists if len(item) == 3 and isinstance(item[2], str)}
    yield tree[0], words, options, segment
    if words[:1] == ["segment"]:
        segment = tuple(words)
    for item in lists:
        yield from _walk(item, segment)


def _numbers(words: list[str] | tuple) -> list[float]:
    return [float(word) for word in words if re.fullmatch(r"-?\d+\.?\d*(e-?\d+)?", word)]


def _span(words: list[str] | tuple, where: str) -> tuple[float, float]:
    """Return a segment's onset and duration in seconds."""
    numbers = _numbers(words)
    if len(numbers) < 2 or numbers[0] < 0 or numbers[1] <= 0:
        raise ValueError(f"{where}: a segment needs an onset and a duration in ms, but reads {' '.join(words)!r}.")
    return numbers[0] / 1000, numbers[1] / 1000


def _is_name(word: str, notes: NoteLibrary) -> bool:
    return word in INSTRUMENTS or word in set(notes.table["instrument"]) or bool(_SOUND.search(word))


def _note(words: list[str], options: dict[str, str], segment: tuple, notes: NoteLibrary, where: str) -> SolutionNote:
    """Return one note; its words are known by what they look like, and what is missing is read off its file's name."""
    files = [word for word in words if _SOUND.search(word) or "/" in word]
    stem = Path(files[0].replace("\\", "/")).stem.split("-") if files else []
    words = words[words[0] == "note" :]
    named = [word for word in words + stem if word not in files]
    instruments = [word for word in named if _is_name(word, notes)]
    pitches = [word for word in named if re.fullmatch(r"[A-Ga-g](#|b|s)?-?\d", word)]
    if not instruments or not pitches:
        raise ValueError(f"{where}: a note needs an instrument and a pitch, but reads {' '.join(words)!r}.")
    follower = named[named.index(instruments[0]) + 1 : named.index(instruments[0]) + 2]
    technique = "" if follower and (follower[0] in pitches or follower[0] in DYNAMICS) else "".join(follower)
    row = find_row(
        notes, where, file=files[0] if files else "", instrument=instruments[0], midi=pitch_to_midi(pitches[0]),
        dynamic=next((word for word in named if word in DYNAMICS), ""), technique=technique,
    )  # fmt: skip
    onset, duration = _span(segment, where) if segment else (0.0, 1.0)
    numbers = _numbers(words)
    if numbers and numbers[0] > 0:
        duration = numbers[0] / 1000
    extras = {"player": -1.0, "cents": 0.0, "gain": 1.0}
    for name in extras:
        if name in options:
            if not _numbers([options[name]]):
                raise ValueError(f"{where}: {name} is a number, but reads {options[name]!r}.")
            extras[name] = _numbers([options[name]])[0]
    player = int(extras.pop("player"))
    return SolutionNote.of(notes, row, player, onset=onset, duration=duration, **extras)


def _seat(found: list[SolutionNote], orchestra: list[str], where: str) -> list[SolutionNote]:
    """Give notes without a player to one who plays the instrument: who has the same note already, or else is free."""
    if not orchestra:  # as many of each instrument as ever play at once
        for name in dict.fromkeys(note.instrument for note in found):
            onsets = [note.onset for note in found if note.instrument == name]
            orchestra += [name] * max(onsets.count(onset) for onset in onsets)
    seated: list[SolutionNote] = []
    for note in sorted(found, key=lambda note: note.onset):
        if note.player < 0:
            able = [i for i, player in enumerate(orchestra) if note.instrument in player.split("|")]
            busy = {s.player for s in seated if s.onset + s.duration > note.onset + 1e-6}
            held = [s.player for s in seated if s.midi == note.midi and s.instrument == note.instrument]
            free = [i for i in held if i not in busy] + [i for i in able if i not in busy]
            if not free:
                raise ValueError(
                    f"{where}: nobody in the orchestra {' '.join(orchestra)} is free to play {note.instrument} "
                    f"{note.pitch} at {note.onset:g} s."
                )
            note = replace(note, player=free[0])
        seated.append(note)
    return seated


def find_row(
    notes: NoteLibrary, where: str, *, file: str, instrument: str, midi: int, dynamic: str = "", technique: str = ""
) -> int:
    """Return the row of a library that holds a note: by file, or else by what it is.

    Parameters
    ----------
    notes : NoteLibrary
        Where to look.
    where : str
        What the sentence of an error begins with.
    file : str
        As in some library's table; its name without folder and ending decides, if the pitch is right, too.
    instrument, midi, dynamic, technique
        What the note is; a dynamic or technique that is empty fits any.

    Raises
    ------
    ValueError
        If there is none; it names near ones.
    """
    table = notes.table
    right = ((table["instrument"] == instrument) & (table["midi"] == midi)).to_numpy()
    if file:
        stem = Path(file.replace("\\", "/")).stem
        by_file = np.flatnonzero(right & (table["file"].map(lambda f: Path(f).stem) == stem).to_numpy())
        if len(by_file):
            return int(by_file[0])
    wanted = right
    if dynamic:
        wanted = wanted & (table["dynamic"] == dynamic).to_numpy()
    if technique in ORDINARY:
        ordinary = wanted & table["technique"].fillna("").isin(ORDINARY).to_numpy()
        wanted = ordinary if technique or ordinary.any() else wanted
    else:
        wanted = wanted & (table["technique"] == technique).to_numpy()
    if wanted.any():
        return int(np.flatnonzero(wanted)[0])
    what = " ".join(word for word in (instrument, midi_to_pitch(midi), dynamic, technique) if word)
    if right.any():
        have = sorted(set((table.loc[right, "dynamic"] + " " + table.loc[right, "technique"]).str.strip()))
        hint = f"that note has only {', '.join(have)}"
    elif (table["instrument"] == instrument).any():
        pitches = table.loc[table["instrument"] == instrument, "midi"]
        hint = f"its {instrument} goes from {midi_to_pitch(pitches.min())} to {midi_to_pitch(pitches.max())}"
    else:
        names = table["instrument"].unique().tolist()
        hint = f"its instruments are {', '.join(near(instrument, names) or names)}"
    raise ValueError(f"{where}: the library {notes.name!r} has no {what}; {hint}.")
