"""What every form of a score needs: staves of players in score order, on a tempo and a grid that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from ..notes.instruments import MUTES, ORDINARY, TECHNIQUES, full_name, instrument_order, writing
from ..util.checks import check_range

if TYPE_CHECKING:
    from ..orchestration.solution import Solution, SolutionNote

TEMPO = 60.0  # quarters a minute, where its sixteenths keep every onset,
TEMPI = range(62, 140, 2)  # or else the one of these that moves them least
MOVED = 0.05  # seconds that a notated onset may be off
COARSE, FINE = 4, 8  # parts of a quarter: sixteenths; 32nds only where a player's onsets would fall together
NEAR, EIGHTH = 10.0, 25.0  # cents: what is retuned by less is not marked; the step of the accidentals


@dataclass(frozen=True)
class Event:
    """What one player begins at one place of the score: notes of one instrument, in units of the grid."""

    start: int
    end: int
    notes: tuple[SolutionNote, ...]

    @property
    def instrument(self) -> str:
        """What is played."""
        return self.notes[0].instrument


@dataclass(frozen=True)
class Staff:
    """One player's part."""

    player: int
    plays: tuple[str, ...]  # instruments
    name: str
    short: str
    events: tuple[Event, ...]


def staves(solution: Solution, tempo: float, grid: int) -> list[Staff]:
    """Return the players who play, in score order; all of them if nobody does."""
    firsts = [plays.split("|")[0] for plays in solution.orchestra]
    players = sorted(range(len(firsts)), key=lambda i: (*instrument_order(firsts[i]), i))
    found = []
    for player in players:
        plays, number = solution.orchestra[player].split("|"), desk(solution, player)
        name, short = " / ".join(map(full_name, plays)) + number, "/".join(plays) + number
        found.append(Staff(player, tuple(plays), name, short, tuple(_events(solution, player, tempo, grid))))
    return [staff for staff in found if staff.events] or found


def desk(solution: Solution, player: int) -> str:
    """Return the number of a player among those who play the same, ``" 2"``, or nothing if there is only one."""
    same = [index for index, plays in enumerate(solution.orchestra) if plays == solution.orchestra[player]]
    return f" {same.index(player) + 1}" if len(same) > 1 else ""


def tempo_and_grid(solution: Solution, tempo: float | None = None) -> tuple[float, int]:
    """Return a tempo (quarters a minute; the one given, or that suits the onsets best) and parts of a quarter."""
    if tempo is not None:
        check_range(tempo, 20, 400, "tempo")
    onsets = sorted({(note.player, note.onset) for note in solution.attacks})

    def judged(tempo: float, grid: int) -> tuple[int, float]:
        """Return how many onsets of one player fall together, and by how much any is moved at most."""
        units = [(player, round(onset * tempo / 60 * grid)) for player, onset in onsets]
        moved = [abs(onset - unit * 60 / tempo / grid) for (_, onset), (_, unit) in zip(onsets, units, strict=True)]
        return len(units) - len(set(units)), max(moved, default=0.0)

    if tempo is None:
        together, moved = judged(TEMPO, COARSE)
        best = min(TEMPI, key=lambda each: judged(each, COARSE))
        tempo = TEMPO if not together and moved <= MOVED else float(best)
    return tempo, FINE if judged(tempo, COARSE)[0] else COARSE


def _events(solution: Solution, player: int, tempo: float, grid: int) -> list[Event]:
    """Return what a player plays; a note ends where the next one begins, and lasts one unit at least."""
    at: dict[int, list[SolutionNote]] = {}
    last = (-1, -1.0)  # unit and time of the onset before
    for note in (note for note in solution.attacks if note.player == player):
        unit = round(note.onset * tempo / 60 * grid)
        if note.onset > last[1] + MOVED / 2 and unit <= last[0]:
            unit = last[0] + 1  # struck again, if only by a hair: not a chord
        at.setdefault(unit, []).append(note)
        last = (unit, note.onset) if unit != last[0] else last
    events = []
    for start, following in zip_longest(at, list(at)[1:]):
        notes = tuple(note for note in at[start] if note.instrument == at[start][0].instrument)
        end = max(round((note.onset + note.duration) * tempo / 60 * grid) for note in notes)
        events.append(Event(start, max(start + 1, end if following is None else min(end, following)), notes))
    return events


def written(note: SolutionNote) -> tuple[int, float]:
    """Return a note's written MIDI number, and by how many cents it is marked higher: steps of an eighth-tone."""
    semitones = round(note.cents / 100)
    rest = note.cents - 100 * semitones
    eighths = 0 if abs(rest) < NEAR else max(1, round(abs(rest) / EIGHTH)) * (1 if rest > 0 else -1)
    return note.midi + semitones - writing(note.instrument).semitones, eighths * EIGHTH


def words(events: Sequence[Event], doubles: bool) -> list[list[str]]:
    """Return what is written over each event: instrument of who doubles, mute and technique where they change."""
    found, instrument, mute, technique = [], None, "", ""
    for event in events:
        first, texts = event.notes[0], []
        if doubles and first.instrument != instrument:
            texts.append(full_name(first.instrument))
        if first.mute != mute:
            texts.append(MUTES.get(first.mute, f"mute {first.mute}") if first.mute else "senza sord.")
        how = technique_words(first.technique)
        if how != technique:
            texts.append(how or ("arco" if technique.startswith("pizz") else "ord."))
        found.append(texts)
        instrument, mute, technique = first.instrument, first.mute, how
    return found


def technique_words(technique: str) -> str:
    """Return a technique as players write it, nothing for the ordinary one."""
    name = technique.strip().lower().replace("_", "-")
    return "" if name in ORDINARY else TECHNIQUES.get(name, name.replace("-", " "))
