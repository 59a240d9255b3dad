"""The classes that a network chooses from: instruments, notes or recordings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from ..notes.library import NoteLibrary
from ..util.checks import check_choice

GRANULARITIES = ("instrument", "note", "recording")


class Classes:
    """The classes that a network chooses from, and which class each note of a library belongs to.

    Parameters
    ----------
    notes : NoteLibrary
        The library whose notes are classed.
    by : {"note", "instrument", "recording"}
        ``"instrument"``; ``"note"`` = (instrument, pitch), whatever the dynamic; ``"recording"`` = one class per file.

    Attributes
    ----------
    names : list of str
        One readable name a class, e.g. ``"Vn"``, ``"Vn C#4"``, ``"Vn C#4 mf"``; ordered by instrument, then pitch.
    table : pandas.DataFrame
        A row a class: name, instrument, midi (−1 for ``by="instrument"``), recordings.
    of_note : torch.Tensor
        int64 [notes]: the class of each note of the library.

    Raises
    ------
    ValueError
        If `by` is unknown, or the library has a single class.
    """

    def __init__(self, notes: NoteLibrary, *, by: str = "note") -> None:
        self.by = check_choice(by, GRANULARITIES, "class granularity")
        names, keys = _class_names(notes.table, by)
        order = (
            pd.DataFrame({"name": names, "instrument": notes.table["instrument"], "midi": keys})
            .groupby("name", as_index=False)
            .agg(instrument=("instrument", "first"), midi=("midi", "first"), recordings=("name", "size"))
            .sort_values(["instrument", "midi", "name"], ignore_index=True)
        )
        if len(order) < 2:
            raise ValueError(
                f"The library {notes.name!r} has a single class by {by} ({order['name'].iloc[0]}): "
                "a network needs two or more to choose from; load more instruments."
            )
        self.table = order
        index = {name: i for i, name in enumerate(order["name"])}
        self.of_note = torch.tensor([index[name] for name in names])

    @classmethod
    def from_dict(cls, card: dict) -> Classes:
        """Rebuild the classes of a checkpoint from `to_dict`'s output; `of_note` is empty: it belongs to a library."""
        classes = cls.__new__(cls)
        classes.by = check_choice(card["by"], GRANULARITIES, "class granularity")
        classes.table = pd.DataFrame({k: card[k] for k in ("name", "instrument", "midi", "recordings")})
        classes.of_note = torch.empty(0, dtype=torch.long)
        return classes

    def to_dict(self) -> dict:
        """Return a JSON-ready description, from which `from_dict` makes equal classes."""
        return {"by": self.by, **{column: self.table[column].tolist() for column in self.table}}

    @property
    def names(self) -> list[str]:
        """One readable name a class."""
        return self.table["name"].tolist()

    @property
    def instruments(self) -> list[str]:
        """The instruments that occur, in class order."""
        return self.table["instrument"].drop_duplicates().tolist()

    @property
    def instrument_of_class(self) -> torch.Tensor:
        """int64 [classes]: index into `instruments`."""
        position = {name: i for i, name in enumerate(self.instruments)}
        return torch.tensor([position[name] for name in self.table["instrument"]])

    def __len__(self) -> int:
        return len(self.table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and self.by == other.by and self.names == other.names

    __hash__ = None

    def __repr__(self) -> str:
        return f"Classes(by={self.by!r}, {len(self)} classes of {len(self.instruments)} instruments)"

    def match(self, notes: NoteLibrary) -> torch.Tensor:
        """Return the class of each note of another library, −1 where this list has none (int64 [notes])."""
        names, _ = _class_names(notes.table, self.by)
        index = {name: i for i, name in enumerate(self.names)}
        return torch.tensor([index.get(name, -1) for name in names])

    def on(self, notes: NoteLibrary) -> Classes:
        """Return these classes bound to another library's notes; notes of no class get −1 and are never drawn.

        Raises
        ------
        ValueError
            If the library has no note of any of these classes.
        """
        bound = Classes.from_dict(self.to_dict())
        bound.of_note = self.match(notes)
        if not (bound.of_note >= 0).any():
            raise ValueError(f"The library {notes.name!r} has no note of these {len(self)} classes by {self.by}.")
        return bound


def _class_names(table: pd.DataFrame, by: str) -> tuple[list[str], list[int]]:
    """Return each note's class name and its MIDI number (−1 for instruments)."""
    if by == "instrument":
        return table["instrument"].tolist(), [-1] * len(table)
    names = table["instrument"] + " " + table["pitch"]
    if by == "recording":
        names = names + " " + table["dynamic"]
        twice = names.duplicated(keep=False)  # several takes of one note: the file tells them apart
        names = names.where(~twice, names + " " + table["file"].map(lambda f: Path(f).stem))
    return names.tolist(), table["midi"].astype(int).tolist()
