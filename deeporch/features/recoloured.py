"""Variation of notes and mixtures in training: other rooms and microphones, other durations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ..mixtures.mixtures import Mixtures
from .constantq import ConstantQ

RIPPLES = 6  # cosines over log-frequency that make up a random equalizer


@dataclass(frozen=True)
class Recoloured:
    """A constant-Q seen through random changes that leave its notes the same; for ``fit(features=…)``.

    The first four change each note before notes are added, the others the mixture; each is switched off by 0.
    The draw depends only on the mixture set's seed and on which mixtures are asked for.
    """

    features: ConstantQ
    level: float = 0.0  # standard deviation of each note's level, in dB
    equalizer: float = 0.0  # and of each of the slow waves that make up a note's random frequency response, in dB
    # Largest factor by which a note's duration is changed, up or down (1.5: from 2/3 to 3/2 of it), its attack kept: in
    # a library all notes of one instrument may be short, and a network then knows that instrument by it.
    stretch: float = 0.0
    # For half of the notes, another note of the instrument stands in, at most so many semitones away and moved to their
    # pitch: a pitch is then heard in more recordings than there are of it.
    transpose: int = 0
    detune: float = 0.0  # largest shift along frequency, in semitones
    noise: float = 0.0  # highest level of a noise floor, 0 to 1 of the picture's range, drawn uniformly from 0
    room: float = 0.0  # longest reverberation, in s to −60 dB, drawn uniformly from 0, longer for low bins

    def __post_init__(self) -> None:
        for name in ("level", "equalizer", "detune", "noise", "room"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, but is {getattr(self, name)!r}.")
        if self.transpose < 0 or self.transpose != int(self.transpose):
            raise ValueError(f"transpose is a number of semitones, 0 or more, but is {self.transpose!r}.")
        if self.stretch != 0 and not self.stretch >= 1:
            raise ValueError(f"stretch is a factor: it must be 1 or more, or 0 for none, but is {self.stretch!r}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, bands, frames of one mixture's picture."""
        return self.features.shape

    def of(self, mixtures: Mixtures, which: Iterable[int], *, device: str | torch.device = "cpu") -> torch.Tensor:
        """Return the changed features of some mixtures of a set: [batch, 1, bins, frames]."""
        which = torch.as_tensor(list(which) if not isinstance(which, torch.Tensor) else which)
        seed = (mixtures.seed * 1_000_003 + int(which[0]) * 101 + len(which)) % 2**62
        generator = torch.Generator().manual_seed(seed)
        colour = stretch = None
        if self.stretch:
            stretch = self.stretch ** (2 * torch.rand(len(which), mixtures.n, generator=generator) - 1)
        if self.level or self.equalizer:
            colour = self.colours(len(which), mixtures.n, generator).to(device)
        rows = moved = None
        if self.transpose:
            rows, semitones = neighbours(mixtures, which, int(self.transpose), generator)
            moved = semitones * (self.features.bins_per_octave // 12)
        changed = {"colour": colour, "stretch": stretch, "rows": rows, "moved": moved}
        x = self.features.decibels(self.features.mix(mixtures, which, device=device, **changed))
        if self.detune:
            x = shift(x, self.detune * self.features.bins_per_octave / 12, generator)
        if self.room:
            x = reverberate(x, self.room * torch.rand(len(x), generator=generator), self.features)
        if self.noise:
            floor = self.noise * torch.rand(len(x), 1, 1, 1, generator=generator)
            x = torch.maximum(x, (floor + 0.03 * torch.randn(x.shape, generator=generator)).to(x.device))
        return x

    def colours(self, batch: int, n: int, generator: torch.Generator) -> torch.Tensor:
        """Return random gains [batch, n, bins]: waves over log-frequency, the slowest the strongest, and a level."""
        waves = torch.arange(1, RIPPLES + 1)
        basis = torch.cos(math.pi * waves[:, None] * torch.linspace(0, 1, self.features.bins))
        weights = torch.randn(batch, n, RIPPLES, generator=generator) * self.equalizer / waves.sqrt()
        level = self.level * torch.randn(batch, n, 1, generator=generator)
        return 10 ** ((weights @ basis + level) / 20)


def reverberate(x: torch.Tensor, seconds: torch.Tensor, features: ConstantQ) -> torch.Tensor:
    """Return features [batch, 1, bins, frames] in which no bin falls faster than a reverberation of so many seconds."""
    seconds = (seconds[:, None] * torch.linspace(1.2, 0.5, x.shape[2])).clamp(min=1e-3).to(x.device)
    fall = -60 / features.floor_db * features.hop / features.sample_rate / seconds  # a frame
    out = [x[:, 0, :, 0]]
    for frame in x[:, 0].unbind(-1)[1:]:
        out.append(torch.maximum(frame, out[-1] - fall))
    return torch.stack(out, -1).unsqueeze(1)


def neighbours(
    mixtures: Mixtures, which: torch.Tensor, most: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw notes to stand in for half of the notes of some mixtures."""
    midi = torch.from_numpy(mixtures.notes.table["midi"].to_numpy(dtype=np.int64, copy=True))
    instrument = torch.from_numpy(pd.factorize(mixtures.notes.table["instrument"])[0])
    key = instrument * 1000 + midi  # far more than there are pitches
    order = key[mixtures.pool].argsort(stable=True)
    pool, keys = mixtures.pool[order], key[mixtures.pool][order]
    rows = mixtures.indices[which].long()
    up = torch.randint(-most, most + 1, rows.shape, generator=generator)
    up = up * (torch.rand(rows.shape, generator=generator) < 0.5)
    wanted = (key[rows] - up).contiguous()
    first, end = torch.searchsorted(keys, wanted), torch.searchsorted(keys, wanted, right=True)
    found = (end > first) & (up != 0)
    pick = first + (torch.rand(rows.shape, generator=generator) * (end - first)).long()
    return torch.where(found, pool[pick.clamp(max=len(pool) - 1)], rows), torch.where(found, up, 0)


def shift(x: torch.Tensor, most: float, generator: torch.Generator) -> torch.Tensor:
    """Return pictures [batch, 1, bins, frames], each moved along its bins by up to `most`, interpolated linearly."""
    amount = most * (2 * torch.rand(len(x), generator=generator) - 1)
    whole = amount.floor().long()
    bins = x.shape[2]
    place = (torch.arange(bins) - whole[:, None]).to(x.device)
    row = torch.arange(len(x), device=x.device)[:, None]
    upper, lower = x[row, 0, place.clamp(0, bins - 1)], x[row, 0, (place - 1).clamp(0, bins - 1)]
    share = (amount - whole).to(x.device)[:, None, None]
    return torch.lerp(upper, lower, share).unsqueeze(1)
