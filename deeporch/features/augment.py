"""SpecAugment."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..util.checks import check_range


@dataclass(frozen=True)
class SpecAugment:
    """Cover random bands of frequency and stretches of time with the picture's mean [1]_.

    Each picture of a batch gets masks of its own. A mask's width is drawn uniformly from 0 to the widest, its place
    uniformly from all where it fits; masks may overlap. The paper's time warping, which it found to help least, is
    left out.

    Parameters
    ----------
    frequency : float
        Widest frequency mask, as a share of the bins, 0 to 1 (the paper: 0.34, its policy LD on 80 bins).
    time : float
        Widest time mask, as a share of the frames, 0 to 1 (the paper's bound on the share: 1, or 0.2 for noisy speech).
    frequency_masks, time_masks : int
        How many of each (the paper: 2 and 2).

    Raises
    ------
    ValueError
        If a share or a count is out of range.

    References
    ----------
    .. [1] D. S. Park, W. Chan, Y. Zhang, C.-C. Chiu, B. Zoph, E. D. Cubuk, Q. V. Le: SpecAugment: a simple data
       augmentation method for automatic speech recognition, Interspeech 2019.

    Examples
    --------
    >>> pictures = torch.rand(4, 1, 128, 128)
    >>> SpecAugment()(pictures, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 128, 128])
    """

    frequency: float = 0.1
    time: float = 0.1
    frequency_masks: int = 2
    time_masks: int = 2

    def __post_init__(self) -> None:
        for name in ("frequency", "time"):
            check_range(getattr(self, name), 0, 1, f"{name} (the widest mask, as a share)")
        for name in ("frequency_masks", "time_masks"):
            check_range(getattr(self, name), 0, 100, name)

    def __call__(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return masked copies of features."""
        batch, _, bins, frames = x.shape
        rows = _masks(batch, bins, self.frequency_masks, int(self.frequency * bins), generator)
        columns = _masks(batch, frames, self.time_masks, int(self.time * frames), generator)
        covered = (rows[:, None, :, None] | columns[:, None, None, :]).to(x.device)
        return torch.where(covered, x.mean((1, 2, 3), keepdim=True), x)


def _masks(batch: int, size: int, count: int, widest: int, generator: torch.Generator) -> torch.Tensor:
    """Return bool [batch, size], true where one of `count` masks of 0 to `widest` places lies."""
    draw = torch.rand(2, batch, count, 1, generator=generator)
    width = (draw[0] * (widest + 1)).floor()
    start = (draw[1] * (size - width + 1)).floor()
    place = torch.arange(size)
    return ((place >= start) & (place < start + width)).any(1)
