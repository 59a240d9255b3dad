"""Figure of memory over hours of work."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from deeporch.plots.theme import GREY, style

STAGES = ("training", "prediction", "orchestration")


def draw_memory(table: pd.DataFrame) -> Figure:
    """Draw resident memory over minutes after each stage, and what of it is no file's."""
    with style():
        figure = Figure(figsize=(9, 3.2))
        ax = figure.subplots()
        table = table.assign(minute=table["item"].astype(float), GB=table["value"] / 1000)
        for stage in STAGES:
            part = table[(table["setting"] == stage) & (table["quantity"] == "resident")]
            ax.plot(part["minute"], part["GB"], "o-", markersize=3, label=f"after {stage}")
        part = table[table["quantity"] == "anonymous"]
        ax.plot(part["minute"], part["GB"], color=GREY, label="without mapped files")
        ax.set(xlabel="minutes", ylabel="resident memory / GB", ylim=(0, None))
        ax.legend(fontsize=8, ncols=4, loc="lower right")
        data, device, length = (table[label].iloc[0] for label in ("data", "device", "profile"))
        figure.supxlabel(f"{data}; {device}, beside other work; begun for {length}", fontsize=8, color=GREY)
    return figure


FIGURES = {"memory": draw_memory}
