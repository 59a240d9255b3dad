"""What is searched: a target, and the notes that an orchestra may play; fixed once it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ...notes.instruments import holds
from ...notes.library import NoteLibrary
from ..distances import Distance, average
from ..spectra import Bands, Resolutions, sustained

OF_THE_NOTES = ("rows", "cents_of", "choices", "kinds", "views", "averaged", "unit", "each")  # whatever the target is


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """A target [samples], a library, and the rows of it that each player may be given."""

    sound: torch.Tensor
    notes: NoteLibrary
    given: Sequence[np.ndarray]  # rows of the library, for each player
    measure: Distance
    seconds: float
    cents: np.ndarray | None = None  # by how much each note of the library is retuned
    must_play: frozenset[int] = frozenset()
    note_cost: float | None = None  # instead of the distance's own
    weights: np.ndarray | None = None  # by which the cost of each note of the library is multiplied
    fewest: int = 1
    most: int | None = None
    evidence: torch.Tensor | None = None  # [candidates]: logarithms of the odds that they sound; 0 knows nothing
    weight: float = 0.0  # of the evidence in the cost of a note
    preference: float = 0.0  # of the evidence beside a spectral correlation of 0 to 1, where notes are screened
    device: str | torch.device = "cpu"

    def prepared(self) -> SearchProblem:
        """Return it with the candidates' views computed, which all that are made of it share."""
        _ = self.views
        return self

    def check(self) -> None:
        """Raise a ValueError if fewer players have notes than must play."""
        if self.fewest > self.able:
            raise ValueError(f"min_notes must be at most {self.able}, who have notes to play, but is {self.fewest}.")

    def aimed(self, sound: torch.Tensor) -> SearchProblem:
        """Return the same with another target [samples] of the same duration, and no evidence."""
        return self._with(sound=sound, evidence=None)

    def informed(self, evidence: torch.Tensor, weight: float, preference: float) -> SearchProblem:
        """Return the same with notes that cost less for what is known of them; see `evidence`."""
        return self._with(evidence=evidence, weight=weight, preference=preference)

    def _with(self, **changes: object) -> SearchProblem:
        other = replace(self, **changes)
        other.__dict__.update({name: self.__dict__[name] for name in OF_THE_NOTES if name in self.__dict__})
        return other

    @cached_property
    def rows(self) -> np.ndarray:
        """The candidates: rows of the library."""
        return np.unique(np.concatenate(self.given))

    @property
    def rest(self) -> int:
        """The number that stands for silence."""
        return len(self.rows)

    @cached_property
    def cents_of(self) -> np.ndarray:
        """By how much each note of the library is retuned."""
        return np.zeros(len(self.notes)) if self.cents is None else self.cents

    @cached_property
    def choices(self) -> list[torch.Tensor]:
        """The candidates of each player."""
        return [torch.from_numpy(np.searchsorted(self.rows, rows)) for rows in self.given]

    @cached_property
    def kinds(self) -> list[int]:
        """For each player the first who may have the same notes."""
        kinds = [tuple(each.tolist()) for each in self.choices]
        return [kinds.index(kind) for kind in kinds]

    @cached_property
    def views(self) -> torch.Tensor:
        """What the distance sees of each candidate and, last, of silence: float32 [candidates + 1, view]."""
        energy = self.measure.energy.of_notes(self.notes, self.seconds, self.rows)
        if isinstance(self.measure.energy, Bands | Resolutions):
            if self.cents is not None:
                energy = self.measure.energy.retuned(energy, self.cents[self.rows])
            table = self.notes.table.iloc[self.rows]
            holding = [holds(*names) for names in zip(table["instrument"], table["technique"], strict=True)]
            lengths = np.where(holding, table["seconds"].to_numpy(dtype=float), np.inf)
            energy = sustained(energy, lengths, self.seconds)
        views = self.measure.view(energy).to(self.device).flatten(1)
        return torch.cat([views, views.new_zeros(1, views.shape[1])])

    @cached_property
    def averaged(self) -> list[torch.Tensor]:
        """The candidates' views where bands are averaged, for each of the distance's rough comparisons."""
        return [average(self.views[:-1].view(-1, *self.shape), bands) for bands, _ in self.measure.rough]

    @cached_property
    def unit(self) -> torch.Tensor:
        """The candidates' views compressed and of norm 1, for `fit`."""
        return torch.nn.functional.normalize(self.views.clamp(min=0).sqrt().sqrt(), dim=1)

    @cached_property
    def each(self) -> list[torch.Tensor]:
        """What is compared of each candidate alone, which may be costly."""
        return [self.measure.seen(part.view(-1, *self.shape)) for part in self.views[:-1].split(1024)]

    @cached_property
    def target(self) -> torch.Tensor:
        """The target's view."""
        return self.measure.view(self.measure.energy(self.sound[None], self.seconds))[0].to(self.device)

    @property
    def shape(self) -> torch.Size:
        """Of a view."""
        return self.target.shape

    @cached_property
    def wanted(self) -> torch.Tensor:
        """What candidates are compared with."""
        return self.measure.seen(self.target[None])[0]

    @cached_property
    def limited(self) -> Distance:
        """The distance, which grows faster where colour differs as much as the nearest single note's."""
        return self.measure.limited(self.wanted, self.each)

    @cached_property
    def costs(self) -> torch.Tensor:
        """The logarithm of the factor by which each candidate lengthens the distance, [candidates + 1]."""
        cost = self.measure.note_cost if self.note_cost is None else self.note_cost
        costs = torch.full((self.rest + 1,), math.log1p(cost))
        if self.weights is not None:
            costs[:-1] *= torch.from_numpy(self.weights[self.rows])
        if self.evidence is not None:
            costs[:-1] -= self.weight * self.evidence
        costs[self.rest] = 0.0
        return costs

    @property
    def able(self) -> int:
        """How many players have notes."""
        return sum(len(rows) > 0 for rows in self.given)

    @property
    def min_notes(self) -> int:
        """The fewest players who play."""
        return min(self.fewest, self.able)

    @property
    def max_notes(self) -> int:
        """The most players who play."""
        return min(self.most or self.able, self.able)

    @property
    def silence(self) -> torch.Tensor:
        """The assignment in which all rest."""
        return torch.full((len(self.given),), self.rest)

    def mixture(self, assignment: torch.Tensor) -> torch.Tensor:
        """Return the views of assignments [..., players], summed over players: [..., view]."""
        assignment = assignment.to(self.device)
        if assignment.ndim == 2:
            return torch.nn.functional.embedding_bag(assignment, self.views, mode="sum")
        return self.views[assignment].sum(-2)

    def cost(self, assignments: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the factor by which the notes of assignments [..., players] lengthen the distance."""
        return self.costs[assignments].sum(-1)

    def fit(self, choices: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """Return how well notes match what a mixture lacks of the target: the correlation of matching pursuit."""
        target, base = (x.flatten().clamp(min=0).sqrt().sqrt() for x in (self.target, base))
        scale = (target @ base) / (base @ base).clamp(min=1e-20)
        missing = (target - scale * base).clamp(min=0)
        fit = (self.unit[choices] @ torch.nn.functional.normalize(missing, dim=0)).cpu()
        return fit if self.evidence is None else fit + self.preference * self.evidence[choices]
