"""Resident memory over hours of training, prediction and orchestration in turn, and whether every answer is the same.

``python notebooks/experiments/memory.py --minutes 120 --out figures`` (Linux). With ``--mixtures 250000 --minutes 0``
it is one turn: what a training on so many mixtures takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

import deeporch as do
from deeporch.orchestration.orchestra import ORCHESTRA

EXPERIMENT = "memory"
SIZES = {"resident": "VmRSS", "anonymous": "RssAnon", "peak": "VmHWM"}  # in Linux's words; peak: since the start
BELL = Path(do.__file__).with_name("examples") / "bell.flac"


def memory() -> dict[str, float]:
    """Return this process's memory in MB: resident, what of it is no file's (a file's can be given back), and peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[field].split()[0]) / 1000 for name, field in SIZES.items()}


def stages(notes: do.NoteLibrary, options: argparse.Namespace) -> dict[str, Callable[[int], object]]:
    """Return what is done in each turn, by name; what comes back from a stage that repeats itself must be the same."""
    classes = do.Classes(notes, by="note")
    network = do.build("cnn", classes, features="logmel64")
    recognizer = do.Recognizer.load(options.recognizer)
    chord = do.Mixtures(notes, classes, n=5, size=1).audio([0])

    def train(turn: int) -> None:
        mixtures = do.Mixtures(notes, classes, n=5, size=options.mixtures, seed=turn)
        do.fit(network, mixtures, epochs=1, device="cpu")

    def predict(turn: int) -> set[str]:
        return {str(recognizer.predict(chord[0], notes.sample_rate, n=5)) for _ in range(options.predictions)}

    def orchestrate(turn: int) -> set[str]:
        found = do.orchestrate(BELL, notes, options.orchestra, evaluations=options.evaluations)
        return {str([each.notes for each in found])}

    return {"training": train, "prediction": predict, "orchestration": orchestrate}


def measure(doing: dict[str, Callable[[int], object]], seconds: float) -> Iterator[tuple[str, float, dict[str, float]]]:
    """Do everything in turn for so long, once at least; yield each stage, when it ended, and the memory then.

    Raises
    ------
    RuntimeError
        If a stage answered otherwise than in its first turn.
    """
    began, turn, first = time.perf_counter(), 0, {}
    while not turn or time.perf_counter() - began < seconds:
        for name, action in doing.items():
            answer = action(turn)
            if answer != first.setdefault(name, answer) or (answer is not None and len(answer) > 1):
                raise RuntimeError(f"{name} of turn {turn + 1} gave another answer than the first.")
            yield name, time.perf_counter() - began, memory()
        turn += 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the CSV after every turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--library", default="default")
    parser.add_argument("--root")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument("--mixtures", type=int, default=1000, help="of five notes, in each turn's epoch of training")
    parser.add_argument("--predictions", type=int, default=150, help="in each turn, all of the same sound")
    parser.add_argument("--evaluations", type=int, default=2000, help="of the orchestration in each turn")
    parser.add_argument("--orchestra", default=ORCHESTRA)
    parser.add_argument("--recognizer", default="orchestra")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    notes = do.load_library(options.library, root=options.root)
    profile = f"{options.minutes:g} minutes"
    results = do.Results(EXPERIMENT, data=notes, profile=profile, device=do.describe_device())
    labels = {"model": "cnn", "features": "logmel64", "n": 5, "train_mixtures": options.mixtures}
    for stage, seconds, found in measure(stages(notes, options), 60 * options.minutes):
        rows = [(name, round(seconds / 60, 2), value) for name, value in found.items()]
        results.add_rows(rows, setting=stage, seconds=round(seconds, 1), **labels)
        if stage == "orchestration":
            results.save(options.out)
            print(f"{seconds / 60:6.1f} min  " + "  ".join(f"{k} {v:,.0f} MB" for k, v in found.items()), flush=True)


if __name__ == "__main__":
    main()
