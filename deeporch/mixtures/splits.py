"""Which recordings train and which test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ..notes.library import NoteLibrary
from ..util.checks import check_choice
from .classes import Classes

SPLITS = ("mixture", "recording", "fold")


@dataclass(frozen=True)
class Split:
    """Which notes train and which test: int64 index tensors into a library, and a sentence that says how.

    With ``by="mixture"`` (the study's) both pools are all notes, and only the *mixtures* differ
    (give ``exclude=train`` to the test set). Otherwise no recording is in two pools.
    """

    by: str
    train: torch.Tensor
    valid: torch.Tensor
    test: torch.Tensor
    report: str


def split(
    notes: NoteLibrary, classes: Classes, *, by: str = "mixture", test: float = 0.2, valid: float = 0.0,
    folds: Sequence[int] = (0,), seed: int = 0,
) -> Split:  # fmt: skip
    """Split a library's recordings into training, validation and test pools.

    Parameters
    ----------
    notes, classes
        The library and its classes.
    by : {"mixture", "recording", "fold"}
        ``"mixture"``: every note is heard in training (the study's). ``"recording"``: a share `test` of each class's
        recordings is held out; each class keeps at least one for training, and a class with a single recording is
        never tested. ``"fold"``: the library's own folds (TinySOL), `folds` are the test's.
    test, valid : float
        Shares of the recordings, 0 ≤ share < 1. A class with two recordings gives one to the test.
    seed : int
        Of the draw.

    Raises
    ------
    ValueError
        If the split is unknown, the test pool comes out empty, or the library has no folds.
    """
    check_choice(by, SPLITS, "split")
    if not (test >= 0 and valid >= 0 and test + valid < 1):
        raise ValueError(f"The shares test={test} and valid={valid} must be ≥ 0 and sum to less than 1.")
    usable = torch.nonzero(classes.of_note >= 0).flatten()
    if by == "mixture":
        return Split(by, usable, usable, usable, f"all {len(usable)} recordings are heard in training")
    held = _fold_holdout(notes, folds) if by == "fold" else _random_holdout(classes, usable, test, valid, seed)
    pools = {name: usable[held[usable] == code] for code, name in enumerate(("train", "valid", "test"))}
    trained = torch.zeros(len(classes), dtype=torch.bool)
    trained[classes.of_note[pools["train"]]] = True
    for name in ("valid", "test"):  # a class that was never trained cannot be recognised
        pools[name] = pools[name][trained[classes.of_note[pools[name]]]]
    tested = len(classes.of_note[pools["test"]].unique())
    if not len(pools["test"]):
        raise ValueError(
            f"Nothing is left to test: none of the {len(classes)} classes by {classes.by} has a recording to spare "
            f"(split {by!r}). Use by='mixture', coarser classes, or a library with several dynamics or takes."
        )
    report = (
        f"{len(pools['train'])} recordings train, {len(pools['valid'])} validate, {len(pools['test'])} test; "
        f"{tested} of {len(classes)} classes are tested, {len(classes) - tested} have no recording to spare"
    )
    return Split(by, pools["train"], pools["valid"], pools["test"], report)


def _random_holdout(classes: Classes, usable: torch.Tensor, test: float, valid: float, seed: int) -> torch.Tensor:
    """Return int8 [notes]: 0 train, 1 valid, 2 test; at least one recording a class trains."""
    generator = np.random.default_rng(seed)
    held = torch.zeros(len(classes.of_note), dtype=torch.int8)
    groups = pd.Series(usable.numpy()).groupby(classes.of_note[usable].numpy())
    for _, members in groups:
        members = generator.permutation(members.to_numpy())
        spare = len(members) - 1
        tests = min(spare, max(1, round(test * len(members)))) if test else 0
        valids = min(spare - tests, max(1, round(valid * len(members)))) if valid else 0
        held[members[:tests]] = 2
        held[members[tests : tests + valids]] = 1
    return held


def _fold_holdout(notes: NoteLibrary, folds: Sequence[int]) -> torch.Tensor:
    """Return int8 [notes]: 2 where the note's own fold is among `folds`, else 0."""
    column = notes.table["fold"] if "fold" in notes.table else pd.Series(dtype="Int64")
    known = sorted(column.dropna().unique().tolist())
    if not known:
        raise ValueError(f"The library {notes.name!r} has no folds: use by='recording' or by='mixture'.")
    for fold in folds:
        check_choice(str(fold), [str(k) for k in known], "fold")
    return torch.from_numpy(column.isin(list(folds)).to_numpy().astype(np.int8) * 2)
