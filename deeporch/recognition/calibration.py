"""Deciding how many notes there are, and how sure one may be: calibration, thresholds, and the scores of unknown N."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.nn import functional

from ..metrics import check_tables, reliability


@dataclass(frozen=True)
class Calibration:
    """From logits to probabilities that mean what they say, and the probability from which a note is reported.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger: On calibration of modern neural networks, ICML 2017.
    """

    temperature: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities, of any shape."""
        return torch.sigmoid(logits.float() / self.temperature + self.offset)

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Return which notes are reported, bool [mixtures, classes]: those above the threshold, or the likeliest."""
        chosen = self.probabilities(logits) >= self.threshold
        return chosen.scatter(1, logits.argmax(1, keepdim=True), True)

    @classmethod
    def from_dict(cls, stated: object) -> Calibration:
        """Return the calibration of a checkpoint's card; None is none."""
        if stated is None:
            return cls()
        fields = stated if isinstance(stated, dict) else {"": None}
        known = set(fields) <= {"temperature", "offset", "threshold"}
        if not known or not all(isinstance(v, float | int) and math.isfinite(v) for v in fields.values()):
            raise ValueError(f"The checkpoint's calibration {stated!r} is damaged, or of another version.")
        return cls(**stated)

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-ready description: of which `from_dict` makes an equal one."""
        return asdict(self)


def calibrate(logits: torch.Tensor, targets: torch.Tensor) -> Calibration:
    """Fit temperature and offset by maximum likelihood, and the threshold by micro F1."""
    logits, targets = _check(logits, targets)
    logits = logits.double()
    slope = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)  # 1 / temperature, offset
    options = {"max_iter": 200, "tolerance_grad": 1e-10, "tolerance_change": 1e-14}
    optimizer = torch.optim.LBFGS([slope], line_search_fn="strong_wolfe", **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(logits * slope[0] + slope[1], targets.double())
        loss.backward()
        return loss

    optimizer.step(closure)
    scale, offset = slope.tolist()
    calibration = Calibration(1 / max(scale, 1e-6), offset)
    return Calibration(calibration.temperature, offset, _best_threshold(calibration.probabilities(logits), targets))


def _best_threshold(probabilities: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the threshold with the highest micro F1."""
    order = probabilities.flatten().argsort(descending=True)
    right = targets.flatten()[order].cumsum(0)
    f1 = 2 * right / (torch.arange(1, len(order) + 1) + targets.sum())
    return float(probabilities.flatten()[order[int(f1.argmax())]])


@dataclass(frozen=True)
class OpenScores:
    """What a network scores when it is not told how many notes there are; all but the counts lie between 0 and 1."""

    micro_f1: float
    macro_f1: float
    mean_average_precision: float
    count_error: float
    count_right: float
    calibration_error: float


def score_open(logits: torch.Tensor, targets: torch.Tensor, calibration: Calibration) -> OpenScores:
    """Score logits against multi-hot targets [mixtures, classes], the numbers of notes unknown."""
    logits, targets = _check(logits, targets)
    chosen = calibration.decide(logits)
    error = (chosen.sum(1) - targets.sum(1)).abs()
    micro, macro = f1_scores(chosen, targets)
    counted = {"count_error": error.float().mean().item(), "count_right": (error == 0).float().mean().item()}
    apart = expected_calibration_error(calibration.probabilities(logits), targets)
    return OpenScores(micro, macro, mean_average_precision(logits, targets), **counted, calibration_error=apart)


def f1_scores(chosen: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Return micro F1, and macro F1 over the classes that occur in the targets; both tables [mixtures, classes]."""
    chosen, targets = chosen.bool(), targets.bool()
    right, reported, played = (chosen & targets).sum(0), chosen.sum(0), targets.sum(0)
    micro = 2 * right.sum() / (reported.sum() + played.sum()).clamp(min=1)
    by_class = 2 * right / (reported + played).clamp(min=1)
    return micro.item(), by_class[played > 0].float().mean().item()


def mean_average_precision(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the mean, over the classes that occur, of the average precision with which each ranks the mixtures."""
    found = []
    for column, truth in zip(scores.T, targets.T.bool(), strict=True):
        if truth.any():
            ordered, order = column.sort(descending=True)
            last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])  # of each run of equals
            right = truth[order].cumsum(0).double()
            precision = right / torch.arange(1, len(order) + 1)
            gained = torch.diff(right[last], prepend=torch.zeros(1, dtype=torch.float64)) / right[-1]
            found.append((gained * precision[last]).sum())
    return torch.stack(found).mean().item()


def expected_calibration_error(
    probabilities: torch.Tensor, targets: torch.Tensor, *, bins: int = 15, least: float = 0.01
) -> float:
    """Return the mean distance between probability and frequency over bins, weighted by their decisions."""
    kept = probabilities >= least
    if not kept.any():
        return 0.0
    table = reliability(probabilities[kept], targets[kept], bins=bins)
    distance = np.abs(table["probability"] - table["share"])
    return float((distance * table["count"]).sum() / table["count"].sum())


def _check(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    check_tables(logits, targets)
    if not 0 < targets.sum() < targets.numel():
        raise ValueError("The targets are all absent or all present: nothing can be calibrated or scored.")
    return logits.float(), targets.float()
