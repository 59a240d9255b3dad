"""Decoded notes on disk: a folder for each library, with its audio, its table and the files that were skipped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from .instruments import INSTRUMENTS, midi_to_pitch, pitch_to_midi
from .recordings import SAMPLE_RATE, Note

VERSION = 1
FILES = ("audio.npy", "table.csv", "skipped.csv", "library.json")

# Every library has these columns, in this order, then those of its source.
COLUMNS = {
    "instrument": "str",
    "name": "str",
    "family": "str",
    "pitch": "str",
    "midi": "int64",
    "dynamic": "str",
    "technique": "str",
    "take": "str",
    "file": "str",
    "seconds": "float64",
    "peak": "float64",
    "loudness": "float64",
    "fold": "Int64",
    "string": "string",
    "retuning": "string",
    "cents": "Float64",
    "mute": "string",
}
EXTRA_COLUMNS = {
    "length": "str",
    "named": "str",
    "library": "str",
    "technique_name": "string",
    "dynamics_id": "Int64",
    "instance_id": "Int64",
    "string_id": "Int64",
    "retuned": "boolean",
}
OPTIONAL = {"take": "1", "technique": "ord", "dynamic": "mf"}  # what a table in memory may leave out


def build(
    folder: Path, notes: Iterable[Note], skipped: Iterable[tuple[str, str]], *, replace: bool = False
) -> tuple[int, list[tuple[str, str]]]:
    """Write every note into a new folder, which then takes the place of `folder` in one step.

    Parameters
    ----------
    folder : Path
        Where the library is to be.
    notes : iterable of Note
        From ``read`` of a source.
    skipped : iterable of (str, str)
        File and reason of what was no note by its name already.
    replace : bool
        Whether a complete folder is replaced that is there by then, for instance by another process.

    Returns
    -------
    count : int
        The number of notes.
    skipped : list of (str, str)
        Everything that is none, sorted.

    Raises
    ------
    ValueError
        If not a single note is left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        rows, lost = _spool(notes, temporary / "spool")
        skipped = sorted([*skipped, *lost])
        if not rows:
            raise ValueError(
                f"None of {len(skipped)} files can be used as a note: {'; '.join(map(': '.join, skipped[:3]))}."
            )
        _pad(temporary / "spool", [round(row["seconds"] * SAMPLE_RATE) for row in rows], temporary / "audio.npy")
        (temporary / "spool").unlink()
        tidy(pd.DataFrame(rows)).to_csv(temporary / "table.csv", index=False)
        pd.DataFrame(skipped, columns=["file", "reason"]).to_csv(temporary / "skipped.csv", index=False)
        about = {"notes": len(rows), "skipped": len(skipped), "sample_rate": SAMPLE_RATE, "version": VERSION}
        (temporary / "library.json").write_text(json.dumps(about), encoding="utf-8")
        temporary.chmod(0o755)  # mkdtemp makes private folders
        _put(temporary, folder, replace=replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(rows), skipped


def is_complete(folder: Path) -> bool:
    """Tell whether a library is there, whole."""
    return all((folder / file).is_file() for file in FILES)


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
    flat = np.memmap(spool, dtype=np.float16, mode="r")
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(lengths), max(lengths)))
    start = 0
    for row, length in zip(array, lengths, strict=True):
        row[:length] = flat[start : start + length]
        start += length
    array.flush()


def _put(new: Path, folder: Path, *, replace: bool) -> None:
    """Put a new folder in its place; if another process was quicker, its equal work stays, unless `replace`."""
    for _ in range(10):
        try:
            new.rename(folder)
            return
        except OSError:  # there is a folder already
            if is_complete(folder) and not replace:
                return
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            with contextlib.suppress(OSError):
                os.replace(folder, old)  # whoever has it open keeps the memory map
            shutil.rmtree(old, ignore_errors=True)
    raise OSError(f"The cache {str(folder)!r} cannot be replaced: delete it and try again.")


def _sweep(folder: Path) -> None:
    """Delete what killed processes left half done more than a day ago."""
    for left in folder.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 86_400:
                shutil.rmtree(left, ignore_errors=True)


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
