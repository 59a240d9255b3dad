"""Recordings of notes: finding files, decoding them, and what a source yields."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..util.audio import check_rate, decode, resample, start_of_sound, to_mono
from ..util.checks import check_choice

SAMPLE_RATE = 44_100
_SUFFIXES = "wav wave bwf rf64 w64 flac aif aiff aifc caf mp3 mp2 ogg oga opus au snd voc sf ircam nist sph paf svx avr"
SILENCE_DB = -90.0  # a file whose peak lies below this (dB of full scale) is silent
SHORTEST = 0.05  # seconds: what is shorter is no note
LARGEST = 60_000.0  # float16 ends at 65,504
KINDS = 5  # of reasons that are told
_COPY = re.compile(r"(\s*\((\d+|[^()]*cop(y|ie)[^()]*)\)|\s+-?\s*(copy|copie|kopie)(\s*\d+)?)+$", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """What a source found, before any audio is read."""

    root: Path  # the folder (or SoundFont) that was searched
    rows: list[dict[str, Any]]  # one per note: instrument, midi, dynamic, technique, take, file and whatever is known
    skipped: list[tuple[str, str]] = field(default_factory=list)  # file and reason of what cannot become a note
    fingerprint: str = ""  # changes whenever the audio of the library may have changed
    duplicates: str = "keep"  # or "drop": what becomes of files with the same bytes
    paths: dict[str, str] = field(default_factory=dict)  # names on the disk, where `file` is spelt otherwise

    def path(self, file: str) -> Path:
        """Return where a row's file is."""
        return self.root / self.paths.get(file, file)


@dataclass(frozen=True)
class Note:
    """One row of the table with its audio (float32, mono, 44.1 kHz), or with the reason why there is none."""

    row: dict[str, Any]
    audio: np.ndarray | None = None
    reason: str = ""


Notes = Iterator[Note]


def find_files(
    root: Path,
    parse: Callable[[str], dict[str, Any]],
    wanted: Callable[[dict[str, Any]], bool],
    *,
    duplicates: str = "drop",
) -> Found:
    """List the files below `root`, in the order of their paths, without opening any; hidden ones are left out."""
    check_choice(duplicates, ("drop", "keep"), "duplicates")
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {str(root)!r}: give root= a folder that has the recordings.")
    rows, skipped, paths = [], [], {}
    digest = hashlib.sha256(duplicates.encode())
    files, unread = _walk(root)
    known = set()
    for file, real, status in sorted(files):
        try:
            if file in known:
                raise ValueError("its name is spelt like another file's")
            known.add(file)
            row = {**parse(_original(file)), "file": file}
        except ValueError as error:
            skipped.append((file, str(error)))
            continue
        if wanted(row):
            rows.append(row)
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
            if real != file:
                paths[file] = real
    if not files and not unread:
        raise FileNotFoundError(f"The folder {str(root)!r} has no files: give root= a folder that has the recordings.")
    return Found(root, rows, skipped + unread, digest.hexdigest(), duplicates, paths)


def is_audio(file: str) -> None:
    """Raise ValueError if the suffix is not one of an audio file."""
    if PurePosixPath(file).suffix.lower()[1:] not in _SUFFIXES.split():
        raise ValueError("no audio file by its suffix")


def as_filter(value: str | Iterable[str] | None) -> set[str] | None:
    """Return the values that a filter lets through as a set; None (no filter) stays None."""
    return None if value is None else {value} if isinstance(value, str) else {str(v) for v in value}


def _original(file: str) -> str:
    """Return a path without what file managers append to the names of copies: "… (1)", "… copy", "… - Copy (2)"."""
    path = PurePosixPath(file)
    return str(path.with_name(_COPY.sub("", path.stem) + path.suffix)) if _COPY.sub("", path.stem) else file


def _spelt(name: str) -> str:
    """Return a file's name with composed letters; what is not UTF-8 is taken for Latin-1."""
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        name = os.fsencode(name).decode("latin-1")
    return unicodedata.normalize("NFC", name)


def _walk(root: Path) -> tuple[list[tuple[str, str, os.stat_result]], list[tuple[str, str]]]:
    """Return (path as spelt, path on the disk, status) of all files, and what may not be read; no folder twice."""
    files, unread, seen = [], [], set()
    folders = [("", "")]
    while folders:
        spelt, real = folders.pop(0)
        links = []
        try:
            status = (root / real).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted((e for e in os.scandir(root / real) if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            unread.append((spelt or ".", f"may not be read ({error.strerror})"))
            continue
        for entry in entries:
            names = spelt + _spelt(entry.name), real + entry.name
            try:
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(tuple(name + "/" for name in names))
                elif entry.is_file():
                    files.append((*names, entry.stat()))
                elif entry.is_symlink():
                    unread.append((names[0], "a link that leads nowhere"))
            except OSError as error:
                unread.append((names[0], f"may not be read ({error.strerror})"))
        folders += links  # after the folders themselves, so that a note keeps its own path
    return files, unread


def read(found: Found, seconds: float) -> Notes:
    """Decode every file of `found`, in order, on all cores, and keep `seconds` of each."""
    same = identical_files(found) if found.duplicates == "drop" else {}

    def one(row: dict[str, Any]) -> Note:
        if row["file"] in same:
            return Note(row, reason=f"identical to {same[row['file']]}")
        path = found.path(row["file"])
        try:
            return prepare(row, *decode(path), seconds=seconds)
        except (OSError, ValueError, MemoryError) as error:
            why = " ".join(str(error).replace(repr(str(path)), "it").split())
            return Note(row, reason=f"cannot be decoded: {why}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = iter(found.rows)
        while block := list(islice(rows, 256)):  # in blocks, so that decoded notes never pile up
            yield from pool.map(one, block)


def identical_files(found: Found) -> dict[str, str]:
    """Return for every file with the same bytes as another the name of the one that is kept: no copy, and the first."""
    files = sorted((row["file"] for row in found.rows), key=lambda file: (_original(file) != file, file))
    sizes = {file: found.path(file).stat().st_size for file in files}
    common = Counter(sizes.values())

    def digest(file: str) -> str:
        try:
            return hashlib.sha256(found.path(file).read_bytes()).hexdigest()
        except OSError:  # decoding it says why
            return file

    candidates = [file for file in files if common[sizes[file]] > 1]
    first: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = zip(candidates, pool.map(digest, candidates), strict=True)
        return {file: kept for file, key in digests if (kept := first.setdefault(key, file)) != file}


def prepare(row: dict[str, Any], audio: np.ndarray, sample_rate: float, *, seconds: float) -> Note:
    """Make a note of decoded audio [samples, channels]: mono, 44.1 kHz, without leading silence, at most `seconds`."""
    check_rate(sample_rate)
    mono = to_mono(audio)
    if not np.isfinite(mono).all():
        return Note(row, reason="has samples that are no finite numbers")
    if not len(mono) or np.abs(mono).max() < 10 ** (SILENCE_DB / 20):
        return Note(row, reason="silent" if len(mono) else "has no samples")
    mono = resample(mono, sample_rate, SAMPLE_RATE)
    if len(mono):
        mono = mono[start_of_sound(mono) :][: round(seconds * SAMPLE_RATE)]
    if len(mono) < SHORTEST * SAMPLE_RATE:
        return Note(row, reason=f"shorter than {1000 * SHORTEST:g} ms")
    measured = measure(mono, SAMPLE_RATE)
    if not measured["peak"] <= LARGEST:
        return Note(row, reason=f"louder than float16 can hold (peak {measured['peak']:g})")
    return Note({**row, **measured}, mono)


def measure(mono: np.ndarray, sample_rate: float) -> dict[str, float]:
    """Return a note's seconds, peak and loudness (dB RMS)."""
    loudness = 10 * np.log10(np.mean(np.square(mono, dtype=np.float64)))
    return {"seconds": len(mono) / sample_rate, "peak": float(np.abs(mono).max()), "loudness": float(loudness)}


def describe_reasons(skipped: Sequence[tuple[str, str]]) -> str:
    """Return how many files were skipped for which kinds of reason, most frequent first: "3 (silent), 1 (no pitch)"."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for _, reason in skipped:
        reason = "identical to another file" if reason.startswith("identical to") else reason.split(": ")[0]
        kinds[re.sub(r"'[^']*'|\"[^\"]*\"|-?\d[\d.]*", "…", reason)].append(reason)
    ranked = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    told = [f"{len(each)} ({each[0] if len(set(each)) == 1 else kind})" for kind, each in ranked[:KINDS]]
    rest = sum(len(each) for _, each in ranked[KINDS:])
    return ", ".join([*told, *([f"{rest} for other reasons"] if rest else [])])
