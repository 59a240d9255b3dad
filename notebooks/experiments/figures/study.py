"""Figures of the study: notebooks 01 to 06."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deeporch.plots.theme import BLUE, COLOURS, GREY, ORANGE, SPLIT_COLOURS, SPLIT_NAMES, halo, ink, style
from deeporch.results import load_results, published, published_value

from .tables import LABELS, SEARCHED, by_test, caption, describe


def curve(ax: Axes, table: pd.DataFrame, quantity: str, **line: object) -> None:
    """Draw one learning curve over epochs: mean over seeds, and their range as a band."""
    rows = table[table["quantity"] == f"curve_{quantity}"]
    scale = 100 if quantity.endswith("recall") else 1
    by_epoch = rows.assign(epoch=rows["item"].astype(int)).groupby("epoch")["value"]
    mean, low, high = (scale * f for f in (by_epoch.mean(), by_epoch.min(), by_epoch.max()))
    (drawn,) = ax.plot(mean.index, mean, **line)
    if rows["seed"].nunique() > 1:
        ax.fill_between(mean.index, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    ax.set(xlabel="epoch", ylabel="notes recognised / %" if scale == 100 else "loss / nats")
    ax.xaxis.get_major_locator().set_params(integer=True)


def published_line(ax: Axes, value: float, label: str = "the study") -> None:
    """Draw a published value, 0 to 1, as a dashed line with its percentage."""
    ax.axhline(100 * value, color=ink(), linestyle="--", linewidth=1)
    ax.annotate(
        f"{label}: {100 * value:.1f} %", (1, 100 * value), xycoords=("axes fraction", "data"),
        ha="right", va="bottom", fontsize=9,
    )  # fmt: skip


def instrument_accuracy(table: pd.DataFrame, *, by: str = "split") -> pd.DataFrame:
    """Return accuracy, 0 to 1, of each instrument (rows) for each split or N (columns), summed over seeds."""
    counts = table[table["quantity"].isin(["right", "occurring"])]
    counts = counts.pivot_table(index=["item", by], columns="quantity", values="value", aggfunc="sum", sort=False)
    return (counts["right"] / counts["occurring"]).unstack(by)


def instrument_spread(table: pd.DataFrame) -> pd.DataFrame:
    """Return the standard deviation over seeds of `instrument_accuracy` by split; NaN where there is one seed."""
    seeds = pd.concat({seed: instrument_accuracy(part) for seed, part in table.groupby("seed")}, names=["seed"])
    return seeds.groupby("item", sort=False).std()


def instrument_bars(ax: Axes, table: pd.DataFrame, *, published: dict[str, float] | None = None) -> None:
    """Draw accuracy by instrument, a bar a split, its spread over seeds, and the study's values where there are any."""
    accuracy = instrument_accuracy(table)
    spread = instrument_spread(table).reindex(accuracy.index)
    splits = [name for name in dict.fromkeys((*SPLIT_NAMES, *accuracy.columns)) if name in accuracy]
    width = 0.8 / len(splits)
    position = np.arange(len(accuracy))
    for i, name in enumerate(splits):
        colour = SPLIT_COLOURS.get(name, COLOURS[i + 2])
        offset = (i - (len(splits) - 1) / 2) * width
        error = None if spread[name].isna().all() else 100 * spread[name]
        ax.bar(
            position + offset, 100 * accuracy[name], width, yerr=error, color=colour, ecolor=ink(),
            error_kw={"linewidth": 1}, label=SPLIT_NAMES.get(name, name),
        )  # fmt: skip
    for i, name in enumerate(accuracy.index):
        if published and name in published:
            ax.plot(i, 100 * published[name], marker="D", color=ink(), markersize=4, linestyle="none")
    ax.set_xticks(position, accuracy.index, rotation=45 if len(position) > 12 else 0)
    ax.set(ylabel="notes recognised / %", ylim=(0, 105), xlabel="instrument")
    ax.grid(axis="x", visible=False)


def draw_accuracy(figure: Figure, table: pd.DataFrame, *, title: str, published: float | None = None) -> None:
    """Draw one setting into a (sub)figure: accuracy by instrument, and recall over epochs, for each split."""
    bars, curves = figure.subplots(1, 2, width_ratios=(2.4, 1))
    instrument_bars(bars, table)
    lowest = 0.0  # where the next label may stand
    groups = {name: part for name, part in table.groupby("split", sort=False)}
    totals = {name: 100 * part.loc[part["quantity"] == "top_n_recall", "value"] for name, part in groups.items()}
    for name in sorted(groups, key=lambda name: totals[name].mean()):
        colour, total = SPLIT_COLOURS.get(name, GREY), totals[name].mean()
        curve(curves, groups[name], "valid_recall", color=colour)
        bars.axhline(total, color=colour, linewidth=1, linestyle=":")
        spread = f" ± {totals[name].std():.1f}" if len(totals[name]) > 1 else ""
        curves.annotate(
            f" {total:.1f}{spread} %", (1, max(total, lowest)), xycoords=("axes fraction", "data"),
            va="center", fontsize=9, color=colour, annotation_clip=False,
        )  # fmt: skip
        lowest = max(total, lowest) + 7
    curves.set_ylim(0, 105)
    if published is not None:
        published_line(curves, published)
    bars.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98), fontsize=9, handlelength=1, columnspacing=1)
    bars.set_title(title)
    curves.set_title("test recall over training")


def draw_cnn_instruments(table: pd.DataFrame) -> Figure:
    """Draw the study's first experiment: two notes, instruments as classes."""
    with style():
        figure = Figure(figsize=(10, 3.6))
        draw_accuracy(figure, table, title="CNN: which two instruments?")
        caption(figure, table)
    return figure


def draw_cnn_one_class_per_file(table: pd.DataFrame) -> Figure:
    """Draw the study's second experiment: two notes, one class per file, next to its 86.625 %; and one per note."""
    study = published_value("02_cnn_one_class_per_file", item="CNN")
    with style():
        longer = table[table["quantity"] == "recall_after"]
        figure = Figure(figsize=(10, 7 if longer.empty else 10.5))
        above, below, *last = figure.subfigures(2 if longer.empty else 3, 1)
        files, pitches = table[table["setting"] == "recording"], table[table["setting"] == "note"]
        draw_accuracy(above, files, title="CNN, two notes, one class per file", published=study)
        caption(above, files)
        draw_accuracy(below, pitches, title="the same, one class per note")
        caption(below, pitches)
        for part in last:
            draw_recall_after(part.subplots(), longer, study)
            caption(part, longer)
    return figure


def draw_recall_after(ax: Axes, table: pd.DataFrame, published: float) -> None:
    """Draw recall against the mixtures seen in training, a line a setting, and the study's value."""
    for colour, (setting, part) in zip(COLOURS, table.groupby("setting", sort=False), strict=False):
        seen, recall = part["item"].astype(int), 100 * part["value"]
        ax.plot(seen, recall, "o-", markersize=3, color=colour, label=f"{setting}: {recall.iloc[-1]:.1f} %")
    published_line(ax, published)
    ax.set(xlabel="mixtures seen in training", ylabel="notes recognised / %", ylim=(0, 105), xscale="log")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_title("CNN, two notes, one class per file: recall of new mixtures over training")
    ax.legend(fontsize=9, loc="lower right")


def draw_study_size(table: pd.DataFrame) -> Figure:
    """Draw recall against the mixtures seen in training, one class per file: a panel for each N, with the study's."""
    table = table[table["classes"] == "recording"]
    study = published("05_mixtures_2_3_5_10").query("quantity == 'top_n_recall'").set_index("n")["value"]
    with style():
        figure = Figure(figsize=(11, 10))
        sizes = dict(list(table.groupby("n")))
        for ax, n in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, (2, 3, 5, 10), strict=True):
            if n not in sizes:  # not trained yet
                ax.set_visible(False)
                continue
            part = sizes[n]
            draw_recall_after(ax, part[part["quantity"] == "recall_after"], study[n])
            ax.set_title(f"{n} notes")
            ax.tick_params(labelbottom=True)
            ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.16), borderaxespad=0)
        caption(figure, table)
    return figure


def recall_by_n(ax: Axes, table: pd.DataFrame, published: dict[int, float]) -> None:
    """Draw top-N recall against N for each split (mean and range over seeds), and the study's."""
    rows = by_test(table[table["quantity"] == "top_n_recall"])
    for name, part in rows.groupby("split", sort=False):
        by_n = 100 * part.groupby("n")["value"].agg(["mean", "min", "max"])
        error = [by_n["mean"] - by_n["min"], by_n["max"] - by_n["mean"]]
        colour = SPLIT_COLOURS.get(name, GREY)
        ax.errorbar(by_n.index, by_n["mean"], error, marker="o", color=colour, capsize=3, label=SPLIT_NAMES.get(name))
    theirs = [100 * v for v in published.values()]
    ax.plot(published.keys(), theirs, "D--", color=ink(), markersize=4, linewidth=1, label="the study")
    ax.set(xlabel="notes in a mixture, N", ylabel="notes recognised / %", ylim=(0, 105))
    ax.set_xticks(sorted(published))
    ax.legend(fontsize=9)


def heat_map(ax: Axes, table: pd.DataFrame, *, label: str, form: str = "{:.0f}", vmax: float | None = None) -> None:
    """Draw a table of numbers as a heat map with its values written in."""
    image = ax.imshow(table, aspect="auto", cmap="viridis", vmin=0, vmax=vmax)
    middle = (vmax or np.nanmax(table.to_numpy())) / 2
    for i, row in enumerate(table.to_numpy()):
        for j, value in enumerate(row):
            if np.isfinite(value) and (vmax or value >= 1):
                colour = "white" if value < middle else "black"
                ax.text(j, i, form.format(value), ha="center", va="center", fontsize=7, color=colour)
    ax.set_xticks(range(table.shape[1]), table.columns, rotation=45 if table.shape[1] > 6 else 0, fontsize=8)
    ax.set_yticks(range(len(table)), table.index, fontsize=8)
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.01)


def confusion_table(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return how often each instrument (row) was predicted as another (column), in percent of its missed notes."""
    rows = table[(table["quantity"] == "confusion") & (table["n"] == n)]
    pairs = rows["item"].str.split(">", expand=True)
    counts = rows.assign(true=pairs[0], heard=pairs[1]).pivot_table(
        index="true", columns="heard", values="value", aggfunc="sum", sort=False, fill_value=0
    )
    counts = counts.reindex(columns=counts.index, fill_value=0)
    return 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)


def draw_mixtures(table: pd.DataFrame) -> Figure:
    """Draw the study's experiment on mixtures of 2, 3, 5 and 10: losses, recall by N, instruments, confusion."""
    study = published("05_mixtures_2_3_5_10")
    totals = {int(r.n): r.value for r in study[study["quantity"] == "top_n_recall"].itertuples()}
    with style():
        figure = Figure(figsize=(10.5, 9.5))
        ((losses, recalls), (instruments, confused)) = figure.subplots(2, 2, height_ratios=(1, 1.5))
        seen = table[(table["split"] == "mixture") & (table["classes"] == "note")]
        for colour, (n, part) in zip(COLOURS, seen.groupby("n"), strict=False):
            curve(losses, part, "train_loss", color=colour, linestyle=":")
            curve(losses, part, "valid_loss", color=colour, label=f"N = {n}")
        losses.plot([], [], color=GREY, linestyle=":", label="training")
        losses.plot([], [], color=GREY, label="test, seen recordings")
        losses.set_ylim(bottom=0)
        losses.legend(fontsize=8, ncols=3, loc="lower left")
        losses.set_title("loss over training")
        recall_by_n(recalls, table, totals)
        recalls.set_title("top-N recall")
        ours = instrument_accuracy(seen, by="n")
        theirs = instrument_accuracy(study, by="n").reindex(ours.index).add_prefix("study ")
        heat_map(instruments, 100 * ours.join(theirs), label="notes recognised / %", vmax=100)
        instruments.set(title="accuracy by instrument, seen recordings", xlabel="notes in a mixture, N")
        n = 5 if 5 in set(table["n"]) else table["n"].max()
        heat_map(confused, confusion_table(seen, n), label="of the missed notes / %")
        confused.set(title=f"predicted instead, N = {n}", xlabel="predicted", ylabel="played")
        caption(figure, table)
    return figure


TESTS = {"mixture": "seen", "recording": "unseen", "file": "one class per file"}


def compare(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a setting: recall on both splits in percent, mean and spread over seeds; weights; time."""
    table = by_test(table)
    recall = table[table["quantity"] == "top_n_recall"]
    by = recall.groupby(["setting", "split"], sort=False)["value"].agg(["mean", "std"]).mul(100).unstack("split")
    found = pd.DataFrame(index=recall["setting"].unique())
    for split, name in TESTS.items():
        if ("mean", split) in by:
            found[f"{name} / %"], found[f"± {name}"] = by["mean", split], by["std", split]
    for quantity, name in (("parameters", "weights"), ("epoch_seconds", "seconds an epoch")):
        rows = table[table["quantity"] == quantity]
        if len(rows):
            found[name] = rows.groupby("setting")["value"].mean()
    return found.astype({"weights": "Int64"} if "weights" in found else {})


def recall_bars(ax: Axes, table: pd.DataFrame, *, published: dict[str, float] | None = None) -> None:
    """Draw recall of every setting as lying bars, one a split, with the spread over seeds and the study's values."""
    found = compare(table)
    place = np.arange(len(found))
    tests = {split: name for split, name in TESTS.items() if f"{name} / %" in found}
    height = 0.8 / len(tests)
    for i, (split, name) in enumerate(tests.items()):
        values, spread = found[f"{name} / %"], found[f"± {name}"].fillna(0)
        y = place + (i - (len(tests) - 1) / 2) * height
        colours = {"color": SPLIT_COLOURS[split], "ecolor": ink()}
        ax.barh(y, values, 0.95 * height, xerr=spread, label=SPLIT_NAMES[split], **colours)
        for place_of_text, value, error in zip(y, values, spread, strict=True):
            if np.isfinite(value):
                ax.text(value + error + 1, place_of_text, f"{value:.1f}", va="center", fontsize=8)
    for y, setting in enumerate(found.index):
        if published and setting in published:
            ax.plot(100 * published[setting], y, "D", color=ink(), markersize=5)
            text = f"{100 * published[setting]:.1f}"
            ax.text(100 * published[setting] + 2, y, text, va="center", fontsize=8, path_effects=halo())
    if published:
        ax.plot([], [], "D", color=ink(), markersize=5, label="the study")
    ax.set_yticks(place, found.index)
    ax.invert_yaxis()
    ax.set(xlabel="notes recognised / %", xlim=(0, 105))
    ax.grid(axis="y", visible=False)
    ax.legend(ncols=2 if len(tests) > 2 else 3, fontsize=8, loc="lower left", bbox_to_anchor=(-0.1, 1))


def setting_curves(ax: Axes, table: pd.DataFrame) -> None:
    """Draw recall over epochs of every setting: held-out test solid, training dotted."""
    table = table[table["classes"] != "recording"]
    for colour, (setting, part) in zip(COLOURS * 2, table.groupby("setting", sort=False), strict=False):
        curve(ax, part, "valid_recall", color=colour, label=setting)
        curve(ax, part, "train_recall", color=colour, linestyle=":", linewidth=1)
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8)


def draw_resnet(table: pd.DataFrame) -> Figure:
    """Draw the CNN and the ResNets: recall over epochs in one picture, and where they end."""
    with style():
        figure = Figure(figsize=(10, 4))
        curves, bars = figure.subplots(1, 2, width_ratios=(1.3, 1))
        setting_curves(curves, table)
        curves.set_title("unseen recordings (dotted: training)")
        recall_bars(bars, table)
        caption(figure, table)
    return figure


def draw_cnn_lstm_cnn(table: pd.DataFrame) -> Figure:
    """Draw the LSTM variants beside the study's values, and the two axes of the LSTM over the epochs."""
    by_instrument, by_note = table[table["classes"] == "instrument"], table[table["classes"] != "instrument"]
    study = published("04_cnn_lstm_cnn")
    study = {row.item: row.value for row in study.itertuples() if row.quantity == "top_n_recall"}
    study["CNN+LSTM+CNN, as published"] = study["CNN+LSTM+CNN"]
    axes = by_note[by_note["setting"].isin(["CNN", "CNN+LSTM+CNN", "CNN+LSTM+CNN, as published"])]
    with style():
        figure = Figure(figsize=(10, 6))
        above, below = figure.subfigures(2, 1, height_ratios=(3, 1))
        bars, curves = above.subplots(1, 2, width_ratios=(1.3, 1))
        recall_bars(bars, by_note, published=study)
        setting_curves(curves, axes)
        curves.set_title("unseen recordings (dotted: training)")
        caption(above, by_note)
        ax = below.subplots()
        recall_bars(ax, by_instrument, published=study)
        ax.set_title("instruments as classes", loc="right")
        caption(below, by_instrument)
    return figure


def draw_regularization(table: pd.DataFrame) -> Figure:
    """Draw who overfits: each setting's losses in training and on new mixtures by epoch; below, recall at the end."""
    trials, table = table[table["split"] == "validation"], table[table["split"] != "validation"]
    settings = table["setting"].unique()
    columns = min(5, len(settings) // 2 + 1)
    rows = len(settings) // columns + 1  # at least one cell is left for the legend
    with style():
        figure = Figure(figsize=(10, 1.9 * rows + 0.42 * len(settings) + 1.4))
        above, below = figure.subfigures(2, 1, height_ratios=(1.9 * rows + 0.2, 0.42 * len(settings) + 1.2))
        cells = above.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        for ax, setting in zip(cells, settings, strict=False):
            _draw_gap(ax, table[table["setting"] == setting])
        spare = cells[len(settings) :]
        for ax in spare:
            ax.axis("off")
        spare[0].legend(*cells[0].get_legend_handles_labels(), loc="center", fontsize=9)
        _draw_recalls(below.subplots(), table, trials)
        caption(below, table)
    return figure


def _draw_gap(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the losses of one setting over epochs, with the range they can move in, and the gap at the end."""
    n, classes = int(table["n"].iloc[0]), int(table["n_classes"].iloc[0])
    curve(ax, table, "train_loss", color=GREY, linestyle="--", label="in training")
    curve(ax, table, "valid_loss", color=BLUE, label="new mixtures of\nthe same notes")
    ax.axhline(np.log(classes), color=ink(), linewidth=1, linestyle=":", label=f"guessing (ln {classes})")
    ax.axhline(np.log(n), color=ink(), linewidth=1, label=f"perfect (ln {n})")
    ends = table[table["quantity"] == "loss"].groupby("split")["value"].mean()
    when = "at the end"
    if table["setting"].iloc[0] == "early_stopping":  # gives back the network of its best epoch
        losses = table[table["quantity"] == "curve_valid_loss"].groupby("item")["value"].mean()
        when = f"after epoch {losses.idxmin()}"
        ax.axvline(int(losses.idxmin()), 0.3, color=GREY, linewidth=1)
    text = f"gap {ends['mixture'] - ends['train']:.1f} {when}"
    ax.text(0.04, 0.16, text, transform=ax.transAxes, fontsize=8)
    ax.set_title(LABELS.get(table["setting"].iloc[0], table["setting"].iloc[0]), fontsize=9)
    ax.set_ylim(np.log(n) - 0.35, 1.4 * np.log(classes))  # what overfits without end leaves the picture
    ax.label_outer()


def _draw_recalls(ax: Axes, table: pd.DataFrame, trials: pd.DataFrame) -> None:
    """Draw each setting's recall of its training mixtures, new mixtures of their notes, and held-out recordings."""
    recall = table[table["quantity"] == "top_n_recall"]
    recall = 100 * recall.pivot_table(index="setting", columns="split", values="value", sort=False)
    names = [LABELS.get(name, name) for name in recall.index]
    losses = trials[trials["quantity"] == "loss"]
    if len(losses) and names[-1] == LABELS[SEARCHED]:  # the one with the lowest validation loss was trained in full
        names[-1] += "\n" + losses.loc[losses["value"].idxmin(), "setting"]
    place = np.arange(len(recall))
    ax.hlines(place, recall["mixture"], recall["train"], color=GREY, linewidth=1)
    for split, marker, colour, label in (
        ("train", "s", GREY, "its training mixtures"),
        ("mixture", "o", BLUE, "new mixtures of the same notes"),
        ("recording", "D", ORANGE, "unseen recordings"),
    ):
        ax.plot(recall[split], place, marker, color=colour, label=label)
    for y, value in zip(place, recall["mixture"], strict=True):
        ax.annotate(f"{value:.1f}", (value, y), (0, 6), textcoords="offset points", ha="center", color=BLUE, fontsize=8)
    ax.set_yticks(place, names, fontsize=9)
    ax.set(xlabel="notes recognised / %", ylim=(len(recall) - 0.4, -0.7))
    ax.set_xlim(left=0)
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)


def show_table(name: str, folder: str | Path | None = None) -> None:
    """Display the recalls of a committed run and what it was measured on; or say that there is none yet."""
    from IPython.display import display

    try:
        table = load_results(name, folder)
    except FileNotFoundError as error:
        print(error)
        return
    display(compare(table).round(1))
    print(describe(table))


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "01_cnn_instruments": draw_cnn_instruments,
    "02_cnn_one_class_per_file": draw_cnn_one_class_per_file,
    "03_resnet": draw_resnet,
    "04_cnn_lstm_cnn": draw_cnn_lstm_cnn,
    "05_mixtures_2_3_5_10": draw_mixtures,
    "06_regularization": draw_regularization,
    "study_size": draw_study_size,
}
