"""Mixtures of different numbers of notes in one set: for one network that hears any number."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from .library import NoteLibrary
from .mixtures import Classes, Mixtures


class VariedMixtures(Mixtures):
    """A mixture set in which each mixture has its own number of notes, drawn uniformly.

    Every mixture has as many places as the largest; the notes that are too many are silent and not in the target. The
    sum is divided by the number of places, so that small mixtures are softer: use features that ignore the level.

    Parameters
    ----------
    notes, classes, size, seed, **options
        As of `Mixtures`.
    n : tuple of int
        The smallest and the largest number of notes.

    Attributes
    ----------
    present : torch.Tensor
        bool [size, most notes]: which places are sounding.

    Raises
    ------
    ValueError
        If the numbers are not in order, or as `Mixtures` does.
    """

    def __init__(
        self,
        notes: NoteLibrary,
        classes: Classes,
        *,
        n: tuple[int, int] = (1, 10),
        size: int = 1000,
        seed: int = 0,
        **options: object,
    ) -> None:
        low, high = n
        if not 1 <= low <= high:
            raise ValueError(f"n must be (smallest, largest) with 1 ≤ smallest ≤ largest, but is {n}.")
        super().__init__(notes, classes, n=high, size=size, seed=seed, **options)
        generator = torch.Generator().manual_seed(seed + 1)
        counts = torch.randint(low, high + 1, (size, 1), generator=generator)
        self.present = torch.arange(high) < counts
        gains = torch.ones(self.present.shape, dtype=torch.float16) if self.gains is None else self.gains
        self.gains = gains * self.present

    def targets(self, which: Iterable[int] | None = None) -> torch.Tensor:
        """Return multi-hot targets, float32 [batch, classes]; of all mixtures if `which` is None."""
        which = torch.arange(len(self)) if which is None else torch.as_tensor(which)
        classes = self.classes.of_note[self.indices[which].long()]
        return torch.zeros(len(which), len(self.classes)).scatter_(1, classes, self.present[which].float())

    def labels(self, i: int) -> list[str]:
        """Return the class names of one mixture."""
        return super().labels(i)[: int(self.present[i].sum())]
