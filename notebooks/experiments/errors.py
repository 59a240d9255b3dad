"""Where a recognizer errs: which families it confuses, and whether doublings hide notes."""

from __future__ import annotations

import pandas as pd
import torch
from torch.nn.functional import one_hot

from deeporch.metrics import top_n
from deeporch.mixtures.classes import Classes
from deeporch.notes.instruments import INSTRUMENTS


def family_confusion(table: pd.DataFrame) -> pd.DataFrame:
    """Return what was predicted instead of `mistakes`' instruments, by family: shares of each row, 0 to 1."""
    families = [
        table[f"{which}_instrument"].map(lambda name: INSTRUMENTS.get(name, ("", "other"))[1]).rename(which)
        for which in ("true", "predicted")
    ]
    return pd.crosstab(*families, normalize="index")


def recall_by_doubling(logits: torch.Tensor, targets: torch.Tensor, classes: Classes) -> pd.DataFrame:
    """Return how many notes are found where another instrument doubles them, and where none does.

    Parameters
    ----------
    logits, targets : torch.Tensor
        [mixtures, classes], multi-hot targets.
    classes : Classes
        By note or recording.

    Returns
    -------
    pandas.DataFrame
        Rows ``"unison"`` (another note of the mixture has the same pitch), ``"octave"`` (one is octaves away, none at
        the same pitch), ``"alone"``; columns notes, recall (NaN where there is no such note).
    """
    found = top_n(logits, targets)
    midi = torch.tensor(classes.table["midi"].tolist())
    at_pitch = targets @ one_hot(midi, 128).to(targets)  # [mixtures, pitches]: how many notes sound there
    in_class = targets @ one_hot(midi % 12, 12).to(targets)
    mixture, note = torch.nonzero(targets, as_tuple=True)
    here, folded = at_pitch[mixture, midi[note]], in_class[mixture, midi[note] % 12]
    right = found[mixture, note].double()
    kinds = {"unison": here > 1, "octave": (here == 1) & (folded > 1), "alone": folded == 1}
    rows = {name: (int(kind.sum()), float(right[kind].mean())) for name, kind in kinds.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["notes", "recall"])
