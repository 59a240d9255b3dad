"""Decoded notes on disk: a folder for each library, with its audio, its table and the files that were skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..util.files import atomic_folder, checksum
from .instruments import INSTRUMENTS, midi_to_pitch, pitch_to_midi
from .recordings import SAMPLE_RATE, Note, describe_reasons

VERSION = 1
FILES = ("audio.npy", "table.csv", "skipped.csv")

# Every library has these columns, in this order, then those of its source.
COLUMNS = {
    "instrument": "str", "name": "str", "family": "str", "pitch": "str", "midi": "int64", "dynamic": "str",
    "technique": "str", "take": "str", "file": "str", "seconds": "float64", "peak": "float64", "loudness": "float64",
    "fold": "Int64", "string": "string", "retuning": "string", "cents": "Float64", "mute": "string",
}  # fmt: skip
EXTRA_COLUMNS = {
    "length": "str", "named": "str", "library": "str", "technique_name": "string", "dynamics_id": "Int64",
    "instance_id": "Int64", "string_id": "Int64", "retuned": "boolean",
}  # fmt: skip
OPTIONAL = {"take": "1", "technique": "ord", "dynamic": "mf"}  # what a table in memory may leave out


def build(
    folder: Path, notes: Iterable[Note], skipped: Iterable[tuple[str, str]], *, replace: bool = False
) -> tuple[int, list[tuple[str, str]]]:
    """Write every note into a new folder, which takes the place of `folder` in one step; return how many, and the rest.

    A whole folder that is there by then, made by another process, is left alone, unless `replace`.
    """
    with atomic_folder(folder, None if replace else is_whole) as temporary:
        rows, lost = _spool(notes, temporary / "spool")
        skipped = sorted([*skipped, *lost])
        if not rows:
            more = f"; in all, {describe_reasons(skipped)}" if len(skipped) > 1 else ""
            raise ValueError(f"None of {len(skipped)} files can be used as a note: {': '.join(skipped[0])}{more}.")
        _pad(temporary / "spool", [round(row["seconds"] * SAMPLE_RATE) for row in rows], temporary / "audio.npy")
        (temporary / "spool").unlink()
        tidy(pd.DataFrame(rows)).to_csv(temporary / "table.csv", index=False)
        pd.DataFrame(skipped, columns=["file", "reason"]).to_csv(temporary / "skipped.csv", index=False)
        about = {"notes": len(rows), "skipped": len(skipped), "sample_rate": SAMPLE_RATE, "version": VERSION}
        about["checksums"] = {file: checksum(temporary / file) for file in FILES}
        (temporary / "library.json").write_text(json.dumps(about), encoding="utf-8")
    return len(rows), skipped


def is_whole(folder: Path) -> bool:
    """Tell whether a library is there, every file as it was written."""
    try:
        stated = json.loads((folder / "library.json").read_text(encoding="utf-8"))["checksums"]
        return all(checksum(folder / file) == stated[file] for file in FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load(folder: Path) -> tuple[pd.DataFrame, torch.Tensor, pd.DataFrame]:
    """Return table, audio (float16 [notes, samples], memory-mapped) and skipped files of a library on disk."""
    table = _read_csv(folder / "table.csv", {**COLUMNS, **EXTRA_COLUMNS})
    skipped = _read_csv(folder / "skipped.csv", {"file": "str", "reason": "str"})
    # Mode "c" maps pages privately: torch may treat them as writable, and the file is never changed.
    return table, torch.from_numpy(np.load(folder / "audio.npy", mmap_mode="c")), skipped


def _spool(notes: Iterable[Note], path: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Write the notes one after another as float16, so that no library has to fit into memory."""
    rows, skipped = [], []
    with path.open("wb") as spool:
        for note in notes:
            if note.audio is None:
                skipped.append((note.row["file"], note.reason))
            else:
                rows.append(note.row)
                spool.write(note.audio.astype(np.float16).tobytes())
    return rows, skipped


def _pad(spool: Path, lengths: Sequence[int], path: Path) -> None:
    """Write the spooled notes as one array, [notes, samples], zero-padded to the longest (the file is sparse)."""
    width = 2 * max(lengths)
    with spool.open("rb") as notes, path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(lengths), max(lengths))}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for row, length in enumerate(lengths):  # written, not mapped: a full disk is then an error that can be read
            file.seek(start + row * width)
            file.write(notes.read(2 * length))
        file.truncate(start + len(lengths) * width)


def _read_csv(path: Path, dtypes: dict[str, str]) -> pd.DataFrame:
    return pd.read_csv(path, dtype=dtypes, keep_default_na=False, na_values=[""], encoding="utf-8")


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with every common column, in order and with its type."""
    table = table.reset_index(drop=True).copy()
    known = [INSTRUMENTS.get(i, (i, "other")) for i in table["instrument"]]
    for column, values in (("name", [k[0] for k in known]), ("family", [k[1] for k in known])):
        if column not in table:
            table[column] = values
    if "midi" not in table:
        table["midi"] = [pitch_to_midi(pitch) for pitch in table["pitch"]]
    table["pitch"] = [midi_to_pitch(midi) for midi in table["midi"]]
    for column, value in OPTIONAL.items():
        if column not in table:
            table[column] = value
    if "file" not in table:
        table["file"] = [f"{r.instrument}-{r.technique}-{r.pitch}-{r.dynamic}-{r.take}" for r in table.itertuples()]
    dtypes = {**COLUMNS, **{k: v for k, v in EXTRA_COLUMNS.items() if k in table}}
    for column, dtype in dtypes.items():
        table[column] = pd.array([pd.NA] * len(table), dtype=dtype) if column not in table else table[column]
    return table.astype(dtypes)[[*COLUMNS, *(c for c in table if c not in COLUMNS)]]
