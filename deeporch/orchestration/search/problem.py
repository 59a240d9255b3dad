"""What a search works on: assignments of notes to players, compared with a target by the thousand, within a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...notes.library import NoteLibrary
from ..distances import Distance, average
from ..spectra import Bands, Resolutions

CHUNK = 320_000  # numbers of the views that are compared at a time: so many stay in a processor's cache
ON_GPU = 100  # times as many there
FINALISTS = 24  # notes that a rough comparison leaves for a finer one

Progress = Callable[[int, float, float], object]
Found = dict[tuple[int, ...], tuple[float, torch.Tensor]]  # notes to score and assignment


class OutOfBudget(Exception):
    """The budget is spent or the search was stopped; what was found is in the task."""


class Budget:
    """How much a search may compare, for how long, and who watches it.

    Parameters
    ----------
    evaluations : int, optional
        Most comparisons of a candidate with the target.
    seconds : float, optional
        Longest time.
    stop : callable, optional
        Asked between tensor operations; True stops the search.
    progress : callable, optional
        Called with evaluations, the best distance so far, and the share of the budget that is spent (0 to 1).
    """

    def __init__(
        self,
        evaluations: int | None = None,
        seconds: float | None = None,
        *,
        stop: Callable[[], bool] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.limit, self.seconds, self.stop, self.progress = evaluations, seconds, stop, progress
        self.spent, self.began = 0, time.perf_counter()
        self._part = 0.0  # of the next evaluation
        self.share = 1.0  # of the budget that may be spent for now

    @property
    def fraction(self) -> float:
        """The share that is spent, 0 to 1."""
        shares = [self.spent / self.limit] if self.limit else []
        shares += [(time.perf_counter() - self.began) / self.seconds] if self.seconds else []
        return min(1.0, max(shares, default=0.0))

    def spend(self, evaluations: float, best: float) -> None:
        """Count evaluations that were made; a comparison of a fraction of the numbers is that fraction of one."""
        self._part += evaluations
        self.spent, self._part = self.spent + int(self._part), self._part % 1
        if self.progress is not None:
            self.progress(self.spent, best, self.fraction)

    def check(self) -> None:
        """Raise OutOfBudget if nothing is left; but the first evaluations are always made."""
        if self.spent and (self.fraction >= self.share or (self.stop is not None and self.stop())):
            raise OutOfBudget


@dataclass(frozen=True)
class Screen:
    """Which few of a player's notes are compared with the target, by what can be told of them at less cost.

    Parameters
    ----------
    best : int
        So many that best fit what a mixture lacks, which costs no evaluation; see `Task.fit`.
    drawn : int
        So many of the others, at random, since no screen knows everything.
    rough : bool
        The best are instead those that bring the mixture nearest where bands are averaged; see `Task.nearest`. Under
        distances that have no such averages fit decides.
    """

    best: int
    drawn: int = 0
    rough: bool = False

    @property
    def size(self) -> int:
        """How many notes it leaves."""
        return self.best + self.drawn


class Task:
    """A target, an orchestra's candidates, and every good assignment that was found.

    An *assignment* is an int64 tensor [players] of numbers of candidates; `rest` is silence.

    Parameters
    ----------
    target : torch.Tensor
        [samples], at the library's sample rate.
    notes : NoteLibrary
        The library.
    choices : sequence of arrays
        The rows of the library that each player may be given.
    measure : Distance
        What is minimised, with its cost of each note.
    seconds : float
        The target's duration.
    cents : numpy.ndarray, optional
        By how much each note of the library is retuned; searched so in logarithmic bands, elsewhere as recorded.
    must_play : sequence of int
        Players that may not rest.
    note_cost : float, optional
        Instead of the distance's own.
    min_notes, max_notes : int
        How many players play.
    budget : Budget, optional
        Default: none.
    seed : int
        Of everything that is drawn.
    device : str or torch.device
        Where energies are kept, added and compared. Assignments and scores are on the processor.
    """

    def __init__(
        self,
        target: torch.Tensor,
        notes: NoteLibrary,
        choices: Sequence[np.ndarray],
        measure: Distance,
        *,
        seconds: float,
        cents: np.ndarray | None = None,
        must_play: Sequence[int] = (),
        note_cost: float | None = None,
        min_notes: int = 1,
        max_notes: int | None = None,
        budget: Budget | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.measure, self.notes = measure, notes
        self.rows = np.unique(np.concatenate(choices))
        energy = measure.energy.of_notes(notes, seconds, self.rows)
        self.cents = np.zeros(len(notes)) if cents is None else cents
        if cents is not None and isinstance(measure.energy, Bands | Resolutions):
            energy = measure.energy.retuned(energy, cents[self.rows])
        views, self.device = measure.view(energy).to(device), torch.device(device)
        self.shape = views.shape[1:]
        self.views = torch.cat([views.flatten(1), views.new_zeros(1, views[0].numel())])
        self.rest = len(self.rows)
        self.choices = [torch.from_numpy(np.searchsorted(self.rows, rows)) for rows in choices]
        kinds = [tuple(each.tolist()) for each in self.choices]
        self.kinds = [kinds.index(kind) for kind in kinds]  # the first player who may have the same notes
        self.seconds = seconds
        self.must_play = set(must_play)
        self.note_cost = measure.note_cost if note_cost is None else note_cost
        able = sum(len(rows) > 0 for rows in choices)
        self.min_notes, self.max_notes = min(min_notes, able), min(max_notes or able, able)
        self.budget = budget or Budget()
        self.generator = torch.Generator().manual_seed(seed)
        self._averaged = [average(views, bands) for bands, _ in measure.rough]
        self._fit = torch.nn.functional.normalize(self.views.clamp(min=0).sqrt().sqrt(), dim=1)
        self._each: list[torch.Tensor] | None = None  # what the distance sees of each candidate alone
        self.aim(target)

    def aim(self, target: torch.Tensor) -> None:
        """Take another target [samples] of the same duration; what was found and what a network heard is forgotten."""
        self.sound = target
        view = self.measure.view(self.measure.energy(target[None], self.seconds))
        self.target, self.wanted = view[0].to(self.device), self.measure.seen(view)[0].to(self.device)
        self.prior: torch.Tensor | None = None  # [candidates], added to `fit`
        self.costs = torch.full((self.rest + 1,), math.log1p(self.note_cost))  # of each candidate; see `cost`
        self.costs[self.rest] = 0.0
        self.found: Found = {}
        self.heard: Found = {}  # with the distance of what they sound like; see `deeporch.hearing`
        self._tried: dict[tuple, dict[int, float]] = {}
        self.best = float("inf")

    @property
    def _chunk(self) -> int:
        """How many candidates are compared at a time."""
        return max(1, CHUNK * (1 if self.device.type == "cpu" else ON_GPU) // self.views.shape[1])

    @property
    def silence(self) -> torch.Tensor:
        """The assignment in which all rest."""
        return torch.full((len(self.choices),), self.rest)

    def mixture(self, assignment: torch.Tensor) -> torch.Tensor:
        """Return the views of assignments [..., players], summed over players: [..., view]."""
        assignment = assignment.to(self.device)
        if assignment.ndim == 2:
            return torch.nn.functional.embedding_bag(assignment, self.views, mode="sum")
        return self.views[assignment].sum(-2)

    def cost(self, assignments: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the factor by which the notes of assignments [..., players] lengthen the distance."""
        return self.costs[assignments].sum(-1)

    def listen(self, evidence: torch.Tensor, weight: float, preference: float) -> None:
        """Make notes cheaper that someone hears, and dearer that he does not.

        Parameters
        ----------
        evidence : torch.Tensor
            [candidates]: logarithms of the odds that they sound; 0 knows nothing.
        weight : float
            Of the evidence in the cost of a note.
        preference : float
            Of the evidence beside a spectral correlation of 0 to 1, where notes are screened.
        """
        self.costs[:-1] -= weight * evidence
        self.prior = preference * evidence
        self._tried = {}  # at other prices

    def score(self, mixtures: torch.Tensor, costs: torch.Tensor | float) -> torch.Tensor:
        """Return the distances of mixtures [candidates, view] times e to the power of their costs [candidates].

        Each is one evaluation.
        """
        self.budget.check()
        parts = (self.measure.seen(part.view(-1, *self.shape)) for part in mixtures.split(self._chunk))
        return self._count([self.measure.compare(self.wanted, part) for part in parts], costs)

    def alone(self) -> torch.Tensor:
        """Return the scores of every candidate by itself, as `score` does."""
        self.budget.check()
        if self._each is None:
            views = self.views[:-1].view(-1, *self.shape).split(self._chunk)
            self._each = [self.measure.seen(part) for part in views]
        return self._count([self.measure.compare(self.wanted, part) for part in self._each], self.costs[:-1])

    def _count(self, parts: list[torch.Tensor], costs: torch.Tensor | float) -> torch.Tensor:
        """Join distances, multiply them by their costs, and count them."""
        scores = torch.cat(parts).cpu() * torch.as_tensor(costs).exp()
        self.best = min(self.best, float(scores.min()))
        self.budget.spend(len(scores), self.best)
        return scores

    def keep(self, assignment: torch.Tensor, score: float, where: Found | None = None) -> None:
        """Remember an assignment that all who must play take part in; of those with the same notes, one."""
        where = self.found if where is None else where
        key = tuple(sorted(assignment[assignment != self.rest].tolist()))
        complete = all(assignment[p] != self.rest for p in self.must_play)
        if complete and len(key) >= max(self.min_notes, 1) and score < where.get(key, (float("inf"),))[0]:
            where[key] = (score, assignment.clone())

    def ranked(self) -> list[tuple[float, torch.Tensor]]:
        """Return every assignment that was kept, the best first."""
        return sorted(self.found.values(), key=lambda each: each[0])

    def tried(self, others: torch.Tensor, player: int | None = None) -> dict[int, float]:
        """Return which notes of a player were compared beside the others' before, and their scores; to be added to.

        Without a player, `rest` stands for the others by themselves.
        """
        kind = None if player is None else self.kinds[player]
        return self._tried.setdefault((tuple(sorted(others.tolist())), kind), {})

    def options(self, player: int, base: torch.Tensor, taken: torch.Tensor, screen: Screen | None) -> torch.Tensor:
        """Return notes for a player beside the mixture `base` without him, none of them taken: all, or `screen`'s."""
        choices = self.choices[player]
        choices = choices[~torch.isin(choices, taken)]
        if screen is None or len(choices) <= screen.size:
            return choices
        if screen.rough and self._averaged:
            best = self.nearest(choices, base, screen.best)
        else:
            best = choices[self.fit(choices, base).argsort(descending=True)[: screen.best]]
        others = choices[~torch.isin(choices, best)]
        drawn = others[torch.randperm(len(others), generator=self.generator)[: screen.drawn]]
        return torch.cat([best, drawn])

    def nearest(self, choices: torch.Tensor, base: torch.Tensor, count: int) -> torch.Tensor:
        """Return the notes that bring the mixture `base` nearest to the target, as far as averages of bands can tell.

        A race: all are compared where many bands are averaged; those which are best there, or fit best, where fewer
        are. A comparison of averages over k bands counts as the k-th part of an evaluation.
        """
        fit = self.fit(choices, base).argsort(descending=True)
        order = self._roughly(0, choices, base).argsort(stable=True)
        places = torch.minimum(fit.argsort(), order.argsort())
        choices = choices[places.argsort(stable=True)[:FINALISTS]]
        return choices[self._roughly(1, choices, base).argsort(stable=True)[:count]]

    def _roughly(self, level: int, choices: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """Return the scores of notes beside a mixture where bands are averaged, [choices]."""
        self.budget.check()
        bands, compare = self.measure.rough[level]
        mixtures = average(base.view(self.shape), bands) + self._averaged[level][choices]
        self.budget.spend(len(choices) / bands, self.best)
        return compare(average(self.target, bands), mixtures).cpu() * self.costs[choices].exp()

    def fit(self, choices: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """Return how well notes match what a mixture lacks of the target: the correlation of matching pursuit."""
        target, base = (x.flatten().clamp(min=0).sqrt().sqrt() for x in (self.target, base))
        scale = (target @ base) / (base @ base).clamp(min=1e-20)
        missing = (target - scale * base).clamp(min=0)
        fit = (self._fit[choices] @ torch.nn.functional.normalize(missing, dim=0)).cpu()
        return fit if self.prior is None else fit + self.prior[choices]
