"""Notes, instruments, families and pitches that a network recognises in libraries: seen, and unseen.

``python notebooks/experiments/unseen_libraries.py orchestra --on weresax=sol:PATH …`` adds to figures/07_unseen.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pandas as pd
import torch
from cross_library import load
from torch.nn.functional import one_hot

from deeporch.metrics import top_n, top_n_recall
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.checkpoints import load_checkpoint, read_card
from deeporch.notes.instruments import INSTRUMENTS
from deeporch.notes.library import NoteLibrary, combine
from deeporch.recognition.recognizer import find_checkpoint
from deeporch.results import ROOT, enter_origin
from deeporch.training.prediction import predict

TABLE = ROOT / "figures" / "07_unseen.csv"
NUMBERS = (1, 2, 3, 5, 10)


def recalls(logits: torch.Tensor, targets: torch.Tensor, classes: Classes) -> dict[str, float]:
    """Return the shares of notes, instruments, families and pitches that are right, when N is known."""
    chosen, targets = top_n(logits, targets), targets.bool()
    found = {"note": top_n_recall(logits, targets.float())}
    names = classes.table["instrument"]
    families = [INSTRUMENTS.get(name, (name, name))[1] for name in names]
    for what, labels in (("instrument", names), ("family", families)):
        group = one_hot(torch.from_numpy(pd.factorize(pd.Series(labels))[0]))
        both = torch.minimum(chosen.long() @ group, targets.long() @ group)
        found[what] = float(both.sum() / targets.sum())
    midi = torch.tensor(classes.table["midi"].tolist())
    pitch = one_hot(midi).bool()
    best = torch.stack([logits.masked_fill(~column, -torch.inf).amax(1) for column in pitch.T if column.any()], 1)
    playing = torch.stack([(targets & column).any(1) for column in pitch.T if column.any()], 1)
    rank = best.argsort(1, descending=True).argsort(1)
    right = (playing & (rank < playing.sum(1, keepdim=True))).sum(1) / playing.sum(1)
    return found | {"pitch": float(right.mean())}


def score(
    model: torch.nn.Module,
    notes: NoteLibrary,
    *,
    numbers: Sequence[int] = NUMBERS,
    size: int = 500,
    seed: int = 1,
    per_instrument: int | None = None,
) -> pd.DataFrame:
    """Return a row each number of notes: note, instrument, family and pitch recall of mixtures of a library.

    Single notes are all of the library's; mixtures are of distinct notes, at most so many of an instrument.
    """
    classes = model.classes.on(notes)
    pool = torch.nonzero(classes.of_note >= 0).flatten()
    rows = []
    for n in numbers:
        if n == 1:
            mixtures = Mixtures(notes, classes, n=1, size=len(pool), seed=seed, pool=pool)
        else:
            mixtures = Mixtures(notes, classes, n=n, size=size, seed=seed + n, pool=pool, per_instrument=per_instrument)
        logits, targets = predict(model, mixtures)
        rows.append({"n": n, "mixtures": len(mixtures), **recalls(logits, targets, classes)})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score networks on libraries; rows of other networks and libraries stay in the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", help="files, or names of those that ship")
    parser.add_argument(
        "--on", nargs="+", required=True, metavar="LABEL=SOURCE:ROOT", help="several roots: join with +"
    )
    parser.add_argument("--pitches", default="sounding", help="philharmonia: named or sounding")
    parser.add_argument("--per-instrument", type=int, help="most notes of an instrument in a mixture")
    parser.add_argument("--test", type=int, default=500, help="mixtures of each number of notes")
    options = parser.parse_args(arguments)
    table = pd.read_csv(TABLE) if TABLE.is_file() else pd.DataFrame(columns=["network", "tested_on"])
    used: list[str] = []
    for checkpoint in options.checkpoints:
        path = find_checkpoint(checkpoint)
        model, seen = load_checkpoint(path), read_card(path).get("data", {}).get("libraries", [])
        for text in options.on:
            label, _, where = text.partition("=")
            parts = [load(f"{label}={place}", options.pitches) for place in where.split("+")]
            notes = parts[0] if len(parts) == 1 else combine(parts, name=label)
            used.append(f"{label} {notes.key}")
            rows = score(model, notes, size=options.test, per_instrument=options.per_instrument)
            rows = rows.assign(network=path.stem, tested_on=label, seen=label in seen)
            print(rows.round(3).to_string(index=False), flush=True)
            table = table[~((table["network"] == path.stem) & (table["tested_on"] == label))]
            table = pd.concat([table, rows.round(4)], ignore_index=True).astype({"n": int, "mixtures": int})
    with enter_origin(TABLE, "; ".join(dict.fromkeys(used))) as path:
        table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
