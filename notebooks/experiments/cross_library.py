"""A recognizer trained on one library, tested on another."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from deeporch.metrics import Scores
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.checkpoints import load_checkpoint, read_card
from deeporch.notes.library import NoteLibrary, load_library
from deeporch.recognition.audit import WITHOUT, suspects
from deeporch.recognition.recognizer import find_checkpoint
from deeporch.recognition.train import NUMBERS
from deeporch.results import ROOT, Results, load_results
from deeporch.training.prediction import evaluate
from deeporch.util.environment import describe_device, pick_device

EXPERIMENT = "07_other_libraries"


def score_on(
    model: nn.Module,
    notes: NoteLibrary,
    *,
    without: set[int] = frozenset(),
    numbers: Sequence[int] = NUMBERS,
    size: int = 1000,
    seed: int = 1,
    device: str = "auto",
) -> list[tuple[Mixtures, Scores]]:
    """Score a network on mixtures of a library that it was not trained on; only notes of its classes are used.

    Parameters
    ----------
    model : torch.nn.Module
        Trained.
    notes : NoteLibrary
        The other library.
    without : set of int
        Rows of it that are left out.
    numbers : sequence of int
        Of notes in a mixture: a test each.
    size, seed
        Of each test.
    device : str
        As of `deeporch.evaluate`.

    Raises
    ------
    ValueError
        If it has no note of the network's classes.
    """
    classes = model.classes.on(notes)
    pool = torch.tensor([i for i, c in enumerate(classes.of_note.tolist()) if c >= 0 and i not in without])
    sets = [Mixtures(notes, classes, n=n, size=size, seed=seed + n, pool=pool) for n in numbers]
    return [(mixtures, evaluate(model, mixtures, device=device)) for mixtures in sets]


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, print, and write what was asked for; rows of other checkpoints and libraries stay in the table."""
    options = _parser().parse_args(arguments)
    device = describe_device(pick_device(options.device))
    try:
        paths = {Path(path).stem: find_checkpoint(path) for path in options.checkpoints}
        models = {name: (load_checkpoint(path), read_card(path)) for name, path in paths.items()}
        libraries = {text.partition("=")[0]: load(text, options.pitches) for text in options.on}
        results = Results(EXPERIMENT, data="", profile="", device=device)
        results.library = "; ".join(f"{name} {notes.key}" for name, notes in libraries.items())
        if options.figures and (ROOT / "figures" / f"{EXPERIMENT}.csv").is_file():
            old = load_results(EXPERIMENT)
            again = old["setting"].isin(models) & old["split"].str.split(",").str[0].isin(libraries)
            results.parts.append(old[~again])
        for name, (model, card) in models.items():
            for library, notes in libraries.items():
                sets = {library: score_on(model, notes, size=options.test, device=options.device)}
                if options.audit:
                    left_out = suspects(notes)
                    sets[WITHOUT.format(library)] = score_on(
                        model, notes, without=left_out, size=options.test, device=options.device
                    )
                _report(results, sets, name, card)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.figures:
        print(f"written: {results.save(ROOT / 'figures')}")
    return 0


def load(text: str, pitches: str | None) -> NoteLibrary:
    """Return the library written as ``NAME``, or ``LABEL=SOURCE:ROOT`` for a folder or SoundFont of one's own."""
    label, _, where = text.partition("=")
    source, _, root = where.partition(":")
    source = source or label
    filters = {"pitches": pitches} if pitches and source == "philharmonia" else {}
    return load_library(source, root=root or None, **filters)


def _report(results: Results, sets: dict, name: str, card: dict) -> None:
    """Print one network's scores on one library, and add them to the results."""
    training = card.get("training", {})
    for split, scored in sets.items():
        for mixtures, scores in scored:
            results.common |= {"data": card.get("data", {}).get("library", "")}
            results.add(
                scores, mixtures, setting=name, model=card["model"], split=split,
                train_mixtures=training.get("mixtures", 0),
            )  # fmt: skip
            print(f"{name} on {split:<40} N={scores.n:<3} {scores.top_n_recall:7.2%}  exact {scores.exact_match:7.2%}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python notebooks/experiments/cross_library.py", description=__doc__)
    add = parser.add_argument
    add("checkpoints", nargs="+", metavar="CHECKPOINT", help="files, or names of those in data/checkpoints")
    add("--on", nargs="+", required=True, metavar="LIBRARY", help="NAME, or LABEL=SOURCE:ROOT")
    add("--pitches", default=None, help="philharmonia: named or sounding")
    add("--audit", action="store_true", help="score also without the recordings that the audit finds suspicious")
    add("--test", type=int, default=1000, help="mixtures of each test")
    add("--device", default="auto")
    add("--figures", action="store_true", help=f"write the scores to figures/{EXPERIMENT}.csv")
    return parser


if __name__ == "__main__":
    sys.exit(main())
