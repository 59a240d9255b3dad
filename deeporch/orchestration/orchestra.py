"""An orchestra as players, and which notes of a library each may be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..notes.instruments import INSTRUMENTS, midi_to_pitch, pitch_to_midi
from ..notes.library import NoteLibrary
from ..notes.sources.philharmonia import sounding
from ..util.checks import check_choice, check_range, near
from .solution import SolutionNote

SHORTEST = 0.3  # seconds of a recording: what is shorter is no held note
ORCHESTRA = "Fl Fl Ob ClBb|BClBb Bn Hn TpC Tbn Vn Va Vc Cb"


@dataclass(frozen=True)
class Filter:
    """A restriction of the notes: a name for messages, and the rows that pass."""

    name: str
    passes: np.ndarray


def parse_orchestra(orchestra: str | Sequence[str], notes: NoteLibrary) -> tuple[str, ...]:
    """Return the players of an orchestra."""
    players = tuple(orchestra.replace(",", " ").split() if isinstance(orchestra, str) else map(str, orchestra))
    if not players:
        raise ValueError("The orchestra has no player: give instruments separated by spaces, such as 'Fl Ob ClBb Vc'.")
    known = sorted(notes.table["instrument"].unique())
    players = tuple(_that_it_has(player, known) for player in players)
    for instrument in (name for player in players for name in player.split("|") if name not in known):
        names = dict(zip(notes.table["name"], notes.table["instrument"], strict=True))
        hint = dict.fromkeys(names.get(n, n) for n in near(instrument, [*known, *names]))
        hint = f" did you mean {' or '.join(map(repr, hint))}?" if hint else ""
        have = f"The library {notes.name!r} has {', '.join(known)}."
        raise ValueError(f"Unknown instrument {instrument!r} in the orchestra:{hint} {have}")
    return players


def _that_it_has(player: str, known: list[str]) -> str:
    """Return a doubling player without real instruments that the library lacks, if it has another of that player's."""
    names = player.split("|")
    kept = [name for name in names if name in known or name not in INSTRUMENTS]  # what is no instrument is a mistake
    return "|".join(kept) if any(name in known for name in kept) else player


def as_it_sounds(notes: NoteLibrary) -> NoteLibrary:
    """Return a library whose pitches are those that sound; Philharmonia's may be those of the files' names."""
    table = notes.table
    if not {"named", "length"} <= set(table) or not (table["named"] == table["pitch"]).fillna(False).all():
        return notes
    rows = map(sounding, table[["instrument", "dynamic", "midi", "length", "named", "take"]].to_dict("records"))
    midi, take = zip(*((row["midi"], row["take"]) for row in rows), strict=True)
    found = copy(notes)  # the same recordings
    found.table = table.assign(midi=np.array(midi), pitch=list(map(midi_to_pitch, midi)), take=take)
    return found


def note_filters(
    notes: NoteLibrary,
    *,
    pitch_range: tuple[str | int, str | int] | None = None,
    pitches: Iterable[str | int] | None = None,
    dynamics: str | Iterable[str] | None = None,
    techniques: str | Iterable[str] | None = None,
    partials: np.ndarray | None = None,
    partial_filter: float = 0.0,
) -> list[Filter]:
    """Return the filters that the options ask for; see `deeporch.orchestrate`."""
    midi = notes.table["midi"].to_numpy(dtype=float)
    found = [Filter(f"recordings of {SHORTEST:g} s and more", notes.table["seconds"].to_numpy() >= SHORTEST)]
    if pitch_range is not None:
        if len(pitch_range) != 2:
            raise ValueError(f"pitch_range is a lowest and a highest pitch, but is {pitch_range!r}.")
        low, high = map(_midi, pitch_range)
        if low > high:
            raise ValueError(f"The lowest pitch, {midi_to_pitch(low)}, lies above the highest, {midi_to_pitch(high)}.")
        name = f"the range {midi_to_pitch(low)} to {midi_to_pitch(high)}"
        found.append(Filter(name, (midi >= low) & (midi <= high)))
    if pitches is not None:
        pitches = pitches.replace(",", " ").split() if isinstance(pitches, str) else pitches
        wanted = sorted(set(map(_midi, pitches)))
        shown = " ".join(map(midi_to_pitch, wanted))
        found.append(Filter(f"the pitches {shown}", np.isin(midi, wanted)))
    for option, column, values in (("dynamics", "dynamic", dynamics), ("techniques", "technique", techniques)):
        if values is not None:
            passes = notes.select(**{option: values}).table[column].unique()  # says which ones there are
            has = notes.table[column].isin(passes).to_numpy(dtype=bool)
            found.append(Filter(f"the {option} {' '.join(passes)}", has))
    if partials is not None and partial_filter > 0:
        near_partial = (np.abs(midi[:, None] - partials) <= 0.5).any(1) if len(partials) else np.zeros(len(midi), bool)
        found.append(Filter(f"the partial filter {partial_filter:g} ({len(partials)} partials)", near_partial))
    return found


def _midi(pitch: str | int) -> int:
    return pitch_to_midi(pitch) if isinstance(pitch, str) else int(check_range(int(pitch), 0, 127, "A MIDI number"))


def candidates(notes: NoteLibrary, players: Sequence[str], filters: Sequence[Filter]) -> list[np.ndarray]:
    """Return the rows of the library that each player may be given."""
    rows, reasons = {}, []
    for instrument in dict.fromkeys(name for player in players for name in player.split("|")):
        keep = (notes.table["instrument"] == instrument).to_numpy(dtype=bool)
        for each in filters:
            left = keep & each.passes
            if keep.any() and not left.any():
                reasons.append(f"{each.name} emptied {instrument}")
            keep = left
        rows[instrument] = np.flatnonzero(keep)
    lists = [np.concatenate([rows[name] for name in player.split("|")]) for player in players]
    if not any(map(len, lists)):
        raise ValueError(f"The filters leave the orchestra without notes: {_grouped(reasons)}; widen them.")
    return lists


def _grouped(reasons: Sequence[str]) -> str:
    """Return "A emptied Fl, Ob; B emptied Vn"."""
    pairs = pd.DataFrame([reason.rsplit(" emptied ", 1) for reason in reasons], columns=["filter", "instrument"])
    grouped = pairs.groupby("filter", sort=False)["instrument"].agg(", ".join)
    return "; ".join(f"{name} emptied {instruments}" for name, instruments in grouped.items())


def weigh(notes: NoteLibrary, players: Sequence[str], weights: str | Mapping[str, float]) -> np.ndarray:
    """Return by how much the cost of each note of the library is multiplied."""
    if isinstance(weights, str):
        weights = {word.partition("=")[0]: word.partition("=")[2] for word in weights.split()}
    factors = np.ones(len(notes))
    for name, weight in weights.items():
        check_choice(name, [each for player in players for each in player.split("|")], "weighed instrument")
        try:
            weight = float(weight)
        except ValueError:
            raise ValueError(f"The weight of {name} is a number, e.g. {name}=3, but is {weight!r}.") from None
        factors[notes.table["instrument"] == name] = check_range(weight, 0, 1000, f"The weight of {name}")
    return factors


def fix(
    notes: NoteLibrary, players: Sequence[str], choices: Sequence[np.ndarray], fixed: Iterable[str | SolutionNote]
) -> tuple[list[np.ndarray], list[int]]:
    """Return what each player may be given when some notes must sound, and who must play."""
    choices, must_play = list(choices), []
    table = notes.table
    fixed = [fixed] if isinstance(fixed, str) else list(fixed)
    for note in sorted(fixed, key=lambda each: isinstance(each, str)):  # those that have their player go first
        if isinstance(note, str):
            instrument, pitch, dynamic = (*note.split(), None, None, None)[:3]
            keep = (table["instrument"] == instrument) & (table["midi"] == (pitch_to_midi(pitch) if pitch else -1))
            rows = np.flatnonzero(keep & (True if dynamic is None else table["dynamic"] == dynamic))
            able = [p for p, names in enumerate(players) if instrument in names.split("|")]
        else:
            instrument, rows, able = note.instrument, np.array([note.note]), [note.player]
        if not len(rows):
            how = "write 'Vc C2' or 'Vc C2 ff'"
            raise ValueError(f"The fixed note {note!r} is not in the library {notes.name!r}: {how}.")
        free = [p for p in able if p not in must_play and p < len(players) and instrument in players[p].split("|")]
        if not free:
            name = note if isinstance(note, str) else f"{note.instrument} {note.pitch}"
            raise ValueError(f"No player of the orchestra {' '.join(players)} is left for the fixed note {name!r}.")
        choices[free[0]] = rows
        must_play.append(free[0])
    return choices, must_play
