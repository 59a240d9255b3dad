"""Train a PitchNet on a library and score it: ``deeporch train`` (``make five-minutes``)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..features.augment import Recoloured
from ..features.constantq import ConstantQ
from ..features.registry import get_features
from ..mixtures.classes import Classes
from ..mixtures.mixtures import Mixtures
from ..mixtures.splits import Split, split
from ..models.build import build
from ..models.checkpoints import load_checkpoint, read_card, save_checkpoint
from ..models.pitchnet import PitchNetConfig, grow
from ..notes.library import NoteLibrary, combine, load_library
from ..results import ROOT, Results, published_value
from ..training.loop import History, fit
from ..training.parallel import first
from ..training.prediction import evaluate, predict
from ..util.checks import check_choice
from ..util.environment import describe_device, pick_device
from .audit import WITHOUT, suspects
from .calibration import Calibration, calibrate, score_open
from .recognizer import find_checkpoint

STUDY = "05_mixtures_2_3_5_10"  # the experiment whose published recall stands beside ours
NUMBERS = (2, 3, 5, 10)  # of notes, in the tests
EPOCH = 4_096  # mixtures; all of them new in every epoch
LIMIT = 100_000  # epochs: the time ends the training


def train(
    notes: NoteLibrary,
    pools: Split,
    *,
    minutes: float | None,
    seed: int = 0,
    device: str = "auto",
    folder: str | Path | None = None,
    features: str | ConstantQ = "cqt24",
    network: dict[str, object] | None = None,
    recolour: dict[str, float] | None = None,
    n: tuple[int, int] = (1, 10),
    curriculum: int = 0,
    size: int = EPOCH,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
    start: str | Path | None = None,
    **options: Any,
) -> tuple[nn.Module, History]:
    """Train a PitchNet on mixtures of 1 to 10 notes for some minutes."""
    classes = Classes(notes)
    if start is None:
        model = build("pitchnet", classes, features=get_features(features), seed=seed, **(network or {}))
    else:
        model = load_checkpoint(start, classes=classes)
        model = grow(model, (network or {}).get("blocks", model.config.blocks))
    card = read_card(start) if start else {}
    before = card.get("history", [])
    heard = len(before) or card.get("training", {}).get("mixtures", 0) // size  # epochs, where there is no history
    model = wrap(model) if wrap else model
    model.features.notes(notes)  # outside the minutes
    first = 1_000_000 * (seed + 1)  # of the mixtures' seeds

    def fresh(epoch: int) -> Mixtures:
        largest = n[0] + (n[1] - n[0]) * min(epoch, curriculum) // curriculum if curriculum else n[1]
        return Mixtures(notes, classes, n=(n[0], largest), size=size, seed=first + heard + epoch, pool=pools.train)

    valid = None
    if pools.by != "mixture":
        valid = Mixtures(notes, classes, n=5, size=500, seed=first, pool=pools.test)
    settings = {"epochs": LIMIT, "batch_size": 32, "lr": 2e-3, "schedule": "cosine", "seed": seed, "device": device}
    settings |= {"time_limit": 60 * minutes if minutes else None, "cache_gb": 0, "validate_every": 10, **options}
    seen_through = Recoloured(model.features, **recolour) if recolour else None
    return model, _joined(before, fit(model, fresh, valid, folder=folder, features=seen_through, **settings))


def _joined(before: list[dict], history: History) -> History:
    """Return a training's history with the rows of the one that it went on from before its own."""
    if not before:
        return history
    earlier, table = pd.DataFrame(before), history.table.copy()
    table["epoch"] += earlier["epoch"].iloc[-1]
    table["seconds"] += earlier["seconds"].iloc[-1]
    return History(pd.concat([earlier, table], ignore_index=True), history.device, history.stopped)


def make_tests(
    notes: NoteLibrary,
    pools: Split,
    *,
    other: NoteLibrary | None = None,
    size: int = 1000,
    seed: int = 1,
    audited: bool = False,
) -> dict[str, list[Mixtures]]:
    """Return the test sets, N = 2, 3, 5 and 10, by name."""
    classes = Classes(notes)
    found = {"mixture": (notes, classes, pools.train)}
    if pools.by != "mixture":
        found["recording"] = (notes, classes, pools.test)
    if other is not None:
        bound = classes.on(other)
        heard = torch.zeros(len(classes), dtype=torch.bool)
        heard[classes.of_note[pools.train]] = True
        usable = (bound.of_note >= 0) & heard[bound.of_note.clamp(min=0)]
        found["other takes"] = (other, bound, torch.nonzero(usable).flatten())
    if audited:
        for name in [name for name in found if name != "mixture"]:
            library, by, pool = found[name]
            left_out = torch.tensor(sorted(suspects(library)), dtype=torch.long)
            found[WITHOUT.format(name)] = (library, by, pool[~torch.isin(pool, left_out)])
    return {
        name: [Mixtures(library, by, n=n, size=size, seed=seed + n, pool=pool) for n in NUMBERS]
        for name, (library, by, pool) in found.items()
    }


def calibrate_on(
    model: nn.Module,
    notes: NoteLibrary,
    pool: torch.Tensor,
    *,
    n: tuple[int, int] = (1, 10),
    size: int = 1000,
    seed: int = 3,
) -> tuple[Calibration, dict]:
    """Fit a calibration on mixtures of 1 to 10 notes of half of a pool, and score it on mixtures of the other half."""
    classes = model.classes.on(notes)
    halves = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))].chunk(2)
    sets = [Mixtures(notes, classes, n=n, size=size, seed=seed + i, pool=half) for i, half in enumerate(halves)]
    device = next(model.parameters()).device
    outputs = [predict(model, s, device=str(device)) for s in sets]
    calibration = calibrate(*outputs[0])
    return calibration, asdict(score_open(*outputs[1], calibration))


def command(options: argparse.Namespace) -> int:
    """Train, score, and write what was asked for: what ``deeporch train`` does."""
    notes, other, pools = _load(options)
    start = find_checkpoint(options.start) if options.start else None
    before = read_card(start) if start else {}
    check_split(before, pools.report, start)
    print(notes, pools.report, sep="\n", flush=True)
    length = {"minutes": None, "epochs": options.epochs} if options.epochs else {"minutes": options.minutes}
    model, history = train(
        notes, pools, seed=options.seed, device=options.device, folder=options.folder, start=start,
        features=options.features, network=parse_numbers(options.network, PitchNetConfig, "size of a PitchNet"),
        recolour=parse_numbers(options.recolour, Recoloured, "change of training notes"), **length,
    )  # fmt: skip
    if not first():
        return 0
    device = describe_device(pick_device(options.device))
    minutes = round(history.seconds / 60) if start or options.epochs else options.minutes  # of all trainings
    results = Results(options.experiment, data=notes.name, profile=f"{minutes:g} minutes", device=device)
    tests = make_tests(notes, pools, other=other, size=options.test, audited=options.audit)
    scores = _score(model, history, tests, results, options)
    if options.figures:
        print(f"written: {results.save(ROOT / 'figures')}")
    if options.checkpoint:
        calibration, unknown = calibrate_on(model, notes, pools.test if pools.by != "mixture" else pools.train)
        training = {
            "command": options.command_line, "mixtures": EPOCH * history.epochs,
            "seconds": round(history.seconds), "device": device,
        }  # fmt: skip
        card = {
            "data": {"library": notes.name, "notes": len(pools.train), "split": pools.report},
            "training": training | ({"before": before.get("training", {})} if start else {}),
            "scores": scores, "unknown_n": unknown, "calibration": calibration.to_dict(),
            "history": json.loads(history.table.round(4).to_json(orient="records")),
        }  # fmt: skip
        print(f"written: {save_checkpoint(options.checkpoint, model, card=card)}")
    return 0


def _load(options: argparse.Namespace) -> tuple[NoteLibrary, NoteLibrary | None, Split]:
    """Return the notes to train on, those of other takes, and which of the first are held out."""
    filters = {"pitches": options.pitches} if options.pitches else {}
    notes = load_library(options.library, root=options.root, **filters)
    if options.also:
        second = load_library(options.also, **(filters if options.also == "philharmonia" else {}))
        notes = combine([notes, second], name=f"{notes.name} + {second.name}")
    other = load_library(options.library, root=options.other, **filters) if options.other else None
    return notes, other, split(notes, Classes(notes), by=options.split, seed=options.seed)


def _score(
    model: nn.Module,
    history: History,
    tests: dict[str, list[Mixtures]],
    results: Results,
    options: argparse.Namespace,
) -> list[dict]:
    """Score a network on every test set: print, add to the results, and return a row each for the card."""
    rows = []
    for name, sets in tests.items():
        for mixtures in sets:
            scores = evaluate(model, mixtures, device=options.device)
            results.add(
                scores, mixtures, setting="pitchnet", model="pitchnet", split=name, seed=options.seed, history=history,
                train_mixtures=EPOCH * history.epochs, curves=(name, scores.n) == ("recording", 5),
            )  # fmt: skip
            row = {"split": name, "n": scores.n, "top_n_recall": scores.top_n_recall, "exact_match": scores.exact_match}
            rows.append(row)
            study = f"   (the study: {published_value(STUDY, n=scores.n):.1%})" if name == "mixture" else ""
            print(f"{name:<30} N={scores.n:<3} {scores.top_n_recall:7.2%}  exact {scores.exact_match:7.2%}{study}")
    return rows


def check_split(card: dict, report: str, path: Path | None) -> None:
    """Raise a ValueError if a network was trained on another split: it may have heard what is now held out."""
    before = card.get("data", {}).get("split", report)
    if before != report:
        raise ValueError(
            f"{path.name} was trained on another split ({before}; here: {report}): "
            "go on with the same --library, --pitches, --split and --seed."
        )


def parse_numbers(text: str, kind: type, what: str) -> dict[str, float]:
    """Return numeric fields of a dataclass that are written as ``"level=6,equalizer=5"``."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        check_choice(name, [f.name for f in fields(kind) if f.type in ("int", "float")], what)
        try:
            found[name] = float(value) if "." in value else int(value)
        except ValueError:
            raise ValueError(f"A {what} is given as NAME=NUMBER, but got {part!r}.") from None
    return found
