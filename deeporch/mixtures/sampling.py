"""Drawing distinct mixtures at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..notes.instruments import pitch_to_midi
from ..notes.library import NoteLibrary
from ..util.checks import check_choice
from .classes import Classes

if TYPE_CHECKING:
    from .mixtures import Mixtures


def _restrict(
    notes: NoteLibrary,
    classes: Classes,
    pool: torch.Tensor | None,
    instruments: Sequence[str] | None,
    pitch_range: tuple[str | int, str | int] | None,
) -> torch.Tensor:
    """Return the note indices that may be drawn, or say which restriction left none."""
    if len(classes.of_note) != len(notes):
        raise ValueError(
            f"These classes describe {len(classes.of_note)} notes, but the library {notes.name!r} has {len(notes)}: "
            "make them from this library, or bind them with classes.on(notes)."
        )
    keep = classes.of_note >= 0
    if pool is not None:
        mask = torch.zeros(len(notes), dtype=torch.bool)
        mask[pool] = True
        keep &= mask
    if instruments is not None:
        for name in instruments:
            check_choice(name, notes.table["instrument"].unique(), "instrument")
        keep &= torch.from_numpy(notes.table["instrument"].isin(list(instruments)).to_numpy(copy=True))
    if pitch_range is not None:
        low, high = (pitch_to_midi(p) if isinstance(p, str) else p for p in pitch_range)
        keep &= torch.from_numpy(notes.table["midi"].between(low, high).to_numpy(dtype=bool, copy=True))
    if not keep.any():
        raise ValueError(f"No note is left to mix: instruments={instruments}, pitch_range={pitch_range}.")
    return torch.nonzero(keep).flatten()


class _Draw:
    """Draws rows of N recordings of distinct classes from a pool."""

    def __init__(self, classes: Classes, pool: torch.Tensor, n: int, per_instrument: int | None) -> None:
        order = torch.argsort(classes.of_note[pool], stable=True)
        self.pool = pool[order]
        present, counts = classes.of_note[self.pool].unique_consecutive(return_counts=True)
        self.counts, self.first = counts, counts.cumsum(0) - counts
        self.n, self.slots = n, None
        if n > len(present):
            raise ValueError(f"A mixture of {n} distinct classes cannot be drawn: the pool has {len(present)} classes.")
        if per_instrument is not None:
            self._make_slots(classes.instrument_of_class[present], per_instrument)

    def _make_slots(self, instrument: torch.Tensor, per_instrument: int) -> None:
        """Give each instrument as many slots as it may play notes; a slot is filled with one of its classes."""
        order = torch.argsort(instrument, stable=True)
        _, sizes = instrument[order].unique_consecutive(return_counts=True)
        slots = sizes.clamp(max=per_instrument)
        if self.n > slots.sum():
            raise ValueError(
                f"A mixture of {self.n} notes cannot be drawn: {len(sizes)} instruments with at most "
                f"{per_instrument} each allow {int(slots.sum())}."
            )
        self.order, self.slots = order, torch.arange(len(sizes)).repeat_interleave(slots)
        self.slot_counts, self.slot_first = sizes[self.slots], (sizes.cumsum(0) - sizes)[self.slots]

    def __call__(self, rows: int, generator: torch.Generator) -> torch.Tensor:
        """Return candidate rows [≤ rows, n] of note indices; rows with a class twice are left out."""
        if self.slots is None:
            chosen = _choose(len(self.counts), self.n, rows, generator)
        else:
            slot = _choose(len(self.slots), self.n, rows, generator)
            pick = _below(self.slot_counts[slot], generator)
            chosen = self.order[self.slot_first[slot] + pick]
            ordered = chosen.sort(1).values
            chosen = chosen[(ordered[:, 1:] != ordered[:, :-1]).all(1)]
        return self.pool[self.first[chosen] + _below(self.counts[chosen], generator)]


def _below(counts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a random integer below each count."""
    draw = torch.rand(counts.shape, generator=generator, dtype=torch.float64)
    return (draw * counts).long()


def _choose(total: int, n: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    """Return int64 [≤ rows, n]: n distinct numbers below `total` in each row, uniformly, in random order."""
    if n * n > total:  # collisions are likely: draw without replacement
        return torch.rand(rows, total, generator=generator).topk(n, dim=1).indices
    draw = torch.randint(total, (rows, n), generator=generator)
    ordered = draw.sort(1).values
    return draw[(ordered[:, 1:] != ordered[:, :-1]).all(1)]


def _set_keys(indices: torch.Tensor, notes: int) -> torch.Tensor:
    """Return int64 [rows]: a key a set of notes, the same in any order (Zobrist hashing)."""
    table = torch.randint(-(2**62), 2**62, (notes,), generator=torch.Generator().manual_seed(20_160))
    return table[indices.long()].sum(1)


def _distinct(
    draw: _Draw, size: int, generator: torch.Generator, exclude: Sequence[Mixtures], notes: int
) -> torch.Tensor:
    """Return `size` rows that are distinct as sets and not among those of `exclude`."""
    taken = np.sort(np.concatenate([np.empty(0, np.int64), *(_set_keys(e.indices, notes).numpy() for e in exclude)]))
    dtype = torch.int16 if notes <= 2**15 else torch.int32
    parts, found, idle = [], 0, 0
    while found < size:
        rows = draw(min(2 * (size - found) + 4096, 65_536), generator)  # enough to find the last few sets as well
        keys, first = np.unique(_set_keys(rows, notes).numpy(), return_index=True)
        place = np.searchsorted(taken, keys)
        new = np.ones(len(keys), bool)
        new[place < len(taken)] = taken[place[place < len(taken)]] != keys[place < len(taken)]
        used = np.sort(first[new])[: size - found]  # the first of each set, as they were drawn
        new &= first <= (used[-1] if len(used) else -1)
        taken = np.insert(taken, place[new], keys[new])
        rows = rows[torch.from_numpy(used)]
        parts.append(rows.to(dtype))
        found += len(rows)
        idle = 0 if len(rows) else idle + 1
        if idle > 20:
            raise ValueError(
                f"Only {found} distinct mixtures of {draw.n} notes could be drawn from {len(draw.pool)} recordings"
                f"{' beside the excluded ones' if exclude else ''}, but {size} were asked for."
            )
    return torch.cat(parts)


def _gains(shape: torch.Size, gain_db: tuple[float, float], generator: torch.Generator) -> torch.Tensor | None:
    low, high = gain_db
    if low == high == 0:
        return None
    decibels = low + (high - low) * torch.rand(shape, generator=generator)
    return (10 ** (decibels / 20)).to(torch.float16)


def chance_recall(n: int, classes: int) -> float:
    """Return the expected top-N recall of a network that guesses: N classes of so many, N / classes."""
    return n / classes if classes else math.nan
