"""The study's rows at the study's size, the most valuable first, in a given time.

``python notebooks/experiments/study_size.py --minutes 9 --out figures`` on a machine with a GPU. Each training is shown
8 million mixtures, as many as the study's 200 epochs of 40,000: either these 40,000 over and over (*fixed*), or a
million mixtures of the same recordings (*many*). Rows that the CSV already has are not trained again.
Where the time ends a training, its learning rate has fallen to zero by then, and the row counts as trained, with the
epochs that it got.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import deeporch as do
from deeporch.features.augment import SpecAugment
from deeporch.results import load_results

EXPERIMENT = "study_size"
SHOWN = 8_000_000  # mixtures that a training sees: the study's 200 epochs x 40,000
FIXED, MANY, REGULARIZED = 40_000, 1_000_000, 250_000
LSTM = "cnn_lstm_cnn"
NAMES = {"cnn": "CNN", LSTM: "CNN+LSTM+CNN", "resnet": "ResNet"}


@dataclass(frozen=True)
class Row:
    """One training."""

    model: str  # "cnn", "cnn_lstm_cnn", "resnet"
    n: int  # notes in a mixture
    mixtures: int = MANY  # that it is trained on, over and over
    by: str = "recording"  # the classes; "recording": one class per file
    share: float = 1.0  # of SHOWN that it sees
    name: str = ""  # what else tells it from others
    sizes: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """Its name in the table, beside N."""
        by = "" if self.by == "recording" else f", one class per {self.by}"
        return f"{NAMES[self.model]}, {self.mixtures:,} mixtures{by}{self.name and ', ' + self.name}"


def _regularized(name: str, mixtures: int = REGULARIZED, **options: Any) -> Row:
    sizes = {"dropout": options.pop("dropout", 0.5)}
    return Row("cnn", 5, mixtures, "note", 0.5, name, sizes, options)


ROWS = (
    Row("cnn", 2, FIXED),
    Row(LSTM, 2),
    Row("cnn", 2),
    Row(LSTM, 5),
    Row("cnn", 5),
    Row(LSTM, 10),
    Row(LSTM, 3),
    Row("cnn", 10),
    Row("cnn", 3),
    Row(LSTM, 2, by="note", share=0.5),
    Row(LSTM, 5, by="note", share=0.5),
    Row(LSTM, 2, FIXED),
    Row(LSTM, 10, by="note", share=0.5),
    Row(LSTM, 3, by="note", share=0.5),
    Row(LSTM, 2, name="as published", sizes={"axis": "as_published"}),
    _regularized("dropout"),
    _regularized("L2 5e-3", l2=5e-3),
    _regularized("L1 1e-2", l1=1e-2),
    _regularized("L2 1e-6", l2=1e-6),
    _regularized("nothing", dropout=0.0),
    _regularized("SpecAugment", augment=SpecAugment()),
    _regularized("fresh", MANY),
    Row("resnet", 2, share=0.25),
)


def train(
    row: Row, notes: do.NoteLibrary, results: do.Results, *, seed: int, shown: int, tests: int = 5000, **options: Any
) -> float:
    """Train and score one row; return its recall on new mixtures of the recordings it was trained on."""
    sets = do.study_sets(notes, row.n, by=row.by, mixtures=row.mixtures, tests=tests, seed=seed)
    options |= {"epochs": max(1, round(shown * row.share / row.mixtures)), "seeds": [seed], **row.options}
    network = {row.setting: (row.model, row.sizes)}
    first = len(results.parts)
    outcome = do.compare_models(results, network, sets, valid="mixture", **options)
    for part in results.parts[first:]:  # the curve: over the mixtures seen, not over epochs
        curve = part["quantity"] == "curve_valid_recall"
        part.loc[curve, "item"] = (part["item"][curve].astype(int) * part["train_mixtures"][curve]).astype(str)
        part.loc[curve, "quantity"] = "recall_after"
    return outcome[row.setting].scores["mixture"].top_n_recall


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as many rows as the time allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--library", default="default")
    parser.add_argument("--root")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument("--rows", default="", help="numbers of the rows, e.g. '0 2 4'; default: all")
    parser.add_argument("--shown", type=int, default=SHOWN, help="mixtures that a training sees")
    parser.add_argument("--most", type=int, default=MANY, help="mixtures a set at most, to try the command out")
    parser.add_argument("--features", default="logmel128", help="logmel64: three times as fast")
    parser.add_argument("--tests", type=int, default=5000, help="mixtures of each test")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=5e-4, help="2e-3 is too fast in batches of 256: it was tried")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cache-gb", type=float, help="features that are kept; default: see `Training`")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    notes = do.load_library(options.library, root=options.root)
    device = do.describe_device(do.pick_device(options.device))
    results = do.Results(EXPERIMENT, data=notes, profile=os.environ.get("PROFILE", "gpu"), device=device)
    done: set[tuple[str, int]] = set()
    if (options.out / f"{EXPERIMENT}.csv").is_file():
        before = load_results(EXPERIMENT, options.out)
        done = set(before[before["seed"] == options.seed][["setting", "n"]].itertuples(index=False, name=None))
        results.parts.append(before)
    for number in map(int, options.rows.split() or range(len(ROWS))):
        row = ROWS[number]
        row = Row(**{**row.__dict__, "mixtures": min(row.mixtures, options.most)})
        left = 60 * options.minutes - (time.perf_counter() - began)
        if (row.setting, row.n) in done:
            continue
        if left < 30:
            break
        print(f"{time.perf_counter() - began:6.1f} s  {row.n} notes, {row.setting} …", flush=True)
        recall = train(
            row, notes, results, seed=options.seed, shown=options.shown, tests=options.tests, batch_size=options.batch,
            lr=options.lr, schedule="cosine", time_limit=left - 12, device=options.device, compile=options.compile,
            cache_gb=options.cache_gb, features=options.features,
        )  # fmt: skip
        table = results.parts[-1]
        seconds, epochs = table["seconds"].iloc[0], table["epochs"].iloc[0]
        print(f"{time.perf_counter() - began:6.1f} s  {recall:.1%} after {epochs} epochs, {seconds} s", flush=True)
        results.save(options.out)
    print(pd.DataFrame(_summary(results.table)).to_string(), flush=True)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["quantity"] == "top_n_recall"]
    return rows[["setting", "split", "epochs", "seconds", "value"]]


if __name__ == "__main__":
    main()
