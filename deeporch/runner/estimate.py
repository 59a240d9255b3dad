"""About how long a run will take: from the last run, or from what one second of this machine can do."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from .profiles import Job, Profile

# Of 64 x 2,048 numbers a second, on the idle machine that `typical` of the profiles was measured on:
TRANSFORMS = 1000.0


def slowness(seconds: float = 1.0) -> float:
    """Measure how many times slower this machine is, now and for one thread, than that one."""
    numbers = np.random.default_rng(0).random((64, 2048))
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        np.fft.rfft(numbers)
        count += 1
    return TRANSFORMS * (time.perf_counter() - began) / count


def last_seconds(runs: Path, profile: str) -> dict[str, float]:
    """Return how long each notebook took in the latest run of this profile that finished it."""
    found = {}
    for file in sorted(runs.glob(f"*-{profile}*/environment.json")):  # the folders' names begin with the time
        with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
            failed = {f["notebook"] for f in json.loads((file.parent / "failures.json").read_text())}
            found |= {k: float(v) for k, v in json.loads(file.read_text())["seconds"].items() if k not in failed}
    return found


def announce(jobs: Sequence[Job], profile: Profile, runs: Path, factor: float) -> str:
    """Return what a run will do, and about how long it will take, in two sentences."""
    last = last_seconds(runs, profile.name)
    seconds = sum(last.get(job.name, profile.typical * factor) for job in jobs)
    known = sum(job.name in last for job in jobs)
    source = f"{known} of them as the last time" if known else "by a second's measurement"
    count = f"{len(jobs)} notebook" + "s" * (len(jobs) != 1)
    text = f"Runs {count} of the profile {profile.name}, one after the other; about {duration(seconds)}, {source}."
    busy = f" This machine is {factor:.1f} times slower just now than an idle one." if factor > 1.5 else ""
    return text + busy


def duration(seconds: float) -> str:
    """Return a rough duration in words."""
    if seconds < 90:
        return f"{max(1, round(seconds)):d} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
