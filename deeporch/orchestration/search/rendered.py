"""The last stage of a search: assignments as they are heard, rendered from the recordings, phases and all."""

from __future__ import annotations

import math
from contextlib import suppress

import torch

from ..distances import SAMPLE_RATE, Distance
from ..solution import SolutionNote, note_audio
from ..spectra import LONGEST, Spectrum
from .local_search import explore
from .problem import OutOfBudget, Screen, Task
from .pursuit import GAIN, additions

FIRST, MORE = 12, 60  # of what was found, how many are heard; and before they are polished
EXPLORED = 0.8  # of the budget; the rest is for what is heard
BEGUN = 5  # of them are polished
MOST = 1_500_000  # samples that are transformed at a time
OFFERED = Screen(best=4, drawn=4)  # which notes of each player are compared in place of one,
CLOSER = 8  # and how many of all of them are heard


class Ear:
    """Compares what assignments sound like with the target; a search compares sums of energies.

    Energies add up only if phases are unrelated, and bands are coarser than a distance's own spectrum, so that of two
    good assignments the one that sounds nearer is not always the one that was found to be. An evaluation costs about
    a millisecond here and ten microseconds there.

    Parameters
    ----------
    task : Task
        What is searched; what is heard is kept in its `heard`.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.sound = task, task.sound
        self._notes: dict[int, torch.Tensor] = {}

    def __call__(self, assignments: torch.Tensor) -> torch.Tensor:
        """Return the heard distances of assignments [any, players] with the costs of their notes: float32 [any]."""
        task = self.task
        task.budget.check()
        size = max(1, MOST // len(self.sound))
        distances = torch.cat([
            between(task.measure, self.sound, torch.stack([self.render(each) for each in part]))
            for part in assignments.split(size)
        ])  # fmt: skip
        scores = distances * task.cost(assignments).exp()
        for assignment, score in zip(assignments, scores.tolist(), strict=True):
            task.keep(assignment, score, task.heard)
        task.budget.spend(len(assignments), task.best)
        return scores

    def render(self, assignment: torch.Tensor) -> torch.Tensor:
        """Return the sound of an assignment, float32 [samples]."""
        mixture = torch.zeros_like(self.sound)
        for i in assignment[assignment != self.task.rest].tolist():
            note = self._note(i)
            mixture[: len(note)] += note[: len(mixture)]
        return mixture

    def _note(self, i: int) -> torch.Tensor:
        if i not in self._notes:
            row = int(self.task.rows[i])
            note = SolutionNote.of(
                self.task.notes, row, 0, cents=self.task.cents[row], duration=len(self.sound) / SAMPLE_RATE
            )
            self._notes[i] = torch.from_numpy(note_audio(self.task.notes, note))
        return self._notes[i]


def hear(task: Task, first: int = FIRST) -> Ear:
    """Hear the best that a search has found, of every number of notes, and return the ear.

    It hears even if the budget is spent.
    """
    ear, budget = Ear(task), task.budget
    ranked = [assignment for _, assignment in task.ranked()]
    counts = [int((assignment != task.rest).sum()) for assignment in ranked]
    best = [a for i, (a, n) in enumerate(zip(ranked, counts, strict=True)) if i < first or n not in counts[:i]]
    share, stop = budget.share, budget.stop
    budget.share, budget.stop = math.inf, None
    if best:
        ear(torch.stack(best))
    budget.share, budget.stop = share, stop
    return ear


def polish(task: Task) -> None:
    """Exchange notes of what sounds nearest until no exchange brings it nearer, or the budget is spent.

    One note after the other is taken away, and the few others, of any player who then rests, that sums of energies
    prefer are heard in its place. Begins with the best of five numbers of notes. What was heard is kept in
    `task.heard`.

    Parameters
    ----------
    task : Task
        Already searched, by `explore` or another stage.
    """
    ear = hear(task, MORE)
    starts: dict[int, tuple[float, torch.Tensor]] = {}
    for score, assignment in sorted(task.heard.values(), key=lambda each: each[0]):
        starts.setdefault(int((assignment != task.rest).sum()), (score, assignment))
    with suppress(OutOfBudget):
        for score, assignment in list(starts.values())[:BEGUN]:
            _descend(task, ear, assignment, score)


def _descend(task: Task, ear: Ear, assignment: torch.Tensor, score: float) -> None:
    """Exchange notes of one assignment while that brings what is heard nearer."""
    idle, turn = 0, 0
    while idle <= len(assignment):
        leaving = [p for p in range(len(assignment)) if assignment[p] != task.rest] + [None]
        p = leaving[turn % len(leaving)]
        turn, idle = turn + 1, idle + 1
        idle = idle if idle <= len(leaving) else len(assignment) + 1
        offers = _offers(task, assignment, p)
        if not len(offers):
            continue
        heard = ear(offers)
        if heard.min() < score - GAIN:
            assignment, score, idle = offers[int(heard.argmin())], float(heard.min()), 0


def _offers(task: Task, assignment: torch.Tensor, leaving: int | None) -> torch.Tensor:
    """Return assignments [offers, players] in which one note is exchanged for another, or left out."""
    others = assignment.clone()
    if leaving is not None:
        others[leaving] = task.rest
    count = int((others != task.rest).sum())
    players, options, scores = additions(task, others, screen=OFFERED)
    top = scores.topk(min(CLOSER, len(scores)), largest=False).indices
    offers = others.repeat(len(top), 1)
    offers[torch.arange(len(top)), players[top]] = options[top]
    if leaving is not None and leaving not in task.must_play and count >= max(task.min_notes, 1):
        offers = torch.cat([offers, others[None]])
    return offers[(offers != assignment).any(1)]


def search(task: Task) -> None:
    """Explore, then polish, within the task's budget: the whole search of a target that is one sound."""
    share = task.budget.share
    task.budget.share = EXPLORED * share
    explore(task)
    task.budget.share = share
    polish(task)


def between(measure: Distance, target: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
    """Return the distances [batch] of sounds [batch, samples] from a target of their length.

    Of bands of more than four seconds, the mean over parts.
    """
    if isinstance(measure.energy, Spectrum):
        return measure(target, sounds)
    parts = max(1, math.ceil(len(target) / (LONGEST * SAMPLE_RATE) - 1e-9))
    pairs = zip(target.tensor_split(parts), sounds.tensor_split(parts, dim=1), strict=True)
    return torch.stack([measure(a, b) for a, b in pairs]).mean(0)
