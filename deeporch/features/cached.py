"""Features computed once and kept."""

from __future__ import annotations

import torch

from ..mixtures.mixtures import Mixtures
from .mel import Mel


class CachedFeatures:
    """The features and targets of a mixture set, computed once and kept, for training over many epochs."""

    def __init__(
        self, mixtures: Mixtures, features: Mel, *, device: str | torch.device = "cpu", limit_gb: float = 4.0
    ) -> None:
        self.mixtures, self.features, self.device = mixtures, features, torch.device(device)
        gigabytes = len(mixtures) * 4 * torch.Size(features.shape).numel() / 1e9
        self.store = None
        if gigabytes <= limit_gb:
            self.store = torch.empty(len(mixtures), *features.shape, device=self.device)
            self.filled = torch.zeros(len(mixtures), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.mixtures)

    def batch(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features [batch, channels, bins, frames] and multi-hot targets [batch, classes]."""
        target = self.mixtures.targets(which).to(self.device)
        if self.store is None:
            return self.features.of(self.mixtures, which, device=self.device), target
        missing = which[~self.filled[which]]
        if len(missing):
            self.store[missing.to(self.device)] = self.features.of(self.mixtures, missing, device=self.device)
            self.filled[missing] = True
        return self.store[which.to(self.device)], target
