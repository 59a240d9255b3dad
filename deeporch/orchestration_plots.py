"""Figures of orchestrations: methods, validation of distances, recovery, cost; spectra with their partials."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import plots
from .partials import find_partials
from .solutions import Solution

METHOD_COLOURS = {
    "best single note": plots.GREY, "random": "#bbbbbb", "orthogonal pursuit": plots.SKY, "pursuit": plots.YELLOW,
    "pursuit + refinement": plots.ORANGE, "network only": plots.PINK, "plain genetic": plots.RED, "ours": plots.BLUE,
}  # fmt: skip


def method_bars(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the mean distance of each method under each measure, relative to the plain genetic algorithm's."""
    means = relative(table).groupby(["measure", "method"], sort=False)["relative"].mean().unstack("method")
    means = means[[name for name in METHOD_COLOURS if name in means]]
    place, width = np.arange(len(means)), 0.85 / max(len(means.columns), 1)
    for i, name in enumerate(means):
        offset = (i - (len(means.columns) - 1) / 2) * width
        ax.bar(place + offset, means[name], width, color=METHOD_COLOURS[name], label=name)
    ax.axhline(1, color="black", linewidth=1, linestyle="--")
    ax.set_xticks(place, [name.replace("_", "\n") for name in means.index], fontsize=8)
    ax.set_ylim(0, min(3.0, 1.05 * float(np.nanmax(means.to_numpy()))))
    ax.set(ylabel="distance / plain genetic's")
    ax.legend(fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))


def relative(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column `relative`: each distance divided by the plain genetic algorithm's."""
    keys = ["target", "measure"]
    plain = table[table["method"] == "plain genetic"].set_index(keys)["distance"].rename("plain")
    joined = table.join(plain, on=keys)
    return joined.assign(relative=joined["distance"] / joined["plain"])


def verdict_map(ax: Axes, table: pd.DataFrame) -> None:
    """Draw, for each distance and alternative, the share of cases in which the true notes win, in percent."""
    shares = 100 * table.pivot_table(index="setting", columns="item", values="value", sort=False)
    plots.heat_map(ax, shares, label="true notes win / %", vmax=100)


def recovery_bars(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the share of a mixture's notes that were found again by N, in the library and held out."""
    means = 100 * table.pivot_table(index="n", columns="setting", values="value", sort=False)
    place = np.arange(len(means))
    for i, name in enumerate(means):
        colour = (plots.BLUE, plots.ORANGE)[i % 2]
        bars = ax.bar(place + 0.4 * i - 0.2, means[name], 0.38, color=colour, label=name)
        ax.bar_label(bars, fmt="{:.0f}", fontsize=8)
    ax.set_xticks(place, means.index)
    ax.set(xlabel="notes in the mixture, N", ylabel="notes found again / %", ylim=(0, 112))
    ax.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def cost_curve(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the seconds of a search against the size of the library, a line an orchestra."""
    for name, part in table.groupby("setting", sort=False):
        part = part.sort_values("n")
        ax.plot(part["n"], part["value"], marker="o", label=name)
    ax.set(xscale="log", yscale="log", xlabel="notes in the library", ylabel="seconds")
    ax.legend(fontsize=8)


def draw_orchestrations(table: pd.DataFrame) -> Figure:
    """Draw notebook 08: methods under each distance; validation of distances; recovery; the cost of a search."""
    with plots.style():
        figure = Figure(figsize=(10, 8.5))
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
        methods = table[table["quantity"] == "distance"]
        if len(methods):
            methods = methods.rename(columns={"item": "target", "setting": "method", "model": "measure"})
            method_bars(above.subplots(), methods.rename(columns={"value": "distance"}))
        validation, recovery, cost = below.subplots(1, 3, width_ratios=(1.6, 1, 1))
        verdict_map(validation, table[(table["quantity"] == "true_wins") & (table["n"] == 0)])
        validation.set_title("true notes against …")
        recovery_bars(recovery, table[table["quantity"] == "recall"])
        cost_curve(cost, table[table["quantity"] == "search_seconds"])
        cost.set_title("one search")
        labels = (", ".join(sorted(table[label].unique())) for label in ("data", "device", "profile"))
        figure.supxlabel("{}, on {} (profile {})".format(*labels), fontsize=8, color=plots.GREY)
    return figure


def draw_match(target: np.ndarray, solution: Solution) -> Figure:
    """Draw the spectra of a target and a solution over each other, their common partials marked."""
    import torch

    rate = solution.library.sample_rate
    sounds = {"target": np.asarray(target, dtype=np.float32), "solution": solution.render()}
    partials = {name: find_partials(torch.from_numpy(x), rate, threshold=0.02)[0] for name, x in sounds.items()}
    near = [p for p in partials["target"] if len(partials["solution"]) and np.abs(partials["solution"] - p).min() < 0.5]
    with plots.style():
        figure = Figure(figsize=(10, 3.2))
        ax = figure.subplots()
        for (name, sound), colour in zip(sounds.items(), (plots.GREY, plots.BLUE), strict=True):
            n = 1 << (len(sound) - 1).bit_length()
            magnitude = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n))
            hertz = np.arange(len(magnitude)) * rate / n
            keep = (hertz > 40) & (hertz < 8000)
            level = 20 * np.log10(np.maximum(magnitude, 1e-9) / magnitude.max())
            ax.plot(hertz[keep], np.maximum(level[keep], -80), color=colour, linewidth=0.8, alpha=0.8, label=name)
        marks = 440 * 2 ** ((np.array(near) - 69) / 12)
        ax.plot(marks, np.full(len(marks), 3.0), "v", color=plots.RED, markersize=5, label="matched partial")
        ax.set(xscale="log", xlabel="frequency / Hz", ylabel="level / dB", ylim=(-80, 8))
        ax.set_title(f"{len(near)} of {len(partials['target'])} partials of the target are matched")
        ax.legend(fontsize=8, ncols=3, loc="lower left")
    return figure
