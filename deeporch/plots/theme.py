"""One style for every figure, light or dark."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from ..notes.instruments import FAMILY_COLOURS as FAMILY_COLOURS
from ..results import ROOT
from ..util.files import atomic_path

# Okabe and Ito's palette without its yellow: colours that colour-blind readers tell apart
COLOURS = BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#777777",
)  # fmt: skip
SPLIT_COLOURS = {"mixture": BLUE, "recording": ORANGE, "file": GREEN}
SPLIT_NAMES = {"mixture": "seen recordings", "recording": "unseen recordings", "file": "seen, one class per file"}
_STYLE = {
    "figure.dpi": 100, "savefig.dpi": 120, "figure.constrained_layout.use": True, "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.alpha": 0.25, "axes.titlesize": 11, "axes.titlelocation": "left", "legend.frameon": False,
    "svg.fonttype": "none", "svg.hashsalt": "deeporch", "axes.prop_cycle": mpl.cycler(color=COLOURS),
}  # fmt: skip
_DARK = {
    name: "#dddddd"
    for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
} | {name: "#181818" for name in ("figure.facecolor", "axes.facecolor", "savefig.facecolor")}

_LIGHT = {name: mpl.rcParamsDefault[name] for name in _DARK}


@contextmanager
def style(*, dark: bool | None = None) -> Iterator[None]:
    """Draw in the project's style within the block."""
    if dark is None:
        dark = mpl.rcParams["figure.facecolor"] == _DARK["figure.facecolor"]
    with mpl.rc_context(_STYLE | (_DARK if dark else _LIGHT)):
        yield


def ink() -> str:
    """Return the colour of text and of published values in the style around: black, or light grey in the dark one."""
    return mpl.rcParams["text.color"]


def halo() -> list[Stroke]:
    """Return path effects that keep text readable on lines and bars: an edge in the colour of the background."""
    return [Stroke(linewidth=2.5, foreground=mpl.rcParams["axes.facecolor"]), Normal()]


def new_figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (9, 3.5), dark: bool | None = None, **options: Any
) -> tuple:
    """Return a figure in the project's style and its axes, like ``plt.subplots``, but outside pyplot's state."""
    with style(dark=dark):
        figure = Figure(figsize=size)
        return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, name: str, folder: str | Path | None = None) -> Path:
    """Write a figure as PNG and SVG, atomically, and return the PNG's path."""
    folder = Path(folder or ROOT / "figures")
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
        with style(), atomic_path(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, metadata=metadata)
    return folder / f"{name}.png"


def show(figure: Figure, alt: str = "") -> None:
    """Display a figure in a notebook as a PNG with a description for those who cannot see it."""
    from IPython.display import Image, display

    file = io.BytesIO()
    with style():
        figure.savefig(file, format="png", dpi=90, metadata={"Software": None})
    display(Image(file.getvalue(), format="png", alt=alt))
