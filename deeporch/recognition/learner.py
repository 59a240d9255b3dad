"""Training on mixtures across libraries: AdamW, and the running mean of the weights."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..models import checkpoints
from ..models.open_pitchnet import OpenPitchNet, evidence_loss
from ..training.losses import split_weights
from ..util.progress import progress
from .many_libraries import LibraryMixtures

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
        matrices, others = split_weights(model)
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
                smooth = value.is_floating_point()
                self.mean[name] = torch.lerp(value, self.mean[name], keep) if smooth else value.clone()
        return loss.item()

    def save(self, path: Path) -> None:
        """Write all that is needed to go on."""
        mean = {f"mean.{name}": value.contiguous() for name, value in self.mean.items()}
        moments, card = checkpoints.optimizer_tensors(self.optimizer), {"steps": self.steps, "seconds": self.seconds}
        checkpoints.save_checkpoint(path, self.model, card=card, extra=mean | moments)

    def load(self, path: Path) -> None:
        """Go on where `save` was called."""
        card = checkpoints.read_card(path)
        self.steps, self.seconds = card["steps"], card["seconds"]
        checkpoints.load_weights(self.model, path)
        self.mean = checkpoints.read_tensors(path, prefix="mean.")
        checkpoints.load_optimizer(self.optimizer, path)


def learn(
    model: OpenPitchNet, mixtures: LibraryMixtures, schedule: Schedule, *, folder: str | Path | None = None
) -> Learner:
    """Train a network for some minutes, and leave in it the running mean of its weights."""
    learner, path = Learner(model, schedule), Path(folder) / "state.safetensors" if folder else None
    if path and path.is_file():
        learner.load(path)
        mixtures.random = type(mixtures.random)(type(mixtures.random.bit_generator)(learner.steps))
    now = saved = time.monotonic()
    begun = now - learner.seconds
    with progress(total=round(60 * schedule.minutes), desc="training", unit=" s") as bar:
        while learner.seconds < 60 * schedule.minutes:
            loss = learner.step(*mixtures.batch(schedule.batch_size))
            now = time.monotonic()
            learner.seconds = now - begun
            bar.set_postfix(steps=learner.steps, loss=f"{loss:.3f}", refresh=False)
            bar.update(round(learner.seconds) - bar.n)
            if path and now - saved > SAVE:
                learner.save(path)
                saved = now
    if path:
        learner.save(path)
    model.load_state_dict(learner.mean)
    model.eval()
    return learner
