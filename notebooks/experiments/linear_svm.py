"""What one could do without a network: a linear support vector machine on the features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

from deeporch.features.cached import CachedFeatures
from deeporch.features.mel import Mel
from deeporch.features.registry import get_features
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.util.checks import check_range
from deeporch.util.progress import progress


class LinearSVM:
    """A linear support vector machine for each class against all others, on the flattened, standardised features.

    Trained by stochastic gradient descent on the hinge loss with averaged weights, in chunks: it takes memory for
    `limit_gb` of features, one chunk and the weights, and time in proportion to mixtures x passes x classes.

    Parameters
    ----------
    classes : Classes
        What it chooses from.
    features : str or Mel
        What it sees.
    alpha : float
        Strength of the L2 penalty, above 0.
    passes : int
        How often it sees the training mixtures.
    chunk : int
        Mixtures at a time.
    limit_gb : float
        Features of sets up to this size are kept from pass to pass.
    seed : int
        Of the order of mixtures.

    Raises
    ------
    ValueError
        If `alpha`, `passes` or `chunk` is out of range, or the features are unknown.
    """

    def __init__(
        self,
        classes: Classes,
        *,
        features: str | Mel = "mel128",
        alpha: float = 1e-5,
        passes: int = 10,
        chunk: int = 512,
        limit_gb: float = 4.0,
        seed: int = 0,
    ) -> None:
        check_range(alpha, 1e-12, 1e6, "alpha of the SVM")
        check_range(passes, 1, 10_000, "passes of the SVM")
        check_range(chunk, 1, 100_000, "chunk of the SVM")
        self.classes, self.features = classes, get_features(features)
        self.passes, self.chunk, self.limit_gb, self.seed = passes, chunk, limit_gb, seed
        self.scaler = StandardScaler()
        self.machines = [SGDClassifier(alpha=alpha, average=True, random_state=seed) for _ in range(len(classes))]

    def fit(self, mixtures: Mixtures) -> LinearSVM:
        """Train on a mixture set and return the machine.

        Raises
        ------
        ValueError
            If the mixtures have other classes.
        """
        self._check(mixtures)
        data = CachedFeatures(mixtures, self.features, limit_gb=self.limit_gb)
        for x, _ in self._chunks(data):
            self.scaler.partial_fit(x)
        generator = torch.Generator().manual_seed(self.seed)
        for _ in progress(range(self.passes), desc="linear SVM", unit="pass"):
            for x, target in self._chunks(data, torch.randperm(len(data), generator=generator)):
                x = self._scale(x)
                for machine, right in zip(self.machines, target.T, strict=True):
                    machine.partial_fit(x, right, classes=(0, 1))
        return self

    def logits(self, mixtures: Mixtures) -> torch.Tensor:
        """Return how far each mixture lies on each class's side of its plane, for `metrics.score`.

        Parameters
        ----------
        mixtures : Mixtures
            Of the same classes.

        Returns
        -------
        torch.Tensor
            float32 [mixtures, classes]; above 0 where the class is heard.

        Raises
        ------
        ValueError
            If the mixtures have other classes, or the machine is not trained.
        """
        self._check(mixtures)
        if not hasattr(self.scaler, "mean_"):
            raise ValueError("This SVM is not trained: call fit(mixtures) first.")
        weights = np.concatenate([machine.coef_ for machine in self.machines]).T
        offsets = np.concatenate([machine.intercept_ for machine in self.machines])
        data = CachedFeatures(mixtures, self.features, limit_gb=0)
        parts = [self._scale(x) @ weights + offsets for x, _ in self._chunks(data)]
        return torch.from_numpy(np.concatenate(parts)).float()

    def _check(self, mixtures: Mixtures) -> None:
        if mixtures.classes != self.classes:
            raise ValueError(f"The classes differ: the SVM has {self.classes}, the mixtures have {mixtures.classes}.")

    def _chunks(
        self, data: CachedFeatures, order: torch.Tensor | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield flattened features [chunk, numbers] and targets [chunk, classes] of a whole set."""
        for which in (torch.arange(len(data)) if order is None else order).split(self.chunk):
            x, target = data.batch(which)
            yield x.flatten(1).numpy(), target.numpy().astype(int)

    def _scale(self, x: np.ndarray) -> np.ndarray:
        """Return features of mean 0 and variance 1, then of a length near 1: gradient descent's steps expect that."""
        return self.scaler.transform(x) / np.float32(np.sqrt(x.shape[1]))
