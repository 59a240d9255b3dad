"""`Training`: how to train; `History`: what happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..util.checks import check_choice
from ..util.files import atomic_path
from .losses import LOSSES

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Training:
    """How to train. The defaults are the study's."""

    epochs: int = 200
    batch_size: int = 16
    lr: float = 1e-3  # Adam's
    schedule: str = "constant"  # or "cosine", to zero over all epochs (or the time limit, if that is sooner)
    loss: str = "softmax"  # against multi-hot / N (the study); "bce" (the follow-up), "focal", "asymmetric", or
    # "auxiliary": that of the network's auxiliary heads alone
    l1: float = 0.0  # adds l1 x sum |w| to the loss, over weights, not biases or normalization parameters
    l2: float = 0.0  # adds l2 / 2 x sum w² to the loss: what Adam's weight_decay does
    decay: float = 0.0  # takes lr x decay of each weight away in every step: what AdamW's weight_decay does
    beta2: float = 0.999  # Adam's: how slowly its mean of squared gradients moves
    clip: float | None = None  # the largest norm of a gradient; longer ones are shortened
    warm_up: int = 0  # steps in which the learning rate rises from 0
    mean: float = 0.0  # end with the running mean of the weights, of which each step keeps so much: e.g. 0.998
    compile: bool = False  # fuse the network's layers by torch.compile: a minute at first, then faster on a GPU
    amp: bool = True  # bfloat16 autocast: on CUDA, and networks of conv stages on a CPU with AVX512-BF16
    validate_every: int = 1  # epochs
    save_every: float = 0.0  # seconds at least between two states in the folder; the last epoch's is always kept
    patience: int | None = None  # stop after so many validations without a better loss
    restore_best: bool = False  # end with the weights of the best validation, not with the last
    time_limit: float | None = None  # seconds of training after which the epoch at hand is the last
    seed: int = 0  # of the order of mixtures, of dropout and of augmentation
    device: str = "auto"  # "auto", "cpu", "cuda", …
    cache_gb: float | None = None  # features of sets up to this size are kept; default: 4, or half of a GPU's memory

    def __post_init__(self) -> None:
        check_choice(self.loss, LOSSES, "loss")
        check_choice(self.schedule, SCHEDULES, "learning-rate schedule")
        for name in ("epochs", "batch_size", "validate_every"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)!r}.")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, but is {self.lr!r}.")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience counts validations: it must be at least 1, but is {self.patience!r}.")
        for one, other in (("restore_best", "mean"), ("l2", "decay")):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"Give {one} or {other}, not both: a training has one of them.")
        if not (0 <= self.mean < 1 and 0 <= self.beta2 < 1 and (self.clip is None or self.clip > 0)):
            given = f"mean={self.mean}, beta2={self.beta2}, clip={self.clip}"
            raise ValueError(f"mean and beta2 must lie in [0, 1) and clip above 0, but are {given}.")
        for name in ("l1", "l2", "decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is a penalty and must be 0 or more, but is {getattr(self, name)!r}.")


@dataclass
class History:
    """What happened in training: a row an epoch, and how long it took.

    `table` has epoch, train_loss, train_recall, valid_loss, valid_recall, valid_exact (NaN where not validated),
    seconds (training so far), mixtures_per_second, share (of the mixtures: 1, less if the time limit ended the epoch).
    """

    table: pd.DataFrame
    device: str
    stopped: str = ""  # why it ended before the last epoch, if it did

    @property
    def seconds(self) -> float:
        """Training time in seconds, validation included."""
        return float(self.table["seconds"].iloc[-1]) if len(self.table) else 0.0

    @property
    def epochs(self) -> float:
        """Epochs that were trained; of one that the time limit ended, the share that was."""
        epochs = self.table["share"].fillna(1).sum() if "share" in self.table else len(self.table)
        return int(epochs) if epochs == int(epochs) else round(float(epochs), 2)

    def to_csv(self, path: str | Path) -> None:
        """Write the table atomically."""
        with atomic_path(path) as temporary:
            self.table.to_csv(temporary, index=False)
