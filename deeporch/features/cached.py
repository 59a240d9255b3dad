"""Features computed once and kept."""

from __future__ import annotations

import torch

from ..mixtures.mixtures import Mixtures
from ..util.progress import progress
from .mel import Mel

SHARE = 0.5  # of a GPU's free memory


class CachedFeatures:
    """The features and targets of a mixture set, computed once and kept, for training over many epochs.

    Of sets up to `limit_gb` (default: 4 GB, on a GPU half of its free memory) features are kept, as `dtype`. On a GPU
    all of them are computed at once: no batch is waited for.
    """

    def __init__(
        self, mixtures: Mixtures, features: Mel, *, device: str | torch.device = "cpu",
        limit_gb: float | None = None, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.mixtures, self.features, self.device = mixtures, features, torch.device(device)
        self.class_indices = mixtures.class_indices().to(self.device)
        gigabytes = len(mixtures) * dtype.itemsize * torch.Size(features.shape).numel() / 1e9
        if limit_gb is None:
            limit_gb = SHARE * torch.cuda.mem_get_info(device)[0] / 1e9 if self.device.type == "cuda" else 4.0
        self.store = None
        if gigabytes <= limit_gb:
            self.store = torch.empty(len(mixtures), *features.shape, dtype=dtype, device=self.device)
            self.filled = torch.zeros(len(mixtures), dtype=torch.bool)
            self.missing = len(mixtures)

    def __len__(self) -> int:
        return len(self.mixtures)

    def batch(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features [batch, channels, bins, frames] and multi-hot targets [batch, classes]."""
        there = which.to(self.device)
        places = self.class_indices[there]
        target = torch.zeros(len(places), self.mixtures.columns + 1, device=self.device)
        target = target.scatter_(1, places, 1.0)[:, :-1]
        if self.store is None:
            return self.features.of(self.mixtures, which.cpu(), device=self.device), target
        if self.missing:
            self._fill(which.cpu())
        return self.store[there], target

    def _fill(self, which: torch.Tensor) -> None:
        missing = which[~self.filled[which]]
        parts = (missing,) if self.device.type == "cpu" else torch.arange(len(self)).split(1024)
        for part in progress(parts, desc="features", disable=len(parts) < 20):
            if len(part):
                made = self.features.of(self.mixtures, part, device=self.device)
                self.store[part.to(self.device)] = made.to(self.store.dtype)
                self.filled[part] = True
        self.missing = len(self.filled) - int(self.filled.sum())
