"""Measure how fast networks train, and what takes the time: ``make bench``.

A step of training as `fit` does it, one class per file and two notes: *before*, in float32 with torch's own layers and
memory that is given back after each use, and *now*. Both take turns, and what counts is the processor's time, so that
other programs matter little. ``--save`` writes figures/bench_training.csv.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from deeporch.features.cached import CachedFeatures
from deeporch.features.registry import get_features
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import build
from deeporch.notes.library import NoteLibrary, load_library
from deeporch.results import enter_origin
from deeporch.training.losses import compute_loss
from deeporch.util.environment import describe_device, environment, pick_device
from deeporch.util.processor import keep_memory

FIGURES = Path(__file__).resolve().parents[2] / "figures"
FEATURES = ("logmel64", "logmel128")
MIXTURES = 256


def give_memory_back() -> None:
    """Let glibc do as it does by itself."""
    ctypes.CDLL(None).mallopt(-3, 32 << 20)


class Step:
    """Trains a network of one row, and adds up the seconds of data, network and optimizer."""

    def __init__(self, row: tuple[str, str, int], notes: NoteLibrary, device: torch.device, *, now: bool) -> None:
        name, features, self.size = row
        self.now, self.device = now, device
        classes = Classes(notes, by="recording")
        mixtures = Mixtures(notes, classes, n=2, size=MIXTURES, seed=0)
        self.data = CachedFeatures(mixtures, get_features(features), device=device)
        self.fresh = CachedFeatures(mixtures, get_features(features), device=device, limit_gb=0)
        self.model = build(name, classes, features=features).to(device, memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.amp = (now or device.type == "cuda") and self.model.gains_by_bfloat16(device)

    def clock(self) -> float:
        """Return the processor's seconds; with a GPU, the wall clock's once it is done."""
        if self.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def measure(self, steps: int) -> list[float]:
        """Return the seconds a mixture that features, data, network and optimizer took."""
        keep_memory() if self.now else give_memory_back()
        spent = [0.0] * 4
        for _ in range(steps):
            which = torch.randperm(MIXTURES)[: self.size]
            marks = [self.clock()]
            self.fresh.batch(which)
            marks.append(self.clock())
            x, target = self.data.batch(which)
            marks.append(self.clock())
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                logits = self.model(x)
            self.optimizer.zero_grad()
            compute_loss(logits.float(), target).backward()
            marks.append(self.clock())
            self.optimizer.step()
            marks.append(self.clock())
            spent = [s + b - a for s, a, b in zip(spent, marks, marks[1:], strict=False)]
        return [s / steps / self.size for s in spent]


def measure(
    notes: NoteLibrary, wanted: list[tuple[str, str, int]], repetitions: int, device: torch.device
) -> list[dict]:
    """Return a row for each network, features and batch size, before and now."""
    rows = []
    for row in wanted:
        ways = {way: Step(row, notes, device, now=way == "now") for way in ("before", "now")}
        found = {way: [] for way in ways}
        for _ in range(repetitions + 1):
            for way, step in ways.items():
                found[way].append(step.measure(max(2, 256 // step.size)))
        for way, times in found.items():
            totals = [sum(t[1:]) for t in times[1:]]
            features, data, network, optimizer = (median(part) for part in zip(*times[1:], strict=True))
            rows.append({
                "model": row[0], "features": row[1], "batch": row[2], "way": way,
                "mixtures_per_second": 1 / median(totals), "low": 1 / max(totals), "high": 1 / min(totals),
                "data": data / median(totals), "network": network / median(totals),
                "optimizer": optimizer / median(totals), "features_on_the_fly_per_second": 1 / features,
            })  # fmt: skip
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return rows


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", default="default")
    parser.add_argument("--root")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["cnn", "cnn_lstm_cnn"])
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 256])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--save", action="store_true", help="write figures/bench_training.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = pick_device(options.device)
    notes = load_library(options.library, root=options.root)
    wanted = [(m, f, b) for m in options.models for f in FEATURES for b in options.batches]
    rows = pd.DataFrame(measure(notes, wanted, options.repetitions, device))
    about = environment()
    rows = rows.assign(data_set=notes.name, device=describe_device(device), torch=about["torch"])
    if options.save:
        with enter_origin(FIGURES / "bench_training.csv", f"{notes.name} {notes.key}") as temporary:
            rows.to_csv(temporary, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
