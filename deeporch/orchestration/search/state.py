"""What changes while a problem is searched: the budget, what was tried, what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..distances import average
from .problem import SearchProblem

CHUNK = 320_000  # numbers of the views that are compared at a time: so many stay in a processor's cache
ON_GPU = 100  # times as many there
FINALISTS = 24  # notes that a rough comparison leaves for a finer one

Progress = Callable[[int, float, float], object]
Found = dict[tuple[int, ...], tuple[float, torch.Tensor]]  # notes to score and assignment


class OutOfBudget(Exception):
    """The budget is spent or the search was stopped; what was found is in the state."""


class Budget:
    """How many comparisons a search may make, for how long, and who watches it; the clock starts with the first one."""

    def __init__(
        self, evaluations: int | None = None, seconds: float | None = None, *,
        stop: Callable[[], bool] | None = None, progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self.limit, self.seconds, self.stop, self.progress = evaluations, seconds, stop, progress
        self.spent, self.share = 0, 1.0  # of the budget that may be spent for now
        self._part = 0.0  # of the next evaluation
        self._began: float | None = None

    @property
    def fraction(self) -> float:
        """The share that is spent, 0 to 1."""
        shares = [self.spent / self.limit] if self.limit else []
        if self.seconds and self._began is not None:
            shares.append((time.perf_counter() - self._began) / self.seconds)
        return min(1.0, max(shares, default=0.0))

    def spend(self, evaluations: float, best: float) -> None:
        """Count evaluations that were made; a comparison of a fraction of the numbers is that fraction of one."""
        self._part += evaluations
        self.spent, self._part = self.spent + int(self._part), self._part % 1
        if self.progress is not None:
            self.progress(self.spent, best, self.fraction)

    def check(self) -> None:
        """Raise OutOfBudget if nothing is left."""
        if self._began is None:
            self._began = time.perf_counter()
        if self.fraction >= self.share or (self.stop is not None and self.stop()):
            raise OutOfBudget


@dataclass(frozen=True)
class Screen:
    """Which few of a player's notes are compared with the target, by what can be told of them at less cost."""

    best: int
    drawn: int = 0
    rough: bool = False

    @property
    def size(self) -> int:
        """How many notes it leaves."""
        return self.best + self.drawn


class SearchState:
    """The archive of a search of one problem, its budget and its random generator."""

    def __init__(self, problem: SearchProblem, budget: Budget | None = None, *, seed: int = 0) -> None:
        self.problem, self.budget = problem, budget or Budget()
        self.generator = torch.Generator().manual_seed(seed)
        self.found: Found = {}
        self.rendered: Found = {}  # with the distance of what they sound like; see `Renderer`
        self.best = float("inf")
        self._tried: dict[tuple, dict[int, float]] = {}

    def score(self, mixtures: torch.Tensor, costs: torch.Tensor | float) -> torch.Tensor:
        """Return the distances of mixtures [candidates, view] times e to the power of their costs [candidates]."""
        self.budget.check()
        return self.compared(mixtures, costs)

    def compared(self, mixtures: torch.Tensor, costs: torch.Tensor | float) -> torch.Tensor:
        """Return what `score` does, whether or not the budget is spent."""
        problem, size = self.problem, 1 if str(self.problem.device) == "cpu" else ON_GPU
        parts = mixtures.split(max(1, CHUNK * size // mixtures.shape[1]))
        return self._count([problem.measure.seen(part.view(-1, *problem.shape)) for part in parts], costs)

    def alone(self) -> torch.Tensor:
        """Return the scores of every candidate by itself, as `score` does."""
        self.budget.check()
        return self._count(self.problem.each, self.problem.costs[:-1])

    def _count(self, parts: list[torch.Tensor], costs: torch.Tensor | float) -> torch.Tensor:
        """Compare with the target, multiply by the costs, and count."""
        problem = self.problem
        distances = torch.cat([problem.limited.compare(problem.wanted, part) for part in parts]).cpu()
        scores = distances * torch.as_tensor(costs).exp()
        self.best = min(self.best, float(scores.min()))
        self.budget.spend(len(scores), self.best)
        return scores

    def score_of(self, assignment: torch.Tensor) -> float:
        """Return the score of one assignment."""
        return float(self.score(self.problem.mixture(assignment)[None], self.problem.cost(assignment))[0])

    def keep(self, assignment: torch.Tensor, score: float, where: Found | None = None) -> None:
        """Remember an assignment that all who must play take part in; of those with the same notes, one."""
        where, problem = self.found if where is None else where, self.problem
        key = tuple(sorted(assignment[assignment != problem.rest].tolist()))
        complete = all(assignment[p] != problem.rest for p in problem.must_play)
        if complete and len(key) >= max(problem.min_notes, 1) and score < where.get(key, (float("inf"),))[0]:
            where[key] = (score, assignment.clone())

    def ranked(self) -> list[tuple[float, torch.Tensor]]:
        """Return every assignment that was kept, the best first."""
        return sorted(self.found.values(), key=lambda each: each[0])

    def tried(self, others: torch.Tensor, player: int | None = None) -> dict[int, float]:
        """Return which notes of a player were compared beside the others' before, and their scores; to be added to."""
        kind = None if player is None else self.problem.kinds[player]
        return self._tried.setdefault((tuple(sorted(others.tolist())), kind), {})

    def options(self, player: int, base: torch.Tensor, taken: torch.Tensor, screen: Screen | None) -> torch.Tensor:
        """Return notes for a player beside the mixture `base` without him, none of them taken: all, or `screen`'s."""
        problem, choices = self.problem, self.problem.choices[player]
        choices = choices[~torch.isin(choices, taken)]
        if screen is None or len(choices) <= screen.size:
            return choices
        if screen.rough and problem.averaged:
            best = self.nearest(choices, base, screen.best)
        else:
            best = choices[problem.fit(choices, base).argsort(descending=True)[: screen.best]]
        others = choices[~torch.isin(choices, best)]
        drawn = others[torch.randperm(len(others), generator=self.generator)[: screen.drawn]]
        return torch.cat([best, drawn])

    def nearest(self, choices: torch.Tensor, base: torch.Tensor, count: int) -> torch.Tensor:
        """Return the notes that bring the mixture `base` nearest to the target, as averages of bands can tell."""
        fit = self.problem.fit(choices, base).argsort(descending=True)
        order = self._roughly(0, choices, base).argsort(stable=True)
        places = torch.minimum(fit.argsort(), order.argsort())
        choices = choices[places.argsort(stable=True)[:FINALISTS]]
        return choices[self._roughly(1, choices, base).argsort(stable=True)[:count]]

    def _roughly(self, level: int, choices: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """Return the scores of notes beside a mixture where bands are averaged, [choices]."""
        self.budget.check()
        problem = self.problem
        bands, compare = problem.measure.rough[level]
        mixtures = average(base.view(problem.shape), bands) + problem.averaged[level][choices]
        self.budget.spend(len(choices) / bands, self.best)
        return compare(average(problem.target, bands), mixtures).cpu() * problem.costs[choices].exp()
