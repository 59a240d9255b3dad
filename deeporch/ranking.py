"""From what a search found to solutions: good, different, and compared with the target as they sound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from .distances import Distance
from .library import NoteLibrary
from .search import Task
from .segments import movement, smoothest_path, tie
from .solutions import Solution, SolutionNote

DEEP = 400  # of what was found for a segment, how many are looked at
SPARE = 4  # times as many solutions are rendered as are returned


def choose(
    tasks: Sequence[Task],
    spans: Sequence[tuple[float, float]],
    *,
    count: int,
    diversity: float,
    continuity: float,
) -> list[list[SolutionNote]]:
    """Return the notes of so many solutions, each good and unlike those before it.

    Parameters
    ----------
    tasks : sequence of Task
        Searched, one a segment; those of the last segments may be missing or empty.
    spans : sequence of (float, float)
        Where segments begin and end, in seconds.
    count : int
        Of solutions.
    diversity : float
        What a solution pays for sharing all its notes with an earlier one, relative to the best distance.
    continuity : float
        What a solution pays if all players leap an octave, relative to the best distance.
    """
    tasks = [task for task in tasks if task.found]
    ranked = [task.ranked()[:DEEP] for task in tasks]
    costs = [np.array([score for score, _ in each]) for each in ranked]
    plays = [torch.stack([assignment for _, assignment in each]) for each in ranked]
    scale = float(np.mean([abs(cost[0]) for cost in costs])) or 1.0
    midis = [_midi(task, play) for task, play in zip(tasks, plays, strict=True)]
    moves = [continuity * scale * movement(a, b) for a, b in pairwise(midis)]
    sets = [_memberships(task, play) for task, play in zip(tasks, plays, strict=True)]
    alike = [np.zeros(len(cost)) for cost in costs]
    found, known = [], set()
    for _ in range(4 * count):
        path = smoothest_path([c + diversity * scale * a for c, a in zip(costs, alike, strict=True)], moves)
        for k, i in enumerate(path):
            shared = sets[k] @ sets[k][i]
            alike[k] = np.maximum(alike[k], shared / (sets[k].sum(1) + sets[k][i].sum() - shared))
            alike[k][i] = max(alike[k][i], 1) * 2  # so that a lone alternative is taken before a repetition
        if tuple(path) not in known:
            known.add(tuple(path))
            found.append(_notes(tasks, spans, [play[i] for play, i in zip(plays, path, strict=True)]))
        if len(found) == count:
            break
    return found


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
    solutions = []
    for each in found:
        draft = Solution(tuple(each), tuple(players), notes, 0.0, measure.name, seconds)
        heard = torch.from_numpy(draft.render())
        solutions.append(
            Solution(draft.notes, draft.orchestra, notes, between(measure, sound, heard), measure.name, seconds)
        )
    return sorted(solutions, key=lambda solution: solution.distance)


def between(measure: Distance, target: torch.Tensor, sound: torch.Tensor) -> float:
    """Return the distance of two sounds of one length; of long ones, the mean over four-second parts."""
    return float(measure(target, sound[None])[0])
