"""Train a network on one library or several, and score it: ``deeporch train`` (``make five-minutes``)."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..features.constantq import ConstantQ
from ..features.recoloured import Recoloured
from ..features.registry import get_features
from ..mixtures.classes import Classes
from ..mixtures.mixtures import Mixtures
from ..mixtures.splits import Split, split
from ..models.build import build
from ..models.checkpoints import load_checkpoint, read_card, save_checkpoint
from ..models.classifier import NoteClassifier
from ..models.open_pitchnet import Evidence, OpenPitchNetConfig, inherit
from ..models.pitchnet import PitchNetConfig, grow
from ..notes.library import NoteLibrary, combine, load_library
from ..results import ROOT, Results, published_value
from ..training.loop import History, fit
from ..training.parallel import first
from ..training.prediction import evaluate
from ..util.checks import check_choice, check_range
from ..util.environment import describe_device, pick_device
from .audit import WITHOUT, suspects
from .calibration import Calibration, calibrate, expected_calibration_error, score_open
from .many_libraries import Bank, Changes, LibraryMixtures, named_classes
from .recognizer import find_checkpoint

STUDY = "05_mixtures_2_3_5_10"  # the experiment whose published recall stands beside ours
NUMBERS = (2, 3, 5, 10)  # of notes, in the tests
EPOCH = 4_096  # mixtures; all of them new in every epoch
LIMIT = 100_000  # epochs: the time ends the training
Trained = tuple[NoteClassifier, dict, list[tuple[NoteLibrary, torch.Tensor]]]  # its card, and what calibrates it


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
    notes: NoteLibrary, pools: Split, *, other: NoteLibrary | None = None, size: int = 1000, seed: int = 1,
    audited: bool = False,
) -> dict[str, list[Mixtures]]:  # fmt: skip
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
    model: NoteClassifier, *sets: tuple[NoteLibrary, torch.Tensor], size: int = 1000, seed: int = 3
) -> tuple[dict[str, Calibration], dict[str, float]]:
    """Fit calibrations on mixtures of half of each set (a library, rows of it), and score them on the other half's.

    That of ``"note"``; of an `OpenPitchNet` also those of ``"pitch"``, and of ``"instrument"`` given the pitch.
    """
    halves = [_answers(model, sets, half, size, seed) for half in range(2)]
    fitted = {name: calibrate(*pair) for name, pair in halves[0].items()}
    scores = asdict(score_open(*halves[1]["note"], fitted["note"]))
    for name in list(fitted)[1:]:
        logits, targets = halves[1][name]
        error = expected_calibration_error(fitted[name].probabilities(logits), targets)
        scores[f"{name}_calibration_error"] = error
    return fitted, scores


def _answers(
    model: NoteClassifier, sets: Sequence[tuple[NoteLibrary, torch.Tensor]], half: int, size: int, seed: int
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return what a network answers for mixtures of 1 to 10 notes, and what is right: logits and targets by name."""
    found, device = defaultdict(list), next(model.eval().parameters()).device
    for number, (notes, pool) in enumerate(sets):
        pool = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))].chunk(2)[half]
        most = min(10, notes.table["instrument"].iloc[pool.tolist()].nunique(), max(1, len(pool) // 8))
        count = size if most > 1 else min(size, len(pool))
        classes, own = model.classes.on(notes), seed + 2 * number + half
        mixtures = Mixtures(notes, classes, n=(1, most), size=count, seed=own, pool=pool)
        for which in torch.arange(count).split(64):
            target = mixtures.targets(which)
            with torch.inference_mode():
                logits, heads = model.with_auxiliary(model.features.of(mixtures, which, device=device))
            found["note"].append((logits.float().cpu(), target))
            if isinstance(heads, Evidence):
                playing = model.playing(target.to(device)).cpu()
                sounding = playing.amax(1)
                batch, place = sounding.nonzero(as_tuple=True)
                found["pitch"].append((heads.pitches.cpu(), sounding))
                each = (heads.instruments.cpu(), playing)
                found["instrument"].append(tuple(x.transpose(1, 2)[batch, place, :-1] for x in each))
    return {name: tuple(map(torch.cat, zip(*pairs, strict=True))) for name, pairs in found.items()}


def command(options: argparse.Namespace) -> int:
    """Train, score, and write what was asked for: what ``deeporch train`` does."""
    model, card, sets = (_train_on_many if options.libraries else _train_on_one)(options)
    if first() and options.checkpoint:
        save_checkpoint(options.checkpoint, model, card=card)  # whatever becomes of the calibration
        if sets:
            fitted, card["unknown_n"] = calibrate_on(model, *sets, size=400 if options.libraries else 1000)
            card["calibration"] = fitted.pop("note").to_dict()
            card |= {"parts": {k: [c.temperature, c.offset] for k, c in fitted.items()}} if fitted else {}
            print("\n".join(f"{name:<28} {value:8.3f}" for name, value in card["unknown_n"].items()))
        print(f"written: {save_checkpoint(options.checkpoint, model, card=card)}")
    return 0


def _train_on_one(options: argparse.Namespace) -> Trained:
    """Train a PitchNet on a library, or on two as one, and score it on what was held out."""
    filters = {"pitches": options.pitches} if options.pitches else {}
    notes = load_library(options.library, root=options.root, **filters)
    if options.also:
        second = load_library(options.also, **(filters if options.also == "philharmonia" else {}))
        notes = combine([notes, second], name=f"{notes.name} + {second.name}")
    other = load_library(options.library, root=options.other, **filters) if options.other else None
    pools = split(notes, Classes(notes), by=options.split, seed=options.seed)
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
        return model, {}, []
    device = describe_device(pick_device(options.device))
    minutes = round(history.seconds / 60) if start or options.epochs else options.minutes  # of all trainings
    results = Results(options.experiment, data=notes, profile=f"{minutes:g} minutes", device=device)
    tests = make_tests(notes, pools, other=other, size=options.test, audited=options.audit)
    scores = _score(model, history, tests, results, options)
    if options.figures:
        print(f"written: {results.save(ROOT / 'figures')}")
    about = _about(options, round(EPOCH * history.epochs), history.seconds, device)
    card = {
        "data": {"library": notes.name, "notes": len(pools.train), "split": pools.report},
        "training": about | ({"before": before.get("training", {})} if start else {}), "scores": scores,
        "history": json.loads(history.table.round(4).to_json(orient="records")),
    }  # fmt: skip
    return model, card, [(notes, pools.test if pools.by != "mixture" else pools.train)]


def _train_on_many(options: argparse.Namespace) -> Trained:
    """Train an OpenPitchNet on mixtures across libraries; those that were left out are for its calibration."""
    written = [text.partition("=")[0].partition(":") for text in options.libraries]
    libraries = {label: _load(text) for (label, *_), text in zip(written, options.libraries, strict=True)}
    for label in options.leave_out:
        check_choice(label, libraries, "library")
    used = {label: library for label, library in libraries.items() if label not in options.leave_out}
    weights = {label: _weight(label, weight) for label, _, weight in written}
    classes, features = named_classes(list(used.values())), ConstantQ(hop=2048, frames=32)
    sizes = parse_numbers(options.network, OpenPitchNetConfig, "size of an OpenPitchNet")
    model = build("open_pitchnet", classes, features=features, seed=options.seed, **sizes)
    if options.start:
        inherit(model, load_checkpoint(find_checkpoint(options.start)))
    changes = Changes(features, **parse_numbers(options.recolour, Changes, "change of training notes"))
    bank = Bank(list(used.values()), classes, changes)
    mixtures = LibraryMixtures(bank, changes, size=EPOCH, weights=[weights[one] for one in used], seed=options.seed)
    length = {"epochs": options.epochs or LIMIT, "time_limit": None if options.epochs else 60 * options.minutes}
    history = fit(
        model, mixtures.epoch, folder=options.folder, features=changes, seed=options.seed, device=options.device,
        batch_size=32, lr=1e-3, schedule="cosine", warm_up=200, loss="auxiliary", decay=0.03, beta2=0.98, clip=3.0,
        mean=0.998, save_every=180.0, cache_gb=0, **length,
    )  # fmt: skip
    device = describe_device(pick_device(options.device))
    card = {
        "data": {"libraries": list(used), "notes": sum(map(len, used.values()))},
        "training": _about(options, round(len(mixtures) * history.epochs), history.seconds, device),
        "history": json.loads(history.table.round(4).to_json(orient="records")),
    }  # fmt: skip
    unseen = [libraries[label] for label in options.leave_out]
    return model, card, [(one, torch.nonzero(classes.on(one).of_note >= 0).flatten()) for one in unseen]


def _weight(label: str, text: str) -> float:
    try:
        return check_range(float(text or 1), 0.01, 100, f"The weight of {label}")
    except ValueError:
        raise ValueError(f"The weight of {label} is a number from 0.01 to 100, but {text!r} was given.") from None


def _about(options: argparse.Namespace, mixtures: int, seconds: float, device: str) -> dict:
    return {"command": options.command_line, "mixtures": mixtures, "seconds": round(seconds), "device": device}


def _load(text: str) -> NoteLibrary:
    """Return the library that is written as LABEL[:WEIGHT]=SOURCE:ROOT."""
    label, _, where = text.partition("=")
    label = label.partition(":")[0]
    source, _, root = where.partition(":")
    filters = {"philharmonia": {"pitches": "sounding"}, "soundfont": {"others": True}}.get(source or label, {})
    return load_library(source or label, root=root or None, **filters)


def _score(
    model: nn.Module, history: History, tests: dict[str, list[Mixtures]], results: Results, options: argparse.Namespace
) -> list[dict]:
    """Score a network on every test set: print, add to the results, and return a row each for the card."""
    rows = []
    for name, sets in tests.items():
        for mixtures in sets:
            scores = evaluate(model, mixtures, device=options.device)
            results.add(
                scores, mixtures, setting="pitchnet", model="pitchnet", split=name, seed=options.seed, history=history,
                train_mixtures=round(EPOCH * history.epochs), curves=(name, scores.n) == ("recording", 5),
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
