"""`fit`: the one training loop, resumable, by one process or several."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from ..features.cached import CachedFeatures
from ..metrics import count_right, hits
from ..mixtures.mixtures import Mixtures
from ..models import checkpoints
from ..util.checks import check_choice
from ..util.environment import environment, limit_threads
from ..util.files import user_path
from ..util.processor import keep_memory
from ..util.progress import progress
from .capture import Captured
from .losses import add_l1, compute_loss, split_weights
from .options import History, Training
from .parallel import Ranks
from .prediction import predict_all
from .tracking import Curves

if TYPE_CHECKING:
    from ..features.constantq import ConstantQ
    from ..features.mel import Mel
    from ..features.recoloured import Recoloured
    from ..models.classifier import NoteClassifier

RATE = "mixtures_per_second"
SMOOTH = 4  # steps from one update of the running mean of the weights to the next
FREE = ("epochs", "device", "time_limit", "cache_gb", "amp", "compile", "save_every")  # may change when it goes on


def fit(
    model: NoteClassifier,
    train: Mixtures | Callable[[int], Mixtures],
    valid: Mixtures | None = None,
    *,
    folder: str | Path | None = None,
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
    features: Mel | ConstantQ | Recoloured | None = None,
    callback: Callable[[dict], bool | None] | None = None,
    **options: Any,
) -> History:
    """Train a network.

    Parameters
    ----------
    model : NoteClassifier
        Made by `deeporch.build`; trained in place.
    train : Mixtures or callable
        The training mixtures, or a function from the epoch (from 1) to that epoch's fresh ones.
    valid : Mixtures, optional
        Measured every ``validate_every`` epochs.
    folder : str or Path, optional
        Where ``last`` and ``best`` checkpoints (safetensors + JSON) and ``history.csv`` go. If it holds a ``last``
        of the same training, that is resumed, and gives the history of an uninterrupted run.
    augment : callable, optional
        ``(features, generator) -> features``, applied to every training batch.
    features : optional
        What the training mixtures are seen through, if not the model's own features: `Recoloured` changes their notes.
    callback : callable, optional
        Called a few times a second with what is known (epoch, seen, loss, …, and the model); return True to stop.
    **options
        Fields of `Training`.

    Returns
    -------
    History
        A row an epoch.

    Raises
    ------
    ValueError
        If an option is unknown or out of range, or the model has other classes than the mixtures.
    FloatingPointError
        If the loss is no longer finite; the last good epoch is on disk.
    """
    for name in options:
        check_choice(name, [f.name for f in fields(Training)], "training option")
    training = Training(**options)
    first = train(1) if callable(train) else train
    for mixtures in (first, valid):
        if mixtures is not None:
            checkpoints.check_classes(model, mixtures.classes)
    on = {"training mixtures": first.key, "validation mixtures": valid.key if valid is not None else ""}
    on |= {"augmentation": checkpoints.describe(augment), "features": checkpoints.describe(features)}
    return _Fit(model, train, valid, training, folder, augment, features, callback, on).run()


class _Fit:
    """One training run: the state that `fit` keeps between epochs."""

    def __init__(self, model, train, valid, training, folder, augment, features, callback, on) -> None:  # noqa: ANN001
        self.model, self.training, self.augment, self.callback, self.on = model, training, augment, callback, on
        self.ranks = Ranks(training.device)
        self.device = self.ranks.device
        self.folder = None if folder is None else user_path(folder)
        self.amp = training.amp and model.gains_by_bfloat16(self.device)
        if self.ranks.size > 1 and self.device.type == "cpu":
            self.amp = False  # the fused conv stages know one process's batch-norm only
        if self.device.type == "cpu":
            limit_threads()
            keep_memory()
        self.make_train = train if callable(train) else None
        self.features = features or model.features
        self.train = None if self.make_train else self._cached(train, self.features)
        self.valid = None if valid is None else self._cached(valid, model.features)
        model.to(self.device, memory_format=torch.channels_last)  # convolutions run up to twice as fast on CPUs
        weights, others = split_weights(model)
        shrink = training.l2 or training.decay
        groups = [{"params": weights, "weight_decay": shrink}, {"params": others, "weight_decay": 0.0}]
        gpu = self.device.type == "cuda" and self.ranks.size == 1
        lr = torch.tensor(training.lr, device=self.device) if gpu else training.lr
        self.optimizer = torch.optim.Adam(
            [g for g in groups if g["params"]], lr, (0.9, training.beta2), fused=True, capturable=gpu,
            decoupled_weight_decay=training.decay > 0,
        )  # fmt: skip
        self.learn = Captured(self._learn_in_parts) if gpu else self._learn_in_parts
        self.network = self.plain = self.ranks.wrap(_AllHeads(model))
        if training.compile:
            self.network = torch.compile(self.network, dynamic=False)
        self.parts = 1  # that a batch is learned in, one after the other, if memory is short
        self.rows: list[dict] = []
        self.environment = environment()
        name, on = self.folder.name if self.folder else type(model).__name__, self.ranks.rank == 0
        self.curves = Curves(name, asdict(training), stamp=self.folder is None, on=on)
        self.before, self.best, self.worse, self.stopped, self.saved = 0.0, math.inf, 0, "", -math.inf
        self.kept = copy_weights(model) if training.mean else {}  # what it ends with: their mean, or the best

    def _cached(self, mixtures: Mixtures, features: Mel | ConstantQ | Recoloured) -> CachedFeatures:
        dtype = torch.bfloat16 if self.amp and self.device.type == "cuda" else torch.float32  # as convolutions see it
        return CachedFeatures(mixtures, features, device=self.device, limit_gb=self.training.cache_gb, dtype=dtype)

    def run(self) -> History:
        self._resume()
        self.started = time.perf_counter()
        epochs = range(len(self.rows) + 1, self.training.epochs + 1)
        if not self.stopped:
            quiet = not len(epochs) or self.ranks.rank > 0
            with progress(total=len(epochs), desc="training", unit="epoch", disable=quiet) as bar:
                for epoch in epochs:
                    self._epoch(epoch, bar)
                    bar.update()
                    if self.stopped:
                        break
        if self.kept:
            self.model.load_state_dict(self.kept)
        self.ranks.unwrap(self.model)
        self.learn = self.train = self.valid = None  # a GPU's memory is free again
        self.curves.close()
        self.model.eval()
        return History(pd.DataFrame(self.rows), str(self.device), self.stopped)

    def _epoch(self, epoch: int, bar) -> None:  # noqa: ANN001
        row = {"epoch": epoch, **self._train_epoch(epoch, bar)}
        if self.stopped == "by the callback":
            return  # a part of an epoch is not kept: resuming repeats it
        if self.valid is not None and (epoch % self.training.validate_every == 0 or epoch == self.training.epochs):
            row |= self._validate(epoch)
        else:
            row |= dict.fromkeys(("valid_loss", "valid_recall", "valid_exact"), math.nan)
        row["seconds"] = self._spent()
        self.rows.append(row)
        names = ("loss/valid", "valid_loss"), ("recall/valid", "valid_recall"), ("mixtures per second", RATE)
        self.curves.write(epoch * self.size, {label: row[name] for label, name in names})
        bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", "valid_loss", "valid_recall")}, refresh=False)
        self._judge(row)
        self._save(epoch)

    def _train_epoch(self, epoch: int, bar) -> dict:  # noqa: ANN001
        data = self._cached(self.make_train(epoch), self.features) if self.make_train else self.train
        generator = torch.Generator().manual_seed(self.training.seed * 1_000_003 + epoch)
        batches = torch.randperm(len(data), generator=generator).to(self.device).split(self.training.batch_size)
        if len(batches[-1]) < min(max(2, self.ranks.size), self.training.batch_size) and len(batches) > 1:
            batches = batches[:-1]  # batch-norm cannot learn from one mixture, nor a process from none
        size = self.size = sum(map(len, batches))
        total = torch.zeros(3, device=self.device)  # loss, notes right, notes
        began = told = time.perf_counter()
        self.model.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.training.seed * 1_000_003 + epoch + 500_009 * self.ranks.rank)  # dropout's
            for step, which in enumerate(batches, 1):
                self.steps = (epoch - 1) * len(batches) + step
                self._set_lr((epoch - 1 + step / len(batches)) / self.training.epochs)
                x, target = data.batch(self.ranks.share(which))
                self.most, self.batch_size = data.mixtures.n, len(which)
                total += self.learn(x if self.augment is None else self.augment(x, generator), target)
                if self.training.mean and self.steps % SMOOTH == 0:
                    self._average()
                now = time.perf_counter()
                due = now - told > 0.25 if self.ranks.size == 1 else step % 20 == 0  # alike in all processes
                if due or step == len(batches):
                    told, seen = now, min(step * self.training.batch_size, size)
                    if self._tell(epoch, seen, size, self.ranks.sum(total).tolist(), now - began, bar):
                        break
        (loss, right, notes), rate = self.ranks.sum(total).tolist(), seen / (time.perf_counter() - began)
        return {"train_loss": loss / seen, "train_recall": right / notes, RATE: rate, "share": seen / size}

    def _learn_in_parts(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Learn from this process's share of a batch, as `_learn_batch`, in as many parts as memory asks for."""
        while True:
            try:
                return self._learn_batch(x, target)
            except torch.OutOfMemoryError:
                if self.ranks.size > 1 or self.parts >= len(x):
                    raise
            torch.cuda.empty_cache()
            self.parts *= 2
            full = f"Memory is full: batches of {self.batch_size} are learned in {self.parts} parts from now on."
            tqdm.write(full, sys.stderr)

    def _learn_batch(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return a batch's summed loss, its notes that were right, and its notes."""
        self.optimizer.zero_grad(set_to_none=True)
        chunks = zip(x.chunk(self.parts), target.chunk(self.parts), strict=True)
        total = sum(self._learn(*chunk) for chunk in chunks)
        if self.training.l1:
            add_l1(self.model, self.training.l1)
        if self.training.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip)
        self.optimizer.step()
        return total

    def _learn(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Add the gradient of some mixtures of a batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            network = self.network if len(x) == self.training.batch_size else self.plain  # compiled for one size
            logits, auxiliary = network(x)
        logits = logits.float()
        loss = compute_loss(logits, target, self.training.loss)
        loss = loss + self.model.auxiliary_loss(auxiliary, target)
        share = len(x) * self.ranks.size / self.batch_size  # gradients are averaged over processes
        (loss if share == 1 else loss * share).backward()
        with torch.no_grad():
            return torch.stack([loss.detach() * len(x), count_right(logits, target, self.most), target.sum()])

    def _average(self) -> None:
        keep = min(self.training.mean, (1 + self.steps) / (10 + self.steps)) ** SMOOTH  # less at first
        for name, value in self.model.state_dict().items():
            before = self.kept[name].to(value.device)
            self.kept[name] = torch.lerp(value, before, keep) if value.is_floating_point() else value.clone()

    def _spent(self) -> float:
        return self.ranks.agree(self.before + time.perf_counter() - self.started)

    def _set_lr(self, done: float) -> None:
        lr = self.training.lr * min(1.0, self.steps / max(1, self.training.warm_up))
        if self.training.schedule == "cosine":
            if self.training.time_limit is not None:  # whichever ends the training
                done = max(done, self._spent() / self.training.time_limit)
            lr *= (1 + math.cos(math.pi * min(done, 1.0))) / 2
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(lr)  # where the recorded step finds it
            else:
                group["lr"] = lr

    def _tell(self, epoch: int, seen: int, size: int, total: list, seconds: float, bar) -> bool:  # noqa: ANN001
        """Show progress, check the loss, ask the callback; True to break off."""
        loss, recall = total[0] / seen, total[1] / total[2]
        self._check_finite(loss, f"epoch {epoch} after {seen} of {size} mixtures")
        rate = seen / seconds
        bar.set_postfix_str(f"{seen}/{size} loss {loss:.3f} recall {recall:.1%} {rate:,.0f} mixtures/s", False)
        self.curves.write((epoch - 1) * size + seen, {"loss/train": loss, "recall/train": recall})
        bar.refresh() if not bar.disable and bar.mininterval < 1 else bar.update(0)
        if self.training.time_limit is not None and self._spent() >= self.training.time_limit:
            return True  # a cosine has brought the learning rate to zero by now
        if self.callback is None:
            return False
        state = {"epoch": epoch, "epochs": self.training.epochs, "seen": seen, "size": size, "loss": loss}
        state |= {"recall": recall, RATE: rate, "history": self.rows, "model": self.model}
        if self.ranks.agree(self.ranks.rank == 0 and self.callback(state)):
            self.stopped = "by the callback"
            return True
        return False

    def _validate(self, epoch: int) -> dict:
        mine = self.ranks.share(torch.arange(len(self.valid)))
        logits, targets = self.ranks.join(*predict_all(self.model, self.valid, amp=self.training.amp, which=mine))
        loss = compute_loss(logits, targets, self.training.loss).item()
        self._check_finite(loss, f"the validation after epoch {epoch}")
        right, notes = hits(logits, targets), targets.sum(1)
        exact = (right == notes).float().mean().item()
        return {"valid_loss": loss, "valid_recall": right.sum().item() / notes.sum().item(), "valid_exact": exact}

    def _check_finite(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            kept = f" The last good epoch is in {self.folder.name}/." if self.folder and self.rows else ""
            raise FloatingPointError(
                f"The loss is {loss} in {where} (lr {self.training.lr:g}): lower the learning rate, "
                f"or look for notes that are not finite.{kept}"
            )

    def _judge(self, row: dict) -> None:
        """Keep the best, and decide whether to stop early."""
        value = row["valid_loss"]
        if math.isfinite(value):
            self.worse = 0 if value < self.best else self.worse + 1
            if value < self.best:
                self.best = value
                if self.training.restore_best:
                    self.kept = copy_weights(self.model)
                if self.folder is not None and self.ranks.rank == 0:
                    checkpoints.save_checkpoint(self.folder / "best", self.model, card=self._card())
        if self.training.patience is not None and self.worse >= self.training.patience:
            self.stopped = f"no better validation loss for {self.worse} validations"
        if self.training.time_limit is not None and row["seconds"] >= self.training.time_limit:
            self.stopped = f"time limit of {self.training.time_limit:g} s"

    def _card(self) -> dict:
        card = {name: getattr(self, name) for name in ("best", "worse", "stopped", "environment")}
        return {"training": asdict(self.training), "trained_on": self.on, "history": self.rows, **card}

    def _save(self, epoch: int) -> None:
        soon = time.perf_counter() - self.saved < self.training.save_every
        if self.folder is None or self.ranks.rank > 0 or (soon and epoch < self.training.epochs and not self.stopped):
            return
        self.saved = time.perf_counter()
        state = checkpoints.optimizer_tensors(self.optimizer)
        state |= {f"mean.{name}": value.cpu().contiguous() for name, value in self.kept.items() if self.training.mean}
        checkpoints.save_checkpoint(self.folder / "last", self.model, card=self._card(), extra=state)
        self._write_history()

    def _write_history(self) -> None:
        History(pd.DataFrame(self.rows), str(self.device)).to_csv(self.folder / "history.csv")

    def _resume(self) -> None:
        """Go on from ``last`` if it is there and of the same training."""
        last = None if self.folder is None else self.folder / "last.safetensors"
        if last is None or not last.is_file():
            return
        card = checkpoints.read_card(last)
        wanted = json.loads(json.dumps(asdict(self.training) | self.on))
        stated = asdict(Training()) | self.on | card["training"] | card.get("trained_on", {})  # older cards say less
        others = [name for name, value in wanted.items() if name not in FREE and value != stated.get(name)]
        differ = [f"{name} is {stated.get(name)!r} there, {wanted[name]!r} here" for name in others]
        if differ:
            raise ValueError(
                f"{self.folder} holds another training ({'; '.join(differ)}): choose another folder, or delete it to "
                "start anew."
            )
        if self.training.restore_best and math.isfinite(card["best"]):
            checkpoints.load_weights(self.model, self.folder / "best.safetensors")
            self.kept = copy_weights(self.model)
        checkpoints.load_weights(self.model, last)
        self.kept |= checkpoints.read_tensors(last, prefix="mean.")
        self.rows, self.best, self.worse = card["history"], card["best"], card["worse"]
        self.before = self.rows[-1]["seconds"]
        limits = (self.worse, self.training.patience), (self.before, self.training.time_limit)
        over = any(limit is not None and spent >= limit for spent, limit in limits)
        self.stopped = card["stopped"] if over else ""
        checkpoints.load_optimizer(self.optimizer, last)
        self._write_history()  # in case it was killed before


class _AllHeads(nn.Module):
    """A network with its auxiliary heads, which only training asks for."""

    def __init__(self, model: NoteClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return self.model.with_auxiliary(x)


def copy_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a network's weights and statistics on the CPU, for ``load_state_dict``."""
    return {name: values.detach().cpu().clone() for name, values in model.state_dict().items()}
