"""Training one network on many libraries: ``deeporch train --libraries NAME=PATH …``."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ..features.constantq import ConstantQ
from ..mixtures.classes import Classes
from ..mixtures.mixtures import Mixtures
from ..models.build import build
from ..models.checkpoints import load_checkpoint, save_checkpoint
from ..models.open_pitchnet import OpenPitchNet, OpenPitchNetConfig, evidence_loss, inherit
from ..models.pitchnet import A0
from ..notes.instruments import midi_to_pitch
from ..notes.library import NoteLibrary, load_library
from ..notes.sources.soundfont import OTHER
from ..util.checks import check_choice
from ..util.environment import describe_device
from ..util.files import atomic_path
from ..util.progress import progress
from .calibration import Calibration, calibrate, expected_calibration_error, score_open
from .many_libraries import Bank, Changes, LibraryMixtures
from .recognizer import find_checkpoint
from .train import parse_numbers

SAVE = 180.0  # seconds from one saved state to the next
SMOOTH = 4  # steps from one update of the running mean of the weights to the next


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn."""

    minutes: float = 60.0
    batch_size: int = 32
    lr: float = 1e-3
    warm_up: int = 200
    decay: float = 0.03
    mean: float = 0.998


class Learner:
    """A network, its optimizer and the running mean of its weights, which may be saved and go on."""

    def __init__(self, model: OpenPitchNet, schedule: Schedule) -> None:
        self.model, self.schedule = model.train(), schedule
        matrices = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": schedule.decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, schedule.lr, betas=(0.9, 0.98))
        self.mean = {name: value.clone() for name, value in model.state_dict().items()}
        self.steps, self.seconds = 0, 0.0

    def step(self, x: torch.Tensor, pitches: torch.Tensor, instruments: torch.Tensor) -> float:
        """Learn from one batch; return its loss."""
        done = min(1.0, self.seconds / (60 * self.schedule.minutes))
        rate = min(1, (self.steps + 1) / self.schedule.warm_up) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.lr * rate
        with torch.autocast(x.device.type, torch.bfloat16):
            evidence = self.model.evidence(x)
        loss = evidence_loss(evidence, pitches, instruments)
        if not torch.isfinite(loss):
            raise ValueError(f"The loss is {loss.item()} after {self.steps} steps: lower the learning rate.")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 3.0)
        self.optimizer.step()
        self.steps += 1
        if self.steps % SMOOTH == 0:
            keep = min(self.schedule.mean, (1 + self.steps) / (10 + self.steps)) ** SMOOTH
            for name, value in self.model.state_dict().items():
                self.mean[name] = (
                    torch.lerp(value, self.mean[name], keep) if value.is_floating_point() else value.clone()
                )
        return loss.item()

    def save(self, path: Path) -> None:
        """Write all that is needed to go on."""
        moments = {f"{i}.{k}": v for i, each in self.optimizer.state_dict()["state"].items() for k, v in each.items()}
        groups = {"model": self.model.state_dict(), "mean": self.mean, "optimizer": moments}
        tensors = {f"{group}:{k}": torch.as_tensor(v).contiguous() for group, t in groups.items() for k, v in t.items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"steps": str(self.steps), "seconds": str(self.seconds)})

    def load(self, path: Path) -> None:
        """Go on where `save` was called."""
        groups: dict[str, dict[str, torch.Tensor]] = {"model": {}, "mean": {}, "optimizer": {}}
        with safe_open(path, "pt") as file:
            self.steps, self.seconds = int(file.metadata()["steps"]), float(file.metadata()["seconds"])
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                group, _, key = name.partition(":")
                groups[group][key] = file.get_tensor(name)
        self.model.load_state_dict(groups["model"])
        self.mean, state = groups["mean"], self.optimizer.state_dict()
        for name, value in groups["optimizer"].items():
            index, _, key = name.partition(".")
            state["state"].setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(state)


def learn(
    model: OpenPitchNet,
    mixtures: LibraryMixtures,
    schedule: Schedule,
    *,
    folder: str | Path | None = None,
    show: Callable[[int, float, float], None] | None = None,
) -> Learner:
    """Train a network for some minutes, and leave in it the running mean of its weights."""
    learner, path = Learner(model, schedule), Path(folder) / "state.safetensors" if folder else None
    if path and path.is_file():
        learner.load(path)
        mixtures.random = type(mixtures.random)(type(mixtures.random.bit_generator)(learner.steps))
    begun = saved = shown = time.monotonic()
    begun, losses = begun - learner.seconds, []
    with progress(total=round(60 * schedule.minutes), desc="training", unit=" s") as bar:
        while learner.seconds < 60 * schedule.minutes:
            losses.append(learner.step(*mixtures.batch(schedule.batch_size)))
            now = time.monotonic()
            learner.seconds = now - begun
            bar.update(round(learner.seconds) - bar.n)
            if show and now - shown > 20:
                show(learner.steps, learner.seconds, sum(losses) / len(losses))
                losses, shown = [], now
            if path and now - saved > SAVE:
                learner.save(path)
                saved = now
    if path:
        learner.save(path)
    model.load_state_dict(learner.mean)
    model.eval()
    return learner


def named_classes(libraries: Sequence[NoteLibrary]) -> Classes:
    """Return the notes of all instruments that have a name, in any of the libraries."""
    tables = [library.table[["instrument", "midi"]] for library in libraries]
    table = pd.concat(tables, ignore_index=True).query(f"instrument != '{OTHER}' and {A0} <= midi < {A0 + 88}")
    table = table.value_counts().rename("recordings").reset_index().sort_values(["instrument", "midi"])
    table["name"] = table["instrument"] + " " + table["midi"].map(midi_to_pitch)
    return Classes.from_dict({"by": "note", **table.to_dict("list")})


def calibrate_parts(
    model: OpenPitchNet, libraries: Sequence[NoteLibrary], *, size: int = 400, seed: int = 3
) -> tuple[Calibration, dict[str, list[float]], dict[str, float]]:
    """Fit probabilities of notes, of pitches, and of instruments given the pitch, on libraries not trained on."""
    halves = []
    for half in range(2):
        logits, targets, pitches, instruments = [], [], [[], []], [[], []]
        for number, library in enumerate(libraries):
            classes = model.classes.on(library)
            pool = torch.nonzero(classes.of_note >= 0).flatten()[half::2]
            most = min(10, library.table["instrument"].iloc[pool.tolist()].nunique())
            count = size if most > 1 else min(size, len(pool))
            mixtures = Mixtures(library, classes, n=(1, most), size=count, seed=seed + number, pool=pool)
            for which in torch.arange(len(mixtures)).split(64):
                with torch.inference_mode():
                    evidence = model.evidence(model.features.of(mixtures, which))
                target = mixtures.targets(which)
                playing = torch.zeros_like(evidence.instruments).flatten(1)
                playing[:, model.place] = target
                playing = playing.view_as(evidence.instruments)
                sounding = playing.amax(1)
                logits.append(model.classes_of(evidence))
                targets.append(target)
                pitches[0].append(evidence.pitches)
                pitches[1].append(sounding)
                batch, place = sounding.nonzero(as_tuple=True)
                for kept, part in zip(instruments, (evidence.instruments, playing), strict=True):
                    kept.append(part.transpose(1, 2)[batch, place, :-1])
        halves.append([tuple(map(torch.cat, pair)) for pair in ((logits, targets), pitches, instruments)])
    fitted = [calibrate(*pair) for pair in halves[0]]
    errors = asdict(score_open(*halves[1][0], fitted[0]))
    for name, calibration, pair in zip(("pitch", "instrument"), fitted[1:], halves[1][1:], strict=True):
        errors[f"{name}_calibration_error"] = expected_calibration_error(calibration.probabilities(pair[0]), pair[1])
    parts = {
        name: [calibration.temperature, calibration.offset]
        for name, calibration in zip(("pitch", "instrument"), fitted[1:], strict=True)
    }
    return fitted[0], parts, errors


def command(options: argparse.Namespace) -> int:
    """Train one network on many libraries, score it on those that were left out, and write it."""
    libraries = {text.partition("=")[0]: _load(text) for text in options.libraries}
    for label in options.leave_out:
        check_choice(label, libraries, "library")
    trained_on = {label: library for label, library in libraries.items() if label not in options.leave_out}
    unseen = [libraries[label] for label in options.leave_out]
    classes = named_classes(list(trained_on.values()))
    features = ConstantQ(hop=2048, frames=32)
    sizes = parse_numbers(options.network, OpenPitchNetConfig, "size of an OpenPitchNet")
    model = build("open_pitchnet", classes, features=features, seed=options.seed, **sizes)
    if options.start:
        inherit(model, load_checkpoint(find_checkpoint(options.start)))
    changes = Changes(**parse_numbers(options.recolour, Changes, "change of training notes"))
    bank = Bank(
        list(trained_on.values()), features, classes.instruments, versions=changes.versions, detune=changes.detune
    )
    mixtures = LibraryMixtures(bank, changes, seed=options.seed)
    schedule = Schedule(minutes=options.minutes)
    learner = learn(model, mixtures, schedule, folder=options.folder, show=_show)
    training = {
        "command": options.command_line, "mixtures": learner.steps * schedule.batch_size,
        "seconds": round(learner.seconds), "device": describe_device(torch.device("cpu")),
    }  # fmt: skip
    card = {"data": {"libraries": list(trained_on), "notes": sum(map(len, trained_on.values()))}, "training": training}
    if unseen:
        calibration, parts, errors = calibrate_parts(model, unseen)
        card |= {"calibration": calibration.to_dict(), "parts": parts, "unknown_n": errors}
        print("\n".join(f"{name:<28} {value:8.3f}" for name, value in errors.items()))
    if options.checkpoint:
        print(f"written: {save_checkpoint(options.checkpoint, model, card=card)}")
    return 0


def _show(steps: int, seconds: float, loss: float) -> None:
    print(f"{seconds / 60:6.1f} minutes, {steps} steps, loss {loss:.3f}", flush=True)


def _load(text: str) -> NoteLibrary:
    """Return the library that is written as LABEL=SOURCE:ROOT."""
    label, _, where = text.partition("=")
    source, _, root = where.partition(":")
    filters = {"philharmonia": {"pitches": "sounding"}, "soundfont": {"others": True}}.get(source or label, {})
    return load_library(source or label, root=root or None, **filters)
