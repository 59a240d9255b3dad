"""Every committed figure, redrawn from its CSV, and the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import yaml
from matplotlib.figure import Figure

from deeporch.plots.theme import save
from deeporch.results import ROOT, load_results
from deeporch.util.checks import check_choice
from deeporch.util.files import write_text

from . import memory, recognition, searches, study, tables
from .tables import results_table, training_time

FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {  # experiments, and what draws them from their tables
    **study.FIGURES,
    **recognition.FIGURES,
    **searches.FIGURES,
    **memory.FIGURES,
}


def redraw(names: Sequence[str] = (), folder: str | Path | None = None) -> list[Path]:
    """Draw figures again from their CSVs: PNG and SVG of each name, or of every CSV that there is."""
    folder = Path(folder or ROOT / "figures")
    for name in names:
        check_choice(name, FIGURES, "figure")
    chosen = names or [name for name in FIGURES if (folder / f"{name}.csv").is_file()]
    return [save(FIGURES[name](load_results(name, folder)), name, folder) for name in chosen]


def gallery_page(folder: str | Path | None = None) -> str:
    """Return the gallery of the figures that a folder has, as Markdown."""
    folder = Path(folder or ROOT / "figures")
    there = sorted(path.stem for path in folder.glob("*.png"))
    captions = yaml.safe_load((ROOT / "figures" / "captions.yaml").read_text(encoding="utf-8"))
    if unknown := [name for name in there if name not in captions]:
        raise ValueError(f"The gallery has no sentence for {', '.join(unknown)}: add one to figures/captions.yaml.")
    parts = [
        "# Figures\n\nWhere a CSV has the name of a figure, it holds the numbers of a full run, and `make figures` "
        "redraws the figure\nfrom it, in seconds and without a GPU; the command below the figure measures it again. "
        "This page is written by\n`deeporch figures`.\n\n[provenance.csv](provenance.csv) names the command, revision, "
        "library and versions of every CSV; where the revision\nbegins with ≤ they were entered later, from what git "
        "and the CSV itself say.\n"
    ]
    for name in (name for name in captions if name in there):
        sentence, command = captions[name]["sentence"], captions[name]["command"]
        parts.append(f"## {name}\n\n![{sentence}]({name}.png)\n\n{sentence}\n\n```sh\n{command}\n```\n")
    parts.append(f"## Every result\n\n{training_time(folder)}\n\n{results_table(folder)}\n")
    return "\n".join(parts)


def write_gallery(folder: str | Path | None = None) -> Path:
    """Write the gallery's page, README.md of the figures' folder, and return its path."""
    path = Path(folder or ROOT / "figures") / "README.md"
    write_text(path, gallery_page(path.parent))
    return path


def command(names: Sequence[str]) -> int:
    """Draw figures again, and write the pages that show all of them: what ``deeporch figures`` does."""
    for path in redraw(names):
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    if not names:
        print(write_gallery())
        if tables.write_readme():
            print("README.md")
    return 0
