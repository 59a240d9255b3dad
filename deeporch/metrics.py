"""Every number that is reported, in one place: from logits and multi-hot targets to the study's tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy
import torch

if TYPE_CHECKING:
    from .mixtures.classes import Classes


def check_tables(logits: torch.Tensor, targets: torch.Tensor) -> None:
    """Raise a ValueError unless outputs and targets are equal, non-empty tables [mixtures, classes]."""
    if logits.shape != targets.shape or logits.ndim != 2 or not len(logits):
        shapes = f"Outputs {list(logits.shape)} and targets {list(targets.shape)}"
        raise ValueError(f"{shapes} must be two equal, non-empty tables.")


def top_n(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the prediction: as many classes with the highest outputs as each mixture has notes."""
    check_tables(logits, targets)
    counts = targets.sum(1)
    n = int(counts[0])
    if n < 1 or not (counts == n).all():
        raise ValueError("top-N needs mixtures with the same number of notes, at least one: score each N on its own.")
    chosen = logits.topk(n, dim=1).indices
    return torch.zeros_like(targets, dtype=torch.bool).scatter_(1, chosen, True)


def hits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how many of its N notes each mixture's top-N prediction has right: int64 [mixtures]."""
    return (top_n(logits, targets) & targets.bool()).sum(1)


def count_right(logits: torch.Tensor, targets: torch.Tensor, most: int | None = None) -> torch.Tensor:
    """Return how many notes are right in all, as `hits`, where mixtures may have different numbers, `most` at most."""
    counts = targets.sum(1, keepdim=True)
    best = logits.topk(most or int(counts.max()), dim=1).indices
    return (targets.gather(1, best) * (torch.arange(best.shape[1], device=best.device) < counts)).sum()


def top_n_recall(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the share of all notes that are among the top N (the study's total accuracy), 0 to 1."""
    return hits(logits, targets).sum().item() / targets.sum().item()


def k_of_n(logits: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Return the share of mixtures with exactly k of N notes right, for k = 0 … N (the study's k/N accuracy)."""
    n = int(targets[0].sum())
    counts = torch.bincount(hits(logits, targets), minlength=n + 1)
    return (counts / len(targets)).tolist()


def per_instrument(logits: torch.Tensor, targets: torch.Tensor, classes: Classes) -> pd.DataFrame:
    """Return right, occurring and accuracy of each instrument, summed over its classes (the study's table)."""
    right = (top_n(logits, targets) & targets.bool()).sum(0)
    occurring = targets.bool().sum(0)
    counts = {"right": right.tolist(), "occurring": occurring.tolist()}
    table = pd.DataFrame({"instrument": classes.table["instrument"], **counts})
    table = table.groupby("instrument", sort=False).sum()
    table["accuracy"] = table["right"] / table["occurring"]  # NaN where none occurs
    return table


def study_form(table: pd.DataFrame) -> str:
    """Return a per-instrument table in the study's form, a line each: ``Va: 786/815 = 96.442 %``."""
    return "\n".join(
        f"{name}: {row.right:.0f}/{row.occurring:.0f} = {row.accuracy:.3%}".replace("%", " %")
        for name, row in table.iterrows()
    )


def k_of_n_form(shares: list[float]) -> str:
    """Return a k/N accuracy list in the study's form, a line each for k = 1 … N: ``1/2: 15.350 %``."""
    n = len(shares) - 1
    return "\n".join(f"{k}/{n}: {100 * shares[k]:.3f} %" for k in range(1, n + 1))


def mistakes(logits: torch.Tensor, targets: torch.Tensor, classes: Classes) -> pd.DataFrame:
    """Return what was predicted instead of each missed note.

    A mixture's top-N prediction has as many wrong classes as it misses notes. They are paired so that pitch classes
    agree best, then instruments, then octaves (an optimal assignment): an octave error is paired as one.

    Returns
    -------
    pandas.DataFrame
        A row a missed note: mixture, true, predicted (class indices), true_instrument, predicted_instrument,
        interval (semitones from the true to the predicted pitch; 0 where classes are instruments).
    """
    predicted, wanted = top_n(logits, targets), targets.bool()
    missed, wrong = wanted & ~predicted, predicted & ~wanted
    midi = classes.table["midi"].to_numpy()
    instrument = classes.table["instrument"].to_numpy()
    rows = []
    for mixture in torch.nonzero(missed.any(1)).flatten().tolist():
        true, guessed = (torch.nonzero(m[mixture]).flatten().numpy() for m in (missed, wrong))
        interval = midi[guessed][None, :] - midi[true][:, None]
        fold = np.abs((interval + 6) % 12 - 6)
        cost = 2.0 * fold + 0.1 * np.abs(interval) / 12 + (instrument[guessed][None, :] != instrument[true][:, None])
        pairs = zip(*scipy.optimize.linear_sum_assignment(cost), strict=True)
        rows += [(mixture, true[i], guessed[j]) for i, j in pairs]
    table = pd.DataFrame(rows, columns=["mixture", "true", "predicted"], dtype=int)
    for column in ("true", "predicted"):
        table[f"{column}_instrument"] = instrument[table[column]]
    table["interval"] = midi[table["predicted"]] - midi[table["true"]]
    return table


def confusion(table: pd.DataFrame, instruments: list[str]) -> pd.DataFrame:
    """Count `mistakes` by instrument: rows are what played, columns what was predicted instead."""
    counts = pd.crosstab(table["true_instrument"], table["predicted_instrument"])
    return counts.reindex(index=instruments, columns=instruments, fill_value=0)


KINDS_OF_ERROR = (
    "right pitch, other instrument", "octave, same instrument", "octave, other instrument",
    "semitone, same instrument", "other pitch, same instrument", "other pitch, other instrument",
)  # fmt: skip


def kinds_of_error(table: pd.DataFrame) -> dict[str, float]:
    """Return the share of each kind among all `mistakes`, 0 to 1; empty if there are none."""
    if table.empty:
        return dict.fromkeys(KINDS_OF_ERROR, 0.0)
    same = table["true_instrument"] == table["predicted_instrument"]
    interval = table["interval"].abs()
    octave, unison = (interval % 12 == 0) & (interval > 0), interval == 0
    kinds = [~same & unison, same & octave, ~same & octave, same & (interval == 1)]
    kinds += [same & ~octave & (interval > 1) | same & unison, ~same & ~octave & ~unison]
    return {name: float(kind.mean()) for name, kind in zip(KINDS_OF_ERROR, kinds, strict=True)}


@dataclass(frozen=True)
class Scores:
    """What a network scored on a mixture set."""

    n: int  # notes a mixture
    size: int  # mixtures
    loss: float  # softmax cross-entropy against multi-hot / N, in nats, averaged over mixtures
    top_n_recall: float  # 0 to 1
    exact_match: float  # share of mixtures with all N notes right (N/N accuracy), 0 to 1
    k_of_n: list[float]  # shares of mixtures with exactly k right, k = 0 … N
    per_instrument: pd.DataFrame = field(repr=False)  # right, occurring, accuracy
    seconds: float  # wall time of the evaluation

    @property
    def macro_recall(self) -> float:
        """Mean accuracy of the instruments that occur, 0 to 1."""
        return float(self.per_instrument["accuracy"].mean())


def score(logits: torch.Tensor, targets: torch.Tensor, classes: Classes, *, seconds: float = 0.0) -> Scores:
    """Compute all `Scores` of a mixture set from its logits and multi-hot targets [mixtures, classes]."""
    loss = torch.nn.functional.cross_entropy(logits.float(), targets / targets.sum(1, keepdim=True))
    shares = k_of_n(logits, targets)
    n = len(shares) - 1
    recall, by_instrument = top_n_recall(logits, targets), per_instrument(logits, targets, classes)
    return Scores(n, len(targets), loss.item(), recall, shares[-1], shares, by_instrument, seconds)


def reliability(probabilities: torch.Tensor, targets: torch.Tensor, *, bins: int = 15) -> dict[str, np.ndarray]:
    """Return the reliability diagram of the decisions in equal bins of probability."""
    p, t = probabilities.flatten().double(), targets.flatten().double()
    place = (p * bins).long().clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    total, right = (torch.bincount(place, weights=w, minlength=bins) for w in (p, t))
    kept = count > 0
    return {
        "probability": (total[kept] / count[kept]).numpy(),
        "share": (right[kept] / count[kept]).numpy(),
        "count": count[kept].numpy(),
    }
