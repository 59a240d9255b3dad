"""Recordings of notes: finding files, decoding them, and what a source yields."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from ..util.audio import decode, start_of_sound
from ..util.checks import check_choice

SAMPLE_RATE = 44_100


@dataclass(frozen=True)
class Found:
    """What a source found, before any audio is read.

    Attributes
    ----------
    root : Path
        The folder (or SoundFont) that was searched.
    rows : list of dict
        One a note: instrument, midi, dynamic, technique, take, file (relative to `root`) and whatever else is known.
    skipped : list of (str, str)
        File and reason of what cannot become a note.
    fingerprint : str
        Changes whenever the audio of the library may have changed.
    duplicates : str
        ``"drop"`` or ``"keep"``: what becomes of files with the same bytes.
    """

    root: Path
    rows: list[dict[str, Any]]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    fingerprint: str = ""
    duplicates: str = "keep"


@dataclass(frozen=True)
class Note:
    """One row of the table with its audio (float32, mono, 44.1 kHz), or with the reason why there is none."""

    row: dict[str, Any]
    audio: np.ndarray | None = None
    reason: str = ""


Notes = Iterator[Note]

SUFFIXES = {".wav", ".mp3", ".flac", ".aif", ".aiff", ".ogg", ".opus", ".caf", ".w64"}
SILENCE_DB = -90.0  # a file whose peak lies below this (dB of full scale) is silent
SHORTEST = 0.05  # seconds: what is shorter is no note
LARGEST = 60_000.0  # float16 ends at 65,504

Parser = Callable[[str], dict[str, Any]]


def find_files(
    root: Path,
    parse: Parser,
    wanted: Callable[[dict[str, Any]], bool],
    *,
    duplicates: str = "drop",
) -> Found:
    """List the files below `root` whose names `parse` understands, without opening any.

    Parameters
    ----------
    root : Path
        Searched recursively, in the order of the sorted relative paths. Hidden files are left out.
    parse : callable
        From a relative path to a row (instrument, midi, dynamic, technique, take …); raises ValueError with the reason
        if the name does not follow the grammar.
    wanted : callable
        Decides by the row whether the note was asked for; what was not is no note and not `skipped` either.
    duplicates : str
        ``"drop"`` makes one note of byte-identical files, ``"keep"`` one each.

    Returns
    -------
    Found
        Its fingerprint is made of names, sizes and modification times.

    Raises
    ------
    FileNotFoundError
        If `root` is no folder, or has no files.
    """
    check_choice(duplicates, ("drop", "keep"), "duplicates")
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {str(root)!r}: give root= a folder that has the recordings.")
    rows, skipped = [], []
    digest = hashlib.sha256(duplicates.encode())
    files = sorted(_walk(root))
    for file, status in files:
        try:
            row = {**parse(file), "file": file}
        except ValueError as error:
            skipped.append((file, str(error)))
            continue
        if wanted(row):
            rows.append(row)
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    if not files:
        raise FileNotFoundError(f"The folder {str(root)!r} has no files: give root= a folder that has the recordings.")
    return Found(root, rows, skipped, digest.hexdigest(), duplicates)


def is_audio(file: str) -> None:
    """Raise ValueError if the suffix is not one of an audio file."""
    if Path(file).suffix.lower() not in SUFFIXES:
        raise ValueError("no audio file by its suffix")


def as_filter(value: str | Iterable[str] | None) -> set[str] | None:
    """Return the values that a filter lets through as a set; None (no filter) stays None."""
    return None if value is None else {value} if isinstance(value, str) else {str(v) for v in value}


def _walk(folder: Path, prefix: str = "") -> Iterable[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat()


def read(found: Found, seconds: float) -> Notes:
    """Decode every file of `found`, in order, on all cores.

    Threads are as fast as processes here: libsndfile, soxr and hashing all release the interpreter lock.

    Parameters
    ----------
    found : Found
        From ``find``.
    seconds : float
        The longest part of a note that is kept.

    Yields
    ------
    Note
        With audio, or with the reason why there is none.
    """
    same = identical_files(found.root, [row["file"] for row in found.rows]) if found.duplicates == "drop" else {}

    def one(row: dict[str, Any]) -> Note:
        if row["file"] in same:
            return Note(row, reason=f"identical to {same[row['file']]}")
        try:
            return prepare(row, *decode(found.root / row["file"]), seconds=seconds)
        except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:
            return Note(row, reason=f"cannot be decoded: {' '.join(str(error).split())}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = iter(found.rows)
        while block := list(islice(rows, 256)):  # in blocks, so that decoded notes never pile up
            yield from pool.map(one, block)


def identical_files(root: Path, files: list[str]) -> dict[str, str]:
    """Return for every file with the same bytes as an earlier one the name of that earlier one.

    Two names for one recording would be two notes, and one of them could be trained on and the other tested. Only
    files of equal size are read.
    """
    sizes = {file: (root / file).stat().st_size for file in files}
    common = Counter(sizes.values())
    candidates = [file for file in files if common[sizes[file]] > 1]
    first: dict[tuple[int, str], str] = {}
    same = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda file: hashlib.sha256((root / file).read_bytes()).hexdigest(), candidates)
        for file, digest in zip(candidates, digests, strict=True):
            earlier = first.setdefault((sizes[file], digest), file)
            if earlier != file:
                same[file] = earlier
    return same


def prepare(row: dict[str, Any], audio: np.ndarray, sample_rate: int, *, seconds: float) -> Note:
    """Make a note of decoded audio: mono, 44.1 kHz, without leading silence, measured.

    Parameters
    ----------
    row : dict
        What is known of the note.
    audio : numpy.ndarray
        Shape (samples, channels), full scale is 1. Channels are averaged; levels are left as they are.
    sample_rate : int
        Hz.
    seconds : float
        The longest part that is kept, counted from the start of the sound.

    Returns
    -------
    Note
        Its row gets ``seconds``, ``peak`` (largest magnitude, full scale is 1) and ``loudness`` (RMS of what is kept,
        dB relative to full scale); a silent, broken or too short recording becomes a reason.
    """
    mono = audio.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        return Note(row, reason="has samples that are no finite numbers")
    if not len(mono) or np.abs(mono).max() < 10 ** (SILENCE_DB / 20):
        return Note(row, reason="silent" if len(mono) else "has no samples")
    if sample_rate != SAMPLE_RATE:
        mono = soxr.resample(mono, sample_rate, SAMPLE_RATE)
    mono = mono[start_of_sound(mono) :][: round(seconds * SAMPLE_RATE)]
    if len(mono) < SHORTEST * SAMPLE_RATE:
        return Note(row, reason=f"shorter than {1000 * SHORTEST:g} ms")
    peak = float(np.abs(mono).max())
    if peak > LARGEST:
        return Note(row, reason=f"louder than float16 can hold (peak {peak:g})")
    loudness = 10 * np.log10(np.mean(np.square(mono, dtype=np.float64)))
    return Note({**row, "seconds": len(mono) / SAMPLE_RATE, "peak": peak, "loudness": float(loudness)}, mono)


def group_reasons(skipped: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return how many files were skipped for each kind of reason, most frequent first."""
    kinds: dict[str, int] = defaultdict(int)
    for _, reason in skipped:
        kinds["identical to another file" if reason.startswith("identical to") else reason.split(":")[0]] += 1
    return dict(sorted(kinds.items(), key=lambda kind: -kind[1]))
