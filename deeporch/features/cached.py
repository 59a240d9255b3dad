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
        self.targets = None
        if self.device.type != "cpu":  # resident, so that no batch is waited for
            parts = torch.arange(len(mixtures)).split(4096)
            self.targets = torch.cat([mixtures.targets(part).to(self.device, torch.bool) for part in parts])
        gigabytes = len(mixtures) * 4 * torch.Size(features.shape).numel() / 1e9
        self.store = None
        if gigabytes <= limit_gb:
            self.store = torch.empty(len(mixtures), *features.shape, device=self.device)
            self.filled = torch.zeros(len(mixtures), dtype=torch.bool)
            self.missing = len(mixtures)  # when none is, a GPU need not be waited for

    def __len__(self) -> int:
        return len(self.mixtures)

    def batch(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features [batch, channels, bins, frames] and multi-hot targets [batch, classes]."""
        there = which.to(self.device)
        target = self.mixtures.targets(which) if self.targets is None else self.targets[there].float()
        if self.store is None:
            return self.features.of(self.mixtures, which.cpu(), device=self.device), target
        if self.missing:
            self._fill(which.cpu())
        return self.store[there], target

    def _fill(self, which: torch.Tensor) -> None:
        missing = which[~self.filled[which]]
        if len(missing):
            self.store[missing.to(self.device)] = self.features.of(self.mixtures, missing, device=self.device)
            self.filled[missing] = True
            self.missing = len(self.filled) - int(self.filled.sum())
