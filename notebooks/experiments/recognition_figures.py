"""Figures and sounds of notebook 07: what the recognizer sees, how sure it is, what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import nn

from deeporch.features.constantq import ConstantQ
from deeporch.features.mel import Mel
from deeporch.metrics import reliability
from deeporch.notes.library import NoteLibrary
from deeporch.plots.recognition import TESTS
from deeporch.plots.theme import BLUE, GREY, ink, style
from deeporch.recognition.calibration import Calibration
from deeporch.util.compiled import librosa


@style()
def constantq_picture(ax: Axes, picture: torch.Tensor, features: ConstantQ) -> None:
    """Draw one constant-Q [bins, frames], 0 to 1, over seconds and pitch."""
    seconds = features.frames * features.hop / features.sample_rate
    image = ax.imshow(
        -features.floor_db * (picture.squeeze().numpy() - 1), origin="lower", aspect="auto", cmap="magma",
        extent=(0, seconds, -0.5, features.bins - 0.5), vmin=features.floor_db, vmax=0,
    )  # fmt: skip
    octaves = range(1, features.octaves + 1)
    ax.set_yticks([(12 * o - 9) * features.bins_per_octave // 12 for o in octaves], [f"C{o}" for o in octaves])
    ax.set(xlabel="time / s", ylabel="pitch")
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label="level / dB", pad=0.01)


@style()
def low_semitone(axes: Sequence[Axes], notes: NoteLibrary, *, lowest: int = 36) -> None:
    """Draw two low notes of one instrument, a semitone apart, as mel bands (left) and on a constant-Q (right)."""
    table = notes.table[notes.table["midi"] >= lowest].drop_duplicates(["instrument", "midi"]).sort_values("midi")
    first = table[(table["midi"] + 1).isin(table["midi"])].iloc[0]
    pair = table[(table["instrument"] == first["instrument"]) & table["midi"].isin((first["midi"], first["midi"] + 1))]
    for ax, features, shown in zip(axes, (Mel(), ConstantQ()), (24, 120), strict=True):
        for row in pair.itertuples():
            picture = features(notes.audio[[row.Index]].float())[0, 0].mean(1)[:shown]
            ax.plot(picture / picture.max(), marker=".", label=f"{row.instrument} {row.pitch}")
        ax.set(ylabel="level / maximum")
        ax.legend()
    axes[0].set(title="128 mel bands", xlabel="mel band")
    axes[1].set(title="constant-Q, in decibels", xlabel="bin (24 an octave from A0)")


@style()
def changed_pictures(axes: Sequence[Axes], pictures: dict[str, torch.Tensor]) -> None:
    """Draw pictures [1, bins, frames] beside each other, by name."""
    for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
        ax.imshow(picture[0], origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=1)
        ax.set_title(fill(name, 18), fontsize=8)
        ax.set_xlabel("frame")
        ax.grid(False)
    axes[0].set_ylabel("constant-Q bin")


def recall_table(table: pd.DataFrame, *, rows: str = "split", columns: str = "n") -> pd.DataFrame:
    """Return top-N recall in percent, mean over seeds: by test and N, or by any two of a `Results` table's labels."""
    found = table[table["quantity"] == "top_n_recall"].pivot_table(
        index=rows, columns=columns, values="value", sort=False
    )
    return (100 * found).rename(columns=str, index=_test_name).rename(columns=_test_name).round(1)


def _test_name(split: str) -> str:
    name, comma, rest = split.partition(",")
    return TESTS.get(name, (name,))[0] + comma + rest


@style()
def reliability_picture(ax: Axes, logits: torch.Tensor, targets: torch.Tensor, calibration: Calibration) -> None:
    """Draw how often a note is there against the probability that was given, raw and calibrated."""
    for name, colour, marker, used in (
        ("as trained", GREY, "s", type(calibration)()),
        ("calibrated", BLUE, "o", calibration),
    ):
        probabilities = used.probabilities(logits)
        kept = probabilities >= 0.01
        found = reliability(probabilities[kept], targets[kept], bins=12)
        ax.plot(found["probability"], found["share"], marker=marker, color=colour, label=name)
    ax.plot([0, 1], [0, 1], "--", color=ink(), linewidth=1)
    ax.set(xlabel="probability given", ylabel="share that is there", xlim=(0, 1), ylim=(0, 1))
    ax.legend(fontsize=9)


def recall_by_level(ax: Axes, heard: torch.Tensor, level: torch.Tensor, *, bins: int = 8) -> None:
    """Draw the share of notes found against their level in their mixture, in bins of equally many notes."""
    order = level.flatten().argsort()
    levels, found = (x.flatten()[order].double().tensor_split(bins) for x in (level, heard))
    ax.plot([x.mean() for x in levels], [100 * x.mean() for x in found], marker="o", color=BLUE)
    ax.set(xlabel="level against the mixture's mean / dB", ylabel="notes found / %", ylim=(0, 105))


def attribution(model: nn.Module, x: torch.Tensor, index: int) -> torch.Tensor:
    """Return what one class's logit owes to each point of a picture: gradient x input, summed over time."""
    model.eval()
    x = x.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(x)[0, index], x)
    return (gradient * x).detach().sum(3)[0, 0]


@style()
def attribution_picture(ax: Axes, model: nn.Module, x: torch.Tensor, index: int) -> None:
    """Draw `attribution` over the constant-Q's bins, with the class's own partials as dashed lines."""
    owed = attribution(model, x, index).cpu().numpy()
    ax.fill_between(range(len(owed)), owed, color=BLUE, linewidth=0)
    features, note = model.features, model.classes.table.iloc[index]
    fundamental = features.bins_per_octave * (note["midi"] - 21) / 12
    for partial in range(1, 9):
        place = fundamental + features.bins_per_octave * np.log2(partial)
        ax.axvline(place, linestyle="--", linewidth=0.7, color=ink())
    ax.set(xlabel=f"constant-Q bin ({features.bins_per_octave} an octave from A0)", ylabel="gradient x input")
    ax.set_title(model.classes.names[index])


def listen(picture: torch.Tensor, features: ConstantQ, *, iterations: int = 8, seed: int = 0) -> torch.Tensor:
    """Return a sound whose constant-Q looks like a picture, so that changes to pictures can be heard."""
    level = picture.squeeze(0).double().numpy()
    magnitude = np.where(level > 0, 10 ** (-features.floor_db * (level - 1) / 20), 0)
    sound = librosa.griffinlim_cqt(
        magnitude, n_iter=iterations, sr=features.sample_rate, hop_length=features.hop, fmin=features.fmin,
        bins_per_octave=features.bins_per_octave, length=features.samples, random_state=seed,
    )  # fmt: skip
    return torch.from_numpy(sound.astype(np.float32))
