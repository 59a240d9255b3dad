"""Figures of the recognizer: what it recognises, what each choice is worth, how sure it is, what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from deeporch.features.constantq import ConstantQ
from deeporch.features.mel import Mel
from deeporch.metrics import reliability
from deeporch.notes.library import NoteLibrary
from deeporch.plots.theme import BLUE, GREEN, GREY, ORANGE, halo, ink, style
from deeporch.recognition.calibration import Calibration
from deeporch.results import published_value
from deeporch.util.compiled import librosa

from .study import curve
from .tables import caption

if TYPE_CHECKING:
    pass

STUDY = "05_mixtures_2_3_5_10"
TESTS = {  # split: (name, colour, marker)
    "mixture": ("seen recordings", BLUE, "o"),
    "recording": ("another dynamic, unseen", ORANGE, "s"),
    "other takes": ("other takes, unseen", GREEN, "^"),
}
PLACES = {"mixture": (0, 8), "other takes": (13, 2), "recording": (-4, -9)}  # of the numbers, in points
GOALS = {  # what we set out for, by N
    "mixture": {2: 0.99, 3: 0.98, 5: 0.95, 10: 0.85},
    "recording": {2: 0.97, 3: 0.95, 5: 0.91, 10: 0.78},
    "other takes": {2: 0.93, 3: 0.88, 5: 0.80, 10: 0.65},
}


def recall_on_tests(ax: Axes, table: pd.DataFrame, *, goals: bool = True) -> None:
    """Draw top-N recall against N on each test, with the study's published values and the goals."""
    rows = table[table["quantity"] == "top_n_recall"]
    for split, (name, colour, marker) in TESTS.items():
        part = rows[rows["split"] == split].groupby("n")["value"].mean()
        if len(part):
            ax.plot(part.index, 100 * part, color=colour, marker=marker, label=name)
            for n, value in part.items():
                ax.annotate(
                    f"{100 * value:.0f}", (n, 100 * value), xytext=PLACES[split], textcoords="offset points",
                    ha="center", va="center", fontsize=8, color=colour, path_effects=halo(),
                )  # fmt: skip
            if goals:
                ax.plot(GOALS[split].keys(), [100 * v for v in GOALS[split].values()], ":", color=colour, linewidth=1)
    if goals:
        ax.plot([], [], ":", color=GREY, linewidth=1, label="goal")
    numbers = sorted(rows["n"].unique())
    study = [100 * published_value(STUDY, n=n) for n in numbers]
    ax.plot(numbers, study, "D--", color=ink(), markersize=4, linewidth=1, label="the study (seen)")
    ax.set(xlabel="notes in a mixture, N", ylabel="notes recognised / %", ylim=(0, 105))
    ax.set_xscale("log")
    ax.set_xticks(numbers, numbers)
    ax.minorticks_off()
    ax.legend(fontsize=8, loc="lower left")


def draw_recognizer(table: pd.DataFrame) -> Figure:
    """Draw a long training: recall by N on each test, exact matches, and the learning curve."""
    with style():
        figure = Figure(figsize=(11, 4.2))
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1, 1.2))
        recall_on_tests(left, table)
        left.set_title("PitchNet: which N notes?")
        exact = table[table["quantity"] == "exact_match"]
        for split, (_, colour, marker) in TESTS.items():
            part = exact[exact["split"] == split].groupby("n")["value"].mean()
            middle.plot(part.index, 100 * part, color=colour, marker=marker)
        middle.set(xlabel="notes in a mixture, N", ylabel="mixtures all right / %", ylim=(0, 105))
        middle.set_xticks(sorted(exact["n"].unique()))
        middle.set_title("all N right")
        curve(right, table, "train_recall", color=BLUE, label="training, 1–10 notes")
        curve(right, table, "valid_recall", color=ORANGE, marker=".", label="another dynamic, N = 5")
        right.set_title("learning curve")
        right.set_xlabel("epoch of 4,096 new mixtures")
        right.legend(fontsize=8, loc="lower right")
        caption(figure, table)
    return figure


def draw_five_minutes(table: pd.DataFrame) -> Figure:
    """Draw what a few minutes of training reach, beside the study."""
    with style():
        figure = Figure(figsize=(6, 3.8))
        ax = figure.subplots()
        recall_on_tests(ax, table, goals=False)
        minutes = table["seconds"].max() / 60
        ax.set_title(f"PitchNet after {minutes:.0f} minutes on {table['device'].iloc[0]}")
        caption(figure, table)
    return figure


def draw_steps(table: pd.DataFrame) -> Figure:
    """Draw what each change is worth: recall at N = 5 on each test, and the unchanged network as lines."""
    rows = table[table["quantity"] == "top_n_recall"].pivot_table(
        index="setting", columns="split", values="value", sort=False
    )
    with style():
        figure = Figure(figsize=(9, 0.5 + 0.28 * len(rows)))
        ax = figure.subplots()
        for split, (name, colour, marker) in TESTS.items():
            if split in rows:
                ax.plot(100 * rows[split], np.arange(len(rows)), marker, color=colour, label=name)
                ax.axvline(100 * rows[split].iloc[0], color=colour, linewidth=1, linestyle=":")
        ax.set_yticks(range(len(rows)), rows.index)
        ax.invert_yaxis()
        ax.set(xlabel="notes recognised at N = 5 / %")
        ax.legend(ncols=3, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
        caption(figure, table)
    return figure


def draw_other_libraries(table: pd.DataFrame) -> Figure:
    """Draw recall by N of networks on libraries that they were not trained on: a panel a network."""
    rows = table[table["quantity"] == "top_n_recall"]
    with style():
        figure = Figure(figsize=(11, 3.8))
        panels = figure.subplots(1, rows["setting"].nunique(), sharey=True, squeeze=False)[0]
        for ax, (setting, part) in zip(panels, rows.groupby("setting", sort=False), strict=True):
            for split, line in part.groupby("split", sort=False):
                dotted = ":" if "without" in split else "-"
                ax.plot(line["n"], 100 * line["value"], marker="o", linestyle=dotted, label=split)
            ax.set(xlabel="notes in a mixture, N", ylim=(0, 105))
            ax.set_title(f"trained: {setting}")
            ax.set_xticks(sorted(part["n"].unique()))
            ax.legend(fontsize=8)
        panels[0].set_ylabel("notes recognised / %")
        figure.supxlabel(
            f"notes of the network's classes only; {rows['test_mixtures'].max():,} mixtures a test; on "
            f"{', '.join(sorted(rows['device'].unique()))}", fontsize=8, color=GREY,
        )  # fmt: skip
    return figure


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


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "five_minutes": draw_five_minutes,
    "07_recognizer": draw_recognizer,
    "07_steps": draw_steps,
    "07_other_libraries": draw_other_libraries,
}
