"""The last stage of a search: assignments rendered from the recordings, phases and all."""

from __future__ import annotations

import math
from contextlib import suppress

import torch

from ..distances import SAMPLE_RATE, Distance
from ..solution import SolutionNote, note_audio
from ..spectra import LONGEST, Spectrum
from .local_search import explore
from .pursuit import GAIN, additions
from .state import OutOfBudget, Screen, SearchState

FIRST, MORE = 12, 30  # of what was found, how many are rendered; and before they are polished
EXPLORED = 0.8  # of the budget; the rest is for what is rendered
BEGUN = 3  # of them are polished
RENDERED = 300  # assignments, after which no exchange is tried any more
MOST = 1_500_000  # samples that are transformed at a time
OFFERED = Screen(best=4, drawn=4)  # which notes of each player are compared in place of one,
CLOSER = 8  # and how many of all of them are rendered


class Renderer:
    """Compares the sound of assignments with the target, where a search compares sums of energies."""

    def __init__(self, state: SearchState) -> None:
        self.state, self.sound = state, state.problem.sound
        bands = not isinstance(state.problem.measure.energy, Spectrum)
        self.sound = self.sound[: round(LONGEST * SAMPLE_RATE)] if bands else self.sound
        self._notes: dict[int, torch.Tensor] = {}

    def __call__(self, assignments: torch.Tensor) -> torch.Tensor:
        """Return the distances of the sound of assignments [any, players], with their notes' costs: float32 [any]."""
        self.state.budget.check()
        return self.compared(assignments)

    def compared(self, assignments: torch.Tensor) -> torch.Tensor:
        """Return the same, whether or not the budget is spent."""
        state, problem = self.state, self.state.problem
        size = max(1, MOST // len(self.sound))
        distances = torch.cat([
            between(problem.limited, self.sound, torch.stack([self.render(each) for each in part]))
            for part in assignments.split(size)
        ])  # fmt: skip
        scores = distances * problem.cost(assignments).exp()
        for assignment, score in zip(assignments, scores.tolist(), strict=True):
            state.keep(assignment, score, state.rendered)
        state.budget.spend(len(assignments), state.best)
        return scores

    def render(self, assignment: torch.Tensor) -> torch.Tensor:
        """Return the sound of an assignment, float32 [samples]."""
        mixture = torch.zeros_like(self.sound)
        for i in assignment[assignment != self.state.problem.rest].tolist():
            note = self._note(i)[: len(mixture)]
            mixture[: len(note)] += note
        return mixture

    def _note(self, i: int) -> torch.Tensor:
        if i not in self._notes:
            problem = self.state.problem
            row = int(problem.rows[i])
            note = SolutionNote.of(problem.notes, row, 0, cents=problem.cents_of[row], duration=problem.seconds)
            self._notes[i] = torch.from_numpy(note_audio(problem.notes, note))
        return self._notes[i]


def render_best(state: SearchState, first: int = FIRST) -> Renderer:
    """Compare the sound of the best that a search has found, and of the best of every number of notes."""
    renderer = Renderer(state)
    ranked = [assignment for _, assignment in state.ranked()]
    counts = [int((assignment != state.problem.rest).sum()) for assignment in ranked]
    best = [a for i, (a, n) in enumerate(zip(ranked, counts, strict=True)) if i < first or n not in counts[:i]]
    if best:
        renderer.compared(torch.stack(best))
    return renderer


def polish(state: SearchState) -> None:
    """Exchange notes of what sounds nearest until no exchange brings it nearer, or the budget is spent."""
    renderer = render_best(state, MORE)
    starts: dict[int, tuple[float, torch.Tensor]] = {}
    for score, assignment in sorted(state.rendered.values(), key=lambda each: each[0]):
        starts.setdefault(int((assignment != state.problem.rest).sum()), (score, assignment))
    with suppress(OutOfBudget):
        for score, assignment in list(starts.values())[:BEGUN]:
            _descend(state, renderer, assignment, score)


def _descend(state: SearchState, renderer: Renderer, assignment: torch.Tensor, score: float) -> None:
    """Exchange notes of one assignment while that brings its sound nearer."""
    idle, turn = 0, 0
    while idle <= len(assignment) and len(state.rendered) < RENDERED:
        leaving = [p for p in range(len(assignment)) if assignment[p] != state.problem.rest] + [None]
        p = leaving[turn % len(leaving)]
        turn, idle = turn + 1, idle + 1
        idle = idle if idle <= len(leaving) else len(assignment) + 1
        offers = _offers(state, assignment, p)
        if not len(offers):
            continue
        scores = renderer(offers)
        if scores.min() < score - GAIN:
            assignment, score, idle = offers[int(scores.argmin())], float(scores.min()), 0


def _offers(state: SearchState, assignment: torch.Tensor, leaving: int | None) -> torch.Tensor:
    """Return assignments [offers, players] in which one note is exchanged for another, or left out."""
    problem, others = state.problem, assignment.clone()
    if leaving is not None:
        others[leaving] = problem.rest
    count = int((others != problem.rest).sum())
    players, options, scores = additions(state, others, screen=OFFERED)
    top = scores.topk(min(CLOSER, len(scores)), largest=False).indices
    offers = others.repeat(len(top), 1)
    offers[torch.arange(len(top)), players[top]] = options[top]
    if leaving is not None and leaving not in problem.must_play and count >= max(problem.min_notes, 1):
        offers = torch.cat([offers, others[None]])
    return offers[(offers != assignment).any(1)]


def search(state: SearchState) -> None:
    """Explore, then polish, within the state's budget: the whole search of a target that is one sound."""
    share = state.budget.share
    state.budget.share = EXPLORED * share
    explore(state)
    state.budget.share = share
    polish(state)


def between(measure: Distance, target: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
    """Return the distances [batch] of sounds [batch, samples] from a target of their length."""
    if isinstance(measure.energy, Spectrum):
        return measure(target, sounds)
    parts = max(1, math.ceil(len(target) / (LONGEST * SAMPLE_RATE) - 1e-9))
    pairs = zip(target.tensor_split(parts), sounds.tensor_split(parts, dim=1), strict=True)
    return torch.stack([measure(a, b) for a, b in pairs]).mean(0)
