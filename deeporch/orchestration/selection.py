"""From what a search found to solutions: good, different, and compared with the target as they sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from ..notes.library import NoteLibrary
from ..util.audio import loudness
from .distances import Distance
from .search.problem import Task
from .search.rendered import between
from .solution import Solution, SolutionNote
from .target import movement, smoothest_path, tie

DEEP = 400  # of what was found for a segment, how many are looked at
SPARE = 4  # times as many different solutions are heard as are returned,
NEAREST = 16  # and so many that may differ little
REPEATED = 0.1  # of the median distance: what a segment pays for each time its notes were chosen before


def choose(
    tasks: Sequence[Task],
    spans: Sequence[tuple[float, float]],
    *,
    count: int,
    diversity: float,
    continuity: float,
) -> list[list[SolutionNote]]:
    """Return the notes of solutions that deserve to be heard: the best, and good ones unlike those before them.

    Parameters
    ----------
    tasks : sequence of Task
        Searched, one a segment; those of the last segments may be missing or empty.
    spans : sequence of (float, float)
        Where segments begin and end, in seconds.
    count : int
        How many solutions are wanted in the end; more are returned.
    diversity : float
        What a solution pays for sharing all its notes with an earlier one, relative to the median distance.
    continuity : float
        What a solution pays if all players leap an octave, relative to the median distance.
    """
    spans = [span for task, span in zip(tasks, spans, strict=False) if task.found]
    tasks = [task for task in tasks if task.found]
    ranked = [task.ranked()[:DEEP] for task in tasks]
    costs = [np.array([score for score, _ in each]) for each in ranked]
    plays = [torch.stack([assignment for _, assignment in each]) for each in ranked]
    scale = float(np.mean([np.median(cost) for cost in costs]))
    midis = [_midi(task, play) for task, play in zip(tasks, plays, strict=True)]
    moves = [continuity * scale * movement(a, b) for a, b in pairwise(midis)]
    sets = [_memberships(task, play) for task, play in zip(tasks, plays, strict=True)]
    paths = _paths(costs, moves, sets, NEAREST, 0.0, scale)
    paths += _paths(costs, moves, sets, SPARE * count, diversity * scale, scale)
    chosen = [[play[i] for play, i in zip(plays, path, strict=True)] for path in dict.fromkeys(paths)]
    if len(tasks) == 1:
        heard = sorted(tasks[0].heard.values(), key=lambda each: each[0])
        chosen += [[assignment] for _, assignment in heard[:NEAREST]]
    return [_notes(tasks, spans, each) for each in chosen]


def _paths(
    costs: Sequence[np.ndarray], moves: Sequence[np.ndarray], sets: Sequence[np.ndarray], count: int, diversity: float,
    scale: float,
) -> list[tuple[int, ...]]:  # fmt: skip
    """Return one choice a segment, `count` times: the least costly, then others that pay for being alike."""
    paid = [cost.copy() for cost in costs]
    alike = [np.zeros(len(cost)) for cost in costs]
    paths = {}
    for _ in range(2 * count):
        path = smoothest_path([c + diversity * a for c, a in zip(paid, alike, strict=True)], moves)
        paths[tuple(path)] = None
        if len(paths) == count:
            break
        for k, i in enumerate(path):
            paid[k][i] += REPEATED * scale
            alike[k] = np.maximum(alike[k], jaccard(sets[k], sets[k][i]))
    return list(paths)


def jaccard(sets: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Return how much of two sets is common to both, 0 to 1: of each row of `sets` [sets, members] and `one`."""
    shared = sets @ one
    return shared / np.maximum(sets.sum(1) + one.sum() - shared, 1)


def _midi(task: Task, plays: torch.Tensor) -> np.ndarray:
    """Return MIDI numbers [assignments, players], NaN for rests."""
    midi = np.append(task.notes.table["midi"].to_numpy(dtype=float)[task.rows], np.nan)
    return midi[plays.numpy()]


def _memberships(task: Task, plays: torch.Tensor) -> np.ndarray:
    """Return float [assignments, classes]: which instruments play which pitches, whatever the dynamic."""
    table = task.notes.table.iloc[task.rows]
    classes = (table["instrument"] + " " + table["pitch"]).factorize()[0]
    member = np.zeros((len(plays), classes.max() + 2))
    member[np.arange(len(plays))[:, None], np.append(classes, classes.max() + 1)[plays.numpy()]] = 1
    return member[:, :-1]


def _notes(
    tasks: Sequence[Task], spans: Sequence[tuple[float, float]], plays: Sequence[torch.Tensor]
) -> list[SolutionNote]:
    """Return the notes of one assignment a segment, those that go on tied."""
    notes = [
        SolutionNote.of(
            task.notes, row := int(task.rows[i]), p, cents=task.cents[row], onset=begin, duration=end - begin
        )
        for task, play, (begin, end) in zip(tasks, plays, spans, strict=False)
        for p, i in enumerate(play.tolist())
        if i != task.rest
    ]
    return tie(notes, tasks[0].notes.table["seconds"].tolist())


def exact(
    found: Sequence[Sequence[SolutionNote]],
    players: Sequence[str],
    measure: Distance,
    sound: torch.Tensor,
    notes: NoteLibrary,
) -> list[Solution]:
    """Return solutions, the best first, with the distance of what they sound like from the target."""
    seconds = len(sound) / notes.sample_rate
    loud = loudness(sound.numpy())
    drafts = [Solution(tuple(each), tuple(players), notes, 0.0, measure.name, seconds, loudness=loud) for each in found]
    heard = (torch.from_numpy(draft.render())[None] for draft in drafts)
    distances = (float(between(measure, sound, audio)[0]) for audio in heard)
    solutions = [replace(draft, distance=each) for draft, each in zip(drafts, distances, strict=True)]
    return sorted(solutions, key=lambda solution: solution.distance)


def _with_different_notes(solutions: Sequence[Solution], count: int) -> Sequence[Solution]:
    """Return the first of those that differ in nothing but dynamics or players; all, if fewer than `count` are left."""
    seen: dict[frozenset, Solution] = {}
    for solution in solutions:
        key = frozenset((note.instrument, note.midi, round(note.onset, 3)) for note in solution.notes)
        seen.setdefault(key, solution)
    return list(seen.values()) if len(seen) >= count else solutions


def pick(solutions: Sequence[Solution], count: int, diversity: float, note_cost: float) -> list[Solution]:
    """Return the best solutions that are unlike each other, the best first.

    Parameters
    ----------
    solutions : sequence of Solution
        With their distances, the best first.
    count : int
        How many.
    diversity : float
        As in `choose`.
    note_cost : float
        By which share each note lengthens the distance.
    """
    solutions = _with_different_notes(solutions, count)
    if not solutions:
        return []
    names = [{(note.player, note.instrument, note.midi, round(note.onset, 3)) for note in s.notes} for s in solutions]
    members = {name: i for i, name in enumerate(sorted(set().union(*names)))}
    sets = np.array([[name in each for name in members] for each in names], dtype=float)
    scores = np.array([s.distance * (1 + note_cost) ** (len(s.notes)) for s in solutions])
    alike, chosen = np.zeros(len(solutions)), []
    while len(chosen) < min(count, len(solutions)):
        total = scores + diversity * np.median(scores) * alike
        total[chosen] = np.inf
        chosen.append(int(total.argmin()))
        alike = np.maximum(alike, jaccard(sets, sets[chosen[-1]]))
    order = sorted(chosen, key=lambda i: scores[i])
    return [solutions[i] for i in order]
