"""Every committed figure, redrawn from its CSV, and the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..results import ROOT, load_results
from ..util.checks import check_choice
from ..util.files import write_text
from . import orchestration, recognition, study
from .tables import results_table, training_time
from .theme import save

FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {  # experiments, and what draws them from their tables
    **study.FIGURES,
    **recognition.FIGURES,
    **orchestration.FIGURES,
}


def redraw(names: Sequence[str] = (), folder: str | Path | None = None) -> list[Path]:
    """Draw figures again from their CSVs: PNG and SVG of each name, or of every CSV that there is."""
    folder = Path(folder or ROOT / "figures")
    for name in names:
        check_choice(name, FIGURES, "figure")
    chosen = names or [name for name in FIGURES if (folder / f"{name}.csv").is_file()]
    return [save(FIGURES[name](load_results(name, folder)), name, folder) for name in chosen]


# In the order of the page: what a figure shows, in one sentence, and what measures it again (a figure with a CSV is
# redrawn from it by `make figures`).
CAPTIONS: dict[str, tuple[str, str]] = {
    "front": (
        "Five held-out notes at once: their waveform, a constant-Q in which each point has the colours of the "
        "notes that sound there, and what a network answers.",
        "python notebooks/experiments/front_picture.py",
    ),
    "01_cnn_instruments": (
        "Two notes, instruments as classes: the share of each instrument's notes that the study's CNN recognises, in "
        "recordings it was trained on and in held-out ones, and recall over training.",
        "make run PROFILE=laptop NOTEBOOKS=01",
    ),
    "02_cnn_one_class_per_file": (
        "Two notes, one class per file as in the study, beside its 86.6 %, and one class per note; below, recall over "
        "the mixtures seen in longer runs, with the study's 40,000 training mixtures and with six times as many.",
        'make run PROFILE=laptop NOTEBOOKS=02, then twice with ARGS="-p SEED=1 -p SAVE=add" and SEED=2',
    ),
    "03_resnet": (
        "The CNN beside residual networks: recall over training, and where each ends.",
        "make run PROFILE=laptop NOTEBOOKS=03",
    ),
    "04_cnn_lstm_cnn": (
        "Networks with an LSTM beside the study's published values, with its axes as published and corrected.",
        "make run PROFILE=laptop NOTEBOOKS=04",
    ),
    "05_mixtures_2_3_5_10": (
        "Mixtures of 2, 3, 5 and 10 notes: losses, recall beside the study's, accuracy by instrument, and which "
        "instruments are mistaken for which.",
        'make run PROFILE=laptop NOTEBOOKS=05, then twice with ARGS="-p SEED=1 -p SAVE=add" and SEED=2',
    ),
    "06_regularization": (
        "Who overfits: loss in training and on new mixtures under each remedy, and recall at the end.",
        "make run PROFILE=laptop NOTEBOOKS=06",
    ),
    "study_size": (
        "Recall of new mixtures over the mixtures seen in training, one class per file, beside the study's value for "
        "2, 3, 5 and 10 notes: its own networks, at half its resolution where the row says logmel64.",
        "python notebooks/experiments/study_size.py --minutes 80 --features logmel64 (see its --help)",
    ),
    "five_minutes": (
        "Five minutes of training a network that listens along log-frequency, beside the study's recall by N.",
        "make five-minutes",
    ),
    "07_recognizer": (
        "The recognizer after a long training: recall and exact answers on seen recordings, other dynamics and other "
        "takes, beside the study and our goals, and its learning curve.",
        "deeporch train --figures --name 07_recognizer (see data/README.md)",
    ),
    "07_steps": (
        "What each change of the recognizer is worth at five notes, one at a time against the network as it is.",
        "python notebooks/experiments/ablation.py",
    ),
    "07_other_libraries": (
        "Recognizers on libraries of notes that they were not trained on.",
        "python notebooks/experiments/cross_library.py soundfont philharmonia --on … --figures",
    ),
    "09_comparing_searches": (
        "Searches for orchestrations: distance by method against a plain genetic algorithm's, how often the true "
        "notes win, how many are found again, distance by seconds, and seconds by size of library and orchestra.",
        "deeporch run --profile laptop -p LIBRARY=philharmonia -p CASES=8000 "
        "-p OTHER_CASES=500 -p RECOVERED=20 -p COMPARED=all -p SEARCH_SEEDS=3 --timeout 14400 09",
    ),
    "11_speed_and_scale": (
        "Time and memory against notes of the library, notes of a mixture, mixtures and classes, and beside other "
        "libraries in turn (one thread of a busy machine).",
        "deeporch run 11 --profile laptop -p SAVE=true",
    ),
}


def gallery_page(folder: str | Path | None = None) -> str:
    """Return the gallery of the figures that a folder has, as Markdown."""
    folder = Path(folder or ROOT / "figures")
    there = sorted(path.stem for path in folder.glob("*.png"))
    if unknown := [name for name in there if name not in CAPTIONS]:
        raise ValueError(
            f"The gallery has no sentence for {', '.join(unknown)}: add one to CAPTIONS of plots/gallery.py."
        )
    parts = [
        "# Figures\n\nWhere a CSV has the name of a figure, it holds the numbers of a full run, and `make figures` "
        "redraws the figure\nfrom it, in seconds and without a GPU; the command below the figure measures it again. "
        "This page is written by\n`deeporch figures`.\n"
    ]
    for name in (name for name in CAPTIONS if name in there):
        sentence, command = CAPTIONS[name]
        parts.append(f"## {name}\n\n![{sentence}]({name}.png)\n\n{sentence}\n\n```sh\n{command}\n```\n")
    parts.append(f"## Every result\n\n{training_time(folder)}\n\n{results_table(folder)}\n")
    return "\n".join(parts)


def write_gallery(folder: str | Path | None = None) -> Path:
    """Write the gallery's page, README.md of the figures' folder, and return its path."""
    path = Path(folder or ROOT / "figures") / "README.md"
    write_text(path, gallery_page(path.parent))
    return path
