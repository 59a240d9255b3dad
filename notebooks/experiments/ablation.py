"""What each choice in PitchNet is worth: one change at a time, ``python notebooks/experiments/ablation.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from deeporch.features.augment import SpecAugment
from deeporch.features.constantq import ConstantQ
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.splits import Split, split
from deeporch.models.classifier import NoteClassifier
from deeporch.notes.library import NoteLibrary, load_library
from deeporch.recognition.train import EPOCH, make_tests, train
from deeporch.results import ROOT, Results, load_results
from deeporch.training.loop import History
from deeporch.training.prediction import evaluate
from deeporch.util.checks import check_choice
from deeporch.util.environment import describe_device, pick_device
from deeporch.util.progress import progress

EXPERIMENT = "07_steps"
SECOND = ConstantQ(frames=44)  # 1.01 s: what the shortest recordings hold
COLOURS = {"level": 6.0, "equalizer": 5.0}


Trained = tuple[nn.Module, History]


def train_averaged(notes: NoteLibrary, pools: Split, **options: object) -> Trained:
    """Train, and return the moving average of the weights [1]_, over about 50 calls of the callback.

    References
    ----------
    .. [1] B. T. Polyak, A. B. Juditsky: Acceleration of stochastic approximation by averaging, SIAM Journal on Control
       and Optimization, 1992.
    """
    kept: list[AveragedModel] = []

    def average(state: dict) -> None:
        model = state["model"]
        if not kept:
            kept.append(AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True))
        kept[0].update_parameters(model)

    _, history = train(notes, pools, callback=average, **options)
    return kept[0].module.eval(), history


def train_windows(notes: NoteLibrary, pools: Split, **options: object) -> Trained:
    """Train as ever, and answer with the mean over windows that begin later and later."""
    model, history = train(notes, pools, **options)
    return OverWindows(model).eval(), history


def train_distilled(notes: NoteLibrary, pools: Split, **options: object) -> Trained:
    """Train a teacher, then a second network of the same kind that learns from the notes and from the teacher [1]_.

    References
    ----------
    .. [1] T. Furlanello, Z. C. Lipton, M. Tschannen, L. Itti, A. Anandkumar: Born-again neural networks, ICML 2018.
    """
    teacher, _ = train(notes, pools, **options)
    wrapped = partial(Distilled, teacher=teacher)
    model, history = train(notes, pools, wrap=wrapped, **options)
    return model.inner.eval(), history


class Wrapped(NoteClassifier):
    """A network around another: it has its classes and features, and is trained and evaluated like it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config
        self.classes, self.features, self.card = inner.classes, inner.features, inner.card


class OverWindows(Wrapped):
    """The mean of a network's outputs over windows that begin 0, 0.1 and 0.2 s into the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, 1, bins, frames] to logits [batch, classes]."""
        return torch.stack([self.inner(x[..., first:]) for first in (0, 4, 8)]).mean(0)


class Distilled(Wrapped):
    """A network in training whose loss has a second part: the distance of its answers from a teacher's."""

    def __init__(self, student: nn.Module, teacher: nn.Module, share: float = 0.5) -> None:
        super().__init__(student)
        self.teacher, self.share = teacher.requires_grad_(False), share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, 1, bins, frames] to the student's logits [batch, classes]."""
        return self.inner(x)

    def with_auxiliary(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple]:
        """Return the student's logits, and what its loss needs besides."""
        logits, auxiliary = self.inner.with_auxiliary(x)
        return logits, (auxiliary, logits, self.teacher.eval()(x))

    def auxiliary_loss(self, auxiliary: tuple, target: torch.Tensor) -> torch.Tensor:
        """Return the student's auxiliary loss and its divergence from the teacher, in nats."""
        heads, logits, taught = auxiliary
        apart = functional.kl_div(logits.log_softmax(1), taught.log_softmax(1), reduction="batchmean", log_target=True)
        return self.inner.auxiliary_loss(heads, target) + self.share * apart


@dataclass(frozen=True)
class Step:
    """One change against the network that `STEPS` begins with: options of `train`, or another way to train."""

    name: str
    options: dict[str, object] = field(default_factory=dict)
    how: Callable[..., Trained] = train


STEPS = (
    Step("as it is"),
    Step("1 s window", {"features": SECOND}),
    Step("durations", {"recolour": {"stretch": 2.5}}),
    Step("neighbours", {"recolour": {"transpose": 2}}),
    Step("level and equalizer", {"recolour": COLOURS}),
    Step("level, equalizer, detuning", {"recolour": {**COLOURS, "detune": 0.3}}),
    Step("noise and room", {"recolour": {"noise": 0.3, "room": 1.0}}),
    Step("SpecAugment", {"augment": SpecAugment(frequency=0.1, time=0.2)}),
    Step("binary cross-entropy", {"loss": "bce"}),
    Step("focal loss", {"loss": "focal"}),
    Step("asymmetric loss", {"loss": "asymmetric"}),
    Step("no auxiliary heads", {"network": {"auxiliary": 0.0}}),
    Step("36 bins an octave", {"features": "cqt36"}),
    Step("harmonics 1 to 5", {"network": {"harmonics": (1, 2, 3, 4, 5)}}),
    Step("harmonics to 12", {"network": {"harmonics": (0.5, *range(1, 13))}}),
    Step("half the width", {"network": {"width": 48, "hidden": 24, "channels": 16}}),
    Step("1.5 x the width", {"network": {"width": 144, "hidden": 72, "channels": 48}}),
    Step("blocks of an octave", {"network": {"reach": 25}}),
    Step("one block", {"network": {"blocks": 1}}),
    Step("five blocks", {"network": {"blocks": 5}}),
    Step("five notes only", {"n": (5, 5)}),
    Step("few notes first", {"curriculum": 8}),
    Step("L2 1e-5", {"l2": 1e-5}),
    Step("averaged weights", how=train_averaged),
    Step("averaged windows", how=train_windows),
    Step("self-distillation", how=train_distilled),
)


def take_step(
    step: Step, notes: NoteLibrary, pools: Split, *, epochs: int, seed: int = 0, device: str = "auto"
) -> Trained:
    """Train a PitchNet with one change, for some epochs of 4,096 mixtures; return it and its history."""
    return step.how(notes, pools, minutes=None, epochs=epochs, seed=seed, device=device, **step.options)


def run_steps(
    notes: NoteLibrary,
    other: NoteLibrary | None,
    *,
    steps: Sequence[Step] = STEPS,
    epochs: int = 12,
    seed: int = 0,
    test: int = 1000,
    device: str = "auto",
    folder: str | Path = ROOT / "figures",
) -> Path:
    """Train and score every step that the table in a folder does not have yet; the table is written after each."""
    pools = split(notes, Classes(notes), by="recording", seed=seed)
    tests = make_tests(notes, pools, other=other, size=test)
    results = Results(EXPERIMENT, data=notes, profile=f"{epochs} epochs", device=describe_device(pick_device(device)))
    path = Path(folder) / f"{EXPERIMENT}.csv"
    if path.is_file():
        results.parts.append(load_results(EXPERIMENT, folder))
    done = set() if not results.parts else set(results.table["setting"])
    for step in progress([s for s in steps if s.name not in done], desc="steps", unit="step"):
        model, history = take_step(step, notes, pools, epochs=epochs, seed=seed, device=device)
        weights = sum(p.numel() for p in model.parameters())
        for name, sets in tests.items():
            mixtures = next(m for m in sets if m.n == 5)
            results.add(
                evaluate(model, mixtures, device=device), mixtures, setting=step.name, model="pitchnet", split=name,
                seed=seed, history=history, train_mixtures=EPOCH * epochs, curves=False,
                more=[("weights", "", weights)],
            )  # fmt: skip
        path = results.save(folder)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps that were asked for."""
    parser = argparse.ArgumentParser(prog="python notebooks/experiments/ablation.py", description=__doc__)
    add = parser.add_argument
    add("steps", nargs="*", metavar="STEP", help="names of STEPS (default: all)")
    add("--library", default="default", help="soundfont, philharmonia, … (default: $DEEPORCH_LIBRARY, or soundfont)")
    add("--root", default=None, help="folder of its recordings")
    add("--pitches", default=None, help="philharmonia: named or sounding")
    add("--other", default=None, help="folder of other takes, only to test on")
    add("--epochs", type=int, default=12, help="of 4,096 mixtures")
    add("--seed", type=int, default=0)
    add("--device", default="auto")
    add("--folder", default=ROOT / "figures", help="where the table goes")
    options = parser.parse_args(arguments)
    try:
        steps = [
            next(s for s in STEPS if s.name == check_choice(n, [s.name for s in STEPS], "step")) for n in options.steps
        ]
        filters = {"pitches": options.pitches} if options.pitches else {}
        notes = load_library(options.library, root=options.root, **filters)
        other = load_library(notes.name, root=options.other, **filters) if options.other else None
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    chosen = {"steps": steps or STEPS, "epochs": options.epochs, "seed": options.seed, "device": options.device}
    print(f"written: {run_steps(notes, other, folder=options.folder, **chosen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
