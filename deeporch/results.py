"""Tidy tables of results: one row a number, labelled with everything that produced it; and the published numbers."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from .metrics import Scores, confusion, kinds_of_error
from .mixtures.mixtures import Mixtures
from .util.checks import check_choice
from .util.environment import PACKAGES, environment
from .util.files import atomic_path

if TYPE_CHECKING:
    from .notes.library import NoteLibrary
    from .training.loop import History

LABELS = (
    "experiment", "setting", "model", "features", "n", "split", "classes", "seed",
    "data", "n_classes", "train_mixtures", "test_mixtures", "epochs", "seconds", "device", "profile",
)  # fmt: skip
COLUMNS = (*LABELS, "quantity", "item", "value")
ORIGIN = ["file", "command", "git", "library", "versions"]  # columns of provenance.csv
ROOT = Path(__file__).resolve().parents[1]


class Results:
    """The numbers of an experiment, run by run; written as one CSV in figures/.

    Parameters
    ----------
    experiment : str
        The notebook's name, e.g. ``"02_cnn_one_class_per_file"``.
    data : NoteLibrary or str
        The library, or its name.
    profile, device : str
        How large the run is, and on what it ran, in words.
    """

    def __init__(self, experiment: str, *, data: NoteLibrary | str, profile: str, device: str) -> None:
        name, self.library = (data, "") if isinstance(data, str) else (data.name, f"{data.name} {data.key}")
        self.common = {"experiment": experiment, "data": name, "profile": profile, "device": device}
        self.parts: list[pd.DataFrame] = []

    def add(
        self, scores: Scores, test: Mixtures, *, setting: str, split: str, model: str = "", features: str = "",
        seed: int = 0, history: History | None = None, train_mixtures: int = 0, curves: bool = True,
        errors: pd.DataFrame | None = None, more: Iterable[tuple[str, object, float]] = (),
    ) -> None:  # fmt: skip
        """Add one trained network's scores on one test set, and its learning curves.

        Parameters
        ----------
        scores : Scores
            Of the test.
        test : Mixtures
            The mixtures they were measured on.
        setting : str
            What tells this run from the others of the experiment.
        split : str
            ``"mixture"`` (seen notes) or ``"recording"`` (held out) or another library's name.
        model, features : str
            Names of the network and of what it sees.
        history : History, optional
            Of the training; with `curves` its losses and recalls are added a row an epoch.
        errors : pandas.DataFrame, optional
            The network's `mistakes`: added as kinds of error, and as counts of instruments taken for one another.
        more : iterable of (quantity, item, value)
            Further numbers of this run, with the same labels.
        """
        labels = {
            **self.common, "setting": setting, "model": model or setting, "features": features,
            "n": scores.n, "split": split, "classes": test.classes.by, "n_classes": len(test.classes), "seed": seed,
            "train_mixtures": train_mixtures, "test_mixtures": scores.size,
            "epochs": history.epochs if history else 0, "seconds": round(history.seconds, 1) if history else 0,
        }  # fmt: skip
        rows = list(_score_rows(scores))
        if history is not None and curves:
            rows += _curve_rows(history)
        if errors is not None:
            rows += [("kind_of_error", kind, share) for kind, share in kinds_of_error(errors).items()]
            counts = confusion(errors, test.classes.instruments).stack()
            rows += [("confusion", f"{true}>{other}", count) for (true, other), count in counts[counts > 0].items()]
        self.add_rows([*rows, *more], **labels)

    def add_rows(self, rows: Iterable[tuple[str, object, float]], **labels: object) -> None:
        """Add (quantity, item, value) rows with their labels; labels not given are left empty."""
        for label in labels:
            check_choice(label, LABELS, "label")
        part = pd.DataFrame(rows, columns=["quantity", "item", "value"])
        part["item"] = part["item"].astype(str)
        labels = {**self.common, **labels}
        for label in LABELS:
            part[label] = labels.get(label, "")
        self.parts.append(part[list(COLUMNS)])

    def join(self, folder: str | Path) -> None:
        """Put before these rows those of other seeds that the experiment's CSV in a folder has.

        A long experiment can so be run a seed at a time.

        Raises
        ------
        FileNotFoundError
            If there is no such CSV.
        ValueError
            If it was made with other data, sizes or labels: such runs are no repetitions of one another.
        """
        mine = self.table
        saved = load_results(self.common["experiment"], folder)
        for label in LABELS:
            here, there = set(mine[label].astype(str)), set(saved[label].astype(str))
            if label not in ("seed", "seconds") and here != there:
                raise ValueError(
                    f"{self.common['experiment']}.csv was made with another {label} ({', '.join(sorted(there))}, "
                    f"here {', '.join(sorted(here))}): other seeds can only be added to runs that are otherwise alike."
                )
        self.parts.insert(0, saved[~saved["seed"].isin(mine["seed"])])

    @property
    def table(self) -> pd.DataFrame:
        """All rows so far."""
        return pd.concat(self.parts, ignore_index=True) if self.parts else pd.DataFrame(columns=list(COLUMNS))

    def save(self, folder: str | Path) -> Path:
        """Write ``<experiment>.csv`` into a folder, atomically, and `enter_origin`."""
        path = Path(folder) / f"{self.common['experiment']}.csv"
        with enter_origin(path, self.library) as temporary:
            self.table.to_csv(temporary, index=False, float_format="%.6g")
        return path


@contextmanager
def enter_origin(path: Path, library: str = "") -> Iterator[Path]:
    """Replace a CSV atomically, as `atomic_path`, and enter in provenance.csv beside it what wrote it.

    Earlier entries stay if any row that they brought is still there.
    """
    lines = lambda: set(path.read_text(encoding="utf-8").splitlines()[1:]) if path.is_file() else set()  # noqa: E731
    before, about, place = lines(), environment(), path.with_name("provenance.csv")
    with atomic_path(path) as temporary:
        yield temporary
    command = os.environ.get("DEEPORCH_COMMAND") or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    versions = "; ".join(f"{name} {about[name]}" for name in ("python", *PACKAGES) if name in about)
    values = path.name, re.sub(r"(?<![\w.])/\S*/", "…/", command), about["git"], library, versions
    known = pd.read_csv(place, dtype=str, keep_default_na=False) if place.is_file() else pd.DataFrame(columns=ORIGIN)
    known = known if before & lines() else known[known["file"] != path.name]
    known = pd.concat([known, pd.DataFrame([values], columns=ORIGIN)]).drop_duplicates()
    with atomic_path(place) as temporary:
        known.sort_values("file", kind="stable").to_csv(temporary, index=False)


def _score_rows(scores: Scores) -> Iterable[tuple[str, object, float]]:
    for quantity in ("top_n_recall", "exact_match", "macro_recall", "loss"):
        yield quantity, "", getattr(scores, quantity)
    for k, share in enumerate(scores.k_of_n):
        yield "k_of_n", k, share
    for name, row in scores.per_instrument.iterrows():
        yield "right", name, row["right"]
        yield "occurring", name, row["occurring"]


def _curve_rows(history: History) -> list[tuple[str, object, float]]:
    columns = [c for c in ("train_loss", "valid_loss", "train_recall", "valid_recall") if c in history.table]
    return [
        (f"curve_{column}", int(row["epoch"]), row[column])
        for _, row in history.table.iterrows()
        for column in columns
        if pd.notna(row[column])
    ]


def load_results(experiment: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Read the committed CSV of an experiment."""
    path = Path(folder or ROOT / "figures") / f"{experiment}.csv"
    if not path.is_file():
        do = f"run `deeporch run --profile laptop {experiment}` first"
        raise FileNotFoundError(f"There are no results {path.name}: {do}.")
    return pd.read_csv(path, dtype={"item": str}, keep_default_na=False, na_values={"value": [""]})


def published(experiment: str | None = None) -> pd.DataFrame:
    """Return the study's published numbers (experiment, n, quantity, item, value), of one experiment or all."""
    table = pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"item": str}, keep_default_na=False)
    return table if experiment is None else table[table["experiment"] == experiment].reset_index(drop=True)


def published_value(experiment: str, quantity: str = "top_n_recall", item: str = "", n: int = 2) -> float:
    """Return one published number, 0 to 1.

    Raises
    ------
    KeyError
        If the study did not publish it.
    """
    table = published(experiment)
    row = table[(table["quantity"] == quantity) & (table["item"] == item) & (table["n"] == n)]
    if row.empty:
        raise KeyError(f"The study published no {quantity} {item!r} for N={n} of {experiment}.")
    return float(row["value"].iloc[0])
