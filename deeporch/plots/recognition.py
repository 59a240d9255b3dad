"""Figures of the recognizer: what it recognises, what each choice is worth, how sure it is, what it looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results import published_value
from .tables import caption
from .theme import BLUE, GREEN, GREY, ORANGE, curve, halo, ink, style

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


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "five_minutes": draw_five_minutes,
    "07_recognizer": draw_recognizer,
    "07_steps": draw_steps,
    "07_other_libraries": draw_other_libraries,
}
