"""`Recoloured`: training notes as if played in another room, on another instrument, before another microphone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from .constantq import ConstantQ
from .mixtures import Mixtures

RIPPLES = 6  # cosines over log-frequency that make up a random equalizer


@dataclass(frozen=True)
class Recoloured:
    """A constant-Q seen through random changes that leave its notes the same; for ``fit(features=…)``.

    The first two change each note before notes are added, the others the mixture's picture. Each is switched off by 0.
    The draw depends only on the mixture set's seed and on which mixtures are asked for.

    Parameters
    ----------
    features : ConstantQ
        What is changed.
    level : float
        Standard deviation of each note's level, in dB.
    equalizer : float
        Standard deviation of each of the slow waves that make up a note's random frequency response, in dB.
    detune : float
        Largest shift along frequency, in semitones.
    noise : float
        Highest level of a noise floor, 0 to 1 of the picture's range; drawn uniformly from 0.
    room : float
        Longest reverberation, in seconds to −60 dB, drawn uniformly from 0, longer for low bins than for high ones: no
        bin falls faster than the room lets it.

    Examples
    --------
    >>> Recoloured(ConstantQ(), level=6, equalizer=5).shape
    (1, 216, 64)
    """

    features: ConstantQ
    level: float = 0.0
    equalizer: float = 0.0
    detune: float = 0.0
    noise: float = 0.0
    room: float = 0.0

    def __post_init__(self) -> None:
        for name in ("level", "equalizer", "detune", "noise", "room"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, but is {getattr(self, name)!r}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, bands, frames of one mixture's picture."""
        return self.features.shape

    def of(self, mixtures: Mixtures, which: Iterable[int], *, device: str | torch.device = "cpu") -> torch.Tensor:
        """Return the changed features of some mixtures of a set: [batch, 1, bins, frames]."""
        which = torch.as_tensor(list(which) if not isinstance(which, torch.Tensor) else which)
        generator = torch.Generator().manual_seed(
            (mixtures.seed * 1_000_003 + int(which[0]) * 101 + len(which)) % 2**62
        )
        colour = None
        if self.level or self.equalizer:
            colour = self.colours(len(which), mixtures.n, generator).to(device)
        x = self.features.decibels(self.features.mix(mixtures, which, device=device, colour=colour))
        if self.detune:
            x = shift(x, self.detune * self.features.bins_per_octave / 12, generator)
        if self.room:
            x = self.reverberate(x, generator)
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

    def reverberate(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return pictures [batch, 1, bins, frames] in which no bin falls faster than its reverberation."""
        seconds = self.room * torch.rand(len(x), 1, 1, generator=generator)
        seconds = (seconds * torch.linspace(1.2, 0.5, x.shape[2])[:, None]).clamp(min=1e-3)[..., 0].to(x.device)
        fall = -60 / self.features.floor_db * self.features.hop / self.features.sample_rate / seconds  # a frame
        out = [x[:, 0, :, 0]]
        for frame in x[:, 0].unbind(-1)[1:]:
            out.append(torch.maximum(frame, out[-1] - fall))
        return torch.stack(out, -1).unsqueeze(1)


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
