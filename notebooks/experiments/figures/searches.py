"""Figures of notebook 09: methods, validation of distances, recovery, cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from deeporch.plots.theme import BLUE, GREY, ORANGE, SKY, style

from .study import heat_map

METHODS = (
    "best single note", "random", "network only", "orthogonal pursuit", "pursuit", "pursuit + refinement",
    "plain genetic", "ours",
)  # fmt: skip

RATIOS = (0.1, 10.0)  # between which a ratio is drawn


def method_map(ax: Axes, table: pd.DataFrame) -> None:
    """Write the mean distance of each method under each measure, relative to the plain genetic algorithm's."""
    means = relative(table).groupby(["method", "measure"], sort=False)["relative"].mean().unstack("measure")
    means = means.loc[[name for name in METHODS if name in means.index]]
    ax.imshow(means.to_numpy().clip(0.5, 1.5), cmap="PuOr_r", vmin=0.5, vmax=1.5, aspect="auto")
    for (i, j), value in np.ndenumerate(means.to_numpy()):
        strong = abs(min(max(value, 0.5), 1.5) - 1) > 0.38
        weight = "bold" if means.index[i] == "ours" else "normal"
        text = "–" if np.isnan(value) else f"{value:.2f}"
        ax.text(j, i, text, ha="center", va="center", color="white" if strong else "black", weight=weight)
    ax.set_xticks(range(means.shape[1]), [name.replace("_", "\n") for name in means], fontsize=9)
    ax.set_yticks(range(means.shape[0]), means.index)
    ax.grid(False)
    counts, seeds = sorted(set(table.groupby("measure")["target"].nunique())), table["seed"].nunique()
    of = " or ".join(map(str, counts)) + " targets" + (f" and {seeds} seeds" if seeds > 1 else "")
    ax.set_title(f"distance / a genetic algorithm's, {of}; ours: a tenth of its evaluations")


def budget_lines(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the mean distance against the seconds that a search may take, a line a method."""
    means = table.groupby(["setting", "seconds"], sort=False)["value"].mean()
    for (name, part), colour, above in zip(means.groupby(level=0, sort=False), (ORANGE, BLUE), (6, -13), strict=False):
        part = part.droplevel(0).sort_index()
        ax.plot(part.index, part, marker="o", color=colour, label=name)
        ax.annotate(f"{part.iloc[-1]:.3f}", (part.index[-1], part.iloc[-1]), xytext=(0, above), ha="center",
                    textcoords="offset points", fontsize=8)  # fmt: skip
    ax.set(xscale="log", xlabel="seconds allowed", ylabel="mean distance")
    _plain_ticks(ax.xaxis, sorted(table["seconds"].unique()))
    ax.margins(0.15)
    ax.legend(fontsize=8)


def relative(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column `relative`: each distance divided by the plain genetic algorithm's mean."""
    keys = ["target", "measure"]
    plain = table[table["method"] == "plain genetic"].groupby(keys)["distance"].mean().rename("plain")
    joined = table.join(plain, on=keys)
    return joined.assign(relative=joined["distance"] / joined["plain"])


def verdict_map(ax: Axes, table: pd.DataFrame) -> None:
    """Draw, for each distance and alternative, the share of cases in which the true notes win, in percent."""
    shares = 100 * table.pivot_table(index="setting", columns="item", values="value", sort=False)
    heat_map(ax, shares, label="true notes win / %", vmax=100)


def recovery_bars(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the share of a mixture's notes that were found again by N, in the library and held out."""
    means = 100 * table.pivot_table(index="n", columns="setting", values="value", sort=False)
    place = np.arange(len(means))
    width = 0.84 / len(means.columns)
    for i, name in enumerate(means):
        offset = (i - (len(means.columns) - 1) / 2) * width
        colour = (BLUE, ORANGE, SKY)[i % 3]
        bars = ax.bar(place + offset, means[name], 0.95 * width, color=colour, label=name)
        ax.bar_label(bars, fmt="{:.0f}", fontsize=7)
    ax.set_xticks(place, means.index)
    ax.set(xlabel="notes in the mixture, N", ylabel="notes found again / %", ylim=(0, 112))
    ax.legend(fontsize=8, ncols=1, loc="lower left", bbox_to_anchor=(0, 1))


def independent_strip(ax: Axes, table: pd.DataFrame) -> None:
    """Draw, for each measure, how far ours is from each target beside the best single note: a line a target."""
    pairs = table.pivot_table(index=["model", "item"], columns="setting", values="value", sort=False)
    ratio = (pairs["ours"] / pairs["best single note"]).clip(*RATIOS)
    names = list(dict.fromkeys(ratio.index.get_level_values("model")))
    for place, name in enumerate(names):
        values = ratio[name]
        nearer = values < 1
        for chosen, colour in ((nearer, BLUE), (~nearer, ORANGE)):
            ax.plot(values[chosen], np.full(chosen.sum(), place), "|", color=colour, markersize=9)
        ax.annotate(f"nearer on {nearer.sum()} of {len(values)}", (1, place), xycoords=("axes fraction", "data"),
                    xytext=(6, -3), textcoords="offset points", fontsize=9)  # fmt: skip
    ax.axvline(1, color=GREY, linewidth=1)
    ax.set(xscale="log", xlim=(RATIOS[0] / 1.2, RATIOS[1] * 1.2), ylim=(len(names) - 0.5, -0.5))
    ax.set(xlabel="distance from the target / the best single note's (each line a target)")
    _plain_ticks(ax.xaxis, (0.1, 0.25, 0.5, 1, 2, 4, 10))
    ax.set_yticks(range(len(names)), names)
    ax.set_title("ours (combined) by measures; the search limits the first four")


def cost_curve(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the seconds of a search against the size of the library, a line an orchestra."""
    for name, part in table.groupby("setting", sort=False):
        part = part.sort_values("n")
        ax.plot(part["n"], part["value"], marker="o", label=name)
        ax.annotate(f"{part['value'].iloc[-1]:.1f}", (part["n"].iloc[-1], part["value"].iloc[-1]), xytext=(6, -3),
                    textcoords="offset points", fontsize=8)  # fmt: skip
    ax.set(xscale="log", xlabel="notes in the library", ylabel="processor's seconds")
    ax.set_ylim(0)
    _plain_ticks(ax.xaxis, sorted(table["n"].unique()))
    ax.legend(fontsize=8)


def _plain_ticks(axis: Axis, places: Sequence[float]) -> None:
    """Mark a logarithmic axis at the measured places only."""
    axis.set_ticks(places, [f"{place:,g}" if place < 1e4 else f"{place:,.0f}" for place in places])
    axis.set_minor_locator(NullLocator())


def draw_orchestrations(table: pd.DataFrame) -> Figure:
    """Draw notebook 09: methods by distance; validation; recovery; independent measures; the cost of a search."""
    with style():
        figure = Figure(figsize=(9.6, 12))
        above, middle, beside, below = figure.subfigures(4, 1, height_ratios=(1, 1, 0.7, 0.8))
        methods = table[table["quantity"] == "distance"]
        methods = methods[methods["model"] != ""].dropna(subset="model")
        if len(methods):
            methods = methods.rename(columns={"item": "target", "setting": "method", "model": "measure"})
            method_map(above.subplots(), methods.rename(columns={"value": "distance"}))
        validation, recovery = middle.subplots(1, 2, width_ratios=(1, 1))
        verdict_map(validation, table[(table["quantity"] == "true_wins") & (table["n"] == 0)])
        validation.set_title("true notes against …")
        recovery_bars(recovery, table[table["quantity"] == "recall"])
        if len(independent := table[table["quantity"] == "independent"]):
            independent_strip(beside.subplots(), independent)
        time, cost = below.subplots(1, 2)
        budget_lines(time, table[table["quantity"] == "distance_in_time"])
        time.set_title("distance in time")
        cost_curve(cost, table[table["quantity"] == "search_seconds"])
        cost.set_title("one search")
        labels = (", ".join(sorted(table[label].unique())) for label in ("data", "device", "profile"))
        figure.supxlabel("{}, on {} (profile {})".format(*labels), fontsize=8, color=GREY)
    return figure


FIGURES = {"09_comparing_searches": draw_orchestrations}
