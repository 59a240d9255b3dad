"""Solutions read back from JSON and from Orchidea's connection form."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..export.saved import EXTRAS, RETUNING, STRING, TOKEN
from ..notes.instruments import DYNAMICS, INSTRUMENTS, ORDINARY, midi_to_pitch, pitch_to_midi
from ..notes.library import NoteLibrary
from ..util.checks import near
from .solution import Solution, SolutionNote


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    return path


def from_json(path: str | Path, notes: NoteLibrary) -> Solution:
    """Read a solution that `to_json` wrote."""
    path = _existing(path)
    try:
        card = json.loads(path.read_text(encoding="utf-8"), parse_constant=_finite, parse_float=_finite)
        rows = [SolutionNote(**_cast(row)) for row in card["notes"]]
        distance = float("nan") if card["distance"] is None else float(card["distance"])
        loudness = None if card.get("loudness") is None else float(card["loudness"])
        rest = (tuple(map(str, card["orchestra"])), notes, distance, str(card["distance_name"]), float(card["seconds"]))
        rest += (str(card.get("title", "")), loudness)
        same = card["library"]["key"] == notes.key
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path.name} is no solution in JSON as to_json writes it ({reason}).") from None
    if not same:
        rows = [_moved(note, notes, path.name) for note in rows]
    return Solution(tuple(rows), *rest)


def _finite(word: str) -> float:
    """Return a number that is neither too large to be one nor none."""
    if math.isfinite(number := float(word)):
        return number
    raise ValueError(f"{word} is no number of a solution")


def _cast(row: dict[str, Any]) -> dict[str, Any]:
    """Return a note's fields with the types of SolutionNote; those that older files lack have their defaults."""
    kinds, stated = {"int": int, "float": float, "str": str}, fields(SolutionNote)
    return {f.name: kinds[str(f.type)](row[f.name]) for f in stated if f.name in row or f.default is MISSING}


def _moved(note: SolutionNote, notes: NoteLibrary, where: str) -> SolutionNote:
    """Return a note at the row where another library has it."""
    what = ("file", "instrument", "midi", "dynamic", "technique", "mute")
    row = find_row(notes, where, **{name: getattr(note, name) for name in what})
    options = {name: getattr(note, name) for name in ("cents", "onset", "duration", "gain", "swell")}
    return SolutionNote.of(notes, row, note.player, **options)


SOUND = re.compile(r"\.(wave?|aiff?|aifc|au|flac|mp3|oga|ogg)$", re.IGNORECASE)
PITCH = re.compile(r"([A-Ga-g](?:#|b|s)?)(\+?)(-?\d)")  # with + a quarter-tone higher
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def read_connection(path: str | Path, notes: NoteLibrary) -> Solution:
    """Read a solution in the connection form, Orchidea's or ours, so that it can be heard and scored."""
    path = _existing(path)
    orchestra: list[str] = []
    extras: dict[str, list[float]] = {}
    onsets, read = [], []
    known = {*INSTRUMENTS, *notes.table["instrument"]}
    files = {Path(name).stem: row for row, name in enumerate(notes.table["file"])}
    for line, words, lists, segment in _walk(_parse(path)):
        head, where = words[0] if words else "", f"{path.name}, line {line}"
        if head in ("orchestration", "orchestra"):
            orchestra += ["|".join(word.split("+")[0] for word in player.split("|")) for player in words[1:]]
        elif head == "segment":
            onsets.append(_span(words, where)[0])
        elif head == "deeporch":
            extras = {name: _numbers(values) for name, values in lists.items()}
        elif head == "note" or (segment and any(word.split("+")[0] in known or SOUND.search(word) for word in words)):
            read.append((words[head == "note" :], lists, segment, where))
    found = [note for each in read if (note := _note(*each, onsets, known, files, notes)) is not None]
    if not found:
        raise ValueError(f"{path.name} holds no note: a connection has lists such as [ note 1500 Fl ord A4 mf … ].")
    for name in EXTRAS:
        if len(values := extras.get(name, [])) == len(found):
            kind = type(getattr(found[0], name))
            found = [replace(note, **{name: kind(value)}) for note, value in zip(found, values, strict=True)]
    found = _seat(found, orchestra, path.name)
    seconds = max(*extras.get("seconds", [0.0]), 0.0, *(note.onset + note.duration for note in found))
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


def _walk(tree: list) -> Iterator[tuple[int, list[str], dict[str, list[str]], list[str]]]:
    """Yield every list: its line, its words, its lists of words by their first, and the words of its segment."""
    waiting = [(tree, [])]
    while waiting:
        each, segment = waiting.pop()
        words = [item for item in each[1:] if isinstance(item, str)]
        lists = [item for item in each[1:] if isinstance(item, list)]
        named = {item[1]: item[2:] for item in lists if len(item) > 2 and all(isinstance(i, str) for i in item[1:])}
        yield each[0], words, named, segment
        segment = words if words[:1] == ["segment"] else segment
        solutions = [item for item in lists if item[1:2] == ["solution"]]
        waiting += [(item, segment) for item in reversed(lists) if item not in solutions[1:]]


def _numbers(words: list[str]) -> list[float]:
    return [float(word) for word in words if NUMBER.fullmatch(word)]


def _span(words: list[str], where: str) -> tuple[float, float]:
    """Return a segment's onset and duration in seconds; a duration of 0 is not known."""
    numbers = _numbers(words)
    if not numbers or numbers[0] < 0 or (numbers[1:2] and numbers[1] <= 0):
        raise ValueError(f"{where}: a segment needs an onset in ms (and may have a duration): {' '.join(words)!r}.")
    return numbers[0] / 1000, (numbers[1] / 1000 if numbers[1:] else 0.0)


def _note(
    words: list[str], lists: dict[str, list[str]], segment: list[str], where: str, onsets: list[float],
    known: set[str], files: dict[str, int], notes: NoteLibrary,
) -> SolutionNote | None:  # fmt: skip
    """Return one note; its words are known by what they look like, and what is missing is read off its file's name."""
    file = next((word for word in words if SOUND.search(word) or "/" in word or word in files), "")
    stem = Path(file.replace("\\", "/")).stem.split("-")
    plain = [w for w in words if w != file and not NUMBER.fullmatch(w)]
    pitches = [found for word in [*plain, *stem] if (found := PITCH.fullmatch(word))]
    dynamics = [word for word in [*plain, *stem] if word in DYNAMICS]
    forms = (PITCH, STRING, RETUNING)
    names = [word for word in plain if word not in DYNAMICS and not any(form.fullmatch(word) for form in forms)]
    names = names or [word for word in stem if word not in dynamics and not PITCH.fullmatch(word)]
    name = next((word for word in names if word.split("+")[0] in known), names[0] if names else "")
    instrument, _, mute = name.partition("+")
    rest = names[names.index(name) + 1 :] if instrument else []
    what = " ".join(words)
    if not instrument or (not pitches and not {"N", "NA"} & set(plain)):
        raise ValueError(f"{where}: a note needs an instrument and a pitch, but reads {what!r}.")
    if not pitches:
        row, higher = files.get("-".join(stem), -1), 0.0
        if row < 0:
            without = f"the library {notes.name!r} has no note without a pitch: {what!r}"
            warnings.warn(f"{where}: left out, {without}.", stacklevel=3)
            return None
    else:
        higher = 50.0 if pitches[0][2] else 0.0
        row = find_row(
            notes, where, file=file, instrument=instrument, midi=pitch_to_midi(pitches[0][1] + pitches[0][3]),
            dynamic=dynamics[0] if dynamics else "", technique=rest[0] if rest else "", mute=mute,
        )  # fmt: skip
    onset, duration = _span(segment, where) if segment else (0.0, 0.0)
    later = [each for each in onsets if each > onset]
    duration = duration or (min(later) - onset if later else 1.0)
    numbers = _numbers(words)
    duration = numbers[0] / 1000 if numbers and numbers[0] > 0 else duration
    options = {"cents": higher + (numbers[-1] if len(numbers) > 1 and words[-1] != file else 0.0)}
    for name in ("player", "cents", "gain"):
        if name in lists:
            values = _numbers(lists[name])
            if not values:
                raise ValueError(f"{where}: {name} is a number, but reads {' '.join(lists[name])!r}.")
            options[name] = values[0]
    player = int(options.pop("player", -1))
    return SolutionNote.of(notes, row, player, onset=onset, duration=duration, **options)


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
                what = f"{note.instrument} {note.pitch} at {note.onset:g} s"
                raise ValueError(f"{where}: nobody in the orchestra {' '.join(orchestra)} is free to play {what}.")
            note = replace(note, player=free[0])
        seated.append(note)
    return seated


def find_row(
    notes: NoteLibrary, where: str, *, file: str, instrument: str, midi: int, dynamic: str = "", technique: str = "",
    mute: str = "",
) -> int:  # fmt: skip
    """Return the row of a library that holds a note: by file, if the pitch is right, or else by what it is."""
    table = notes.table
    right = ((table["instrument"] == instrument) & (table["midi"] == midi)).to_numpy()
    muted = right & (table["mute"].fillna("") == mute).to_numpy(dtype=bool)
    if file:
        stem = Path(file.replace("\\", "/")).stem
        by_file = np.flatnonzero(muted & (table["file"].map(lambda f: Path(f).stem) == stem).to_numpy())
        if len(by_file):
            return int(by_file[0])
    wanted = muted
    if dynamic:
        wanted = wanted & (table["dynamic"] == dynamic).to_numpy()
    if technique in ORDINARY:
        ordinary = wanted & table["technique"].fillna("").isin(ORDINARY).to_numpy()
        wanted = ordinary if technique or ordinary.any() else wanted
    else:
        wanted = wanted & (table["technique"] == technique).to_numpy()
    if wanted.any():
        return int(np.flatnonzero(wanted)[0])
    played = f"{instrument}+{mute}" if mute else instrument
    what = " ".join(word for word in (played, midi_to_pitch(midi), dynamic, technique) if word)
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
