"""The notes: one table and one tensor, from any source.

``load_library`` finds, decodes and caches; ``NoteLibrary`` is what everything else works with.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..util.audio import as_float, check_rate
from ..util.checks import check_choice, check_range, near
from ..util.files import cache_path, user_path
from ..util.progress import progress
from . import recordings, store
from .instruments import INSTRUMENTS, dynamic_order, instrument_order, midi_to_pitch, pitch_to_midi
from .recordings import SAMPLE_RATE
from .store import tidy

SOURCES = ("soundfont", "tinysol", "sol", "philharmonia", "sharc", "patches")  # modules of `sources`


def load_library(
    name: str = "default",
    *,
    root: str | Path | None = None,
    seconds: float = 4.0,
    refresh: bool = False,
    **filters: Any,
) -> NoteLibrary:
    """Load a library of notes; decode and cache it if that has not been done before.

    Parameters
    ----------
    name : str
        ``"soundfont"``, ``"tinysol"``, ``"sol"``, ``"philharmonia"``, ``"sharc"`` (resynthesised spectra) or
        ``"patches"`` (.pat files, such as Freepats). ``"default"`` is what the environment variable
        ``DEEPORCH_LIBRARY`` names, or else ``"soundfont"``, which needs no download.
    root : str or Path, optional
        The folder of the recordings (soundfont: an .sf2 or .sf3 file; sharc: sharc.xml). Default: the environment
        variable ``DEEPORCH_<NAME>_ROOT``; without it, soundfont uses the one that pretty_midi ships and tinysol is
        downloaded.
    seconds : float
        The longest part of a note that is kept, from the start of its sound; 0.05 to 60.
    refresh : bool
        Decode again even if there is a cache.
    **filters
        Which notes: philharmonia `length`, `technique`, `pitches`; sol `technique`, `instrument`, `dynamic`; soundfont
        `instruments`, `dynamics`; sharc `instruments`, `technique`; patches `instruments`; tinysol `download`, `url`,
        `checksums`. All that read files: `duplicates`, ``"drop"`` (default) or ``"keep"`` byte-identical files. See
        ``find`` of each source.

    Returns
    -------
    NoteLibrary
        Its audio is memory-mapped from the cache.

    Raises
    ------
    ValueError
        If the library or a filter is not known, or no note is left.
    FileNotFoundError
        If there are no recordings at `root`, or no `root` where one is needed.

    Examples
    --------
    >>> notes = load_library("soundfont", instruments=["Fl"], dynamics=["mf"])  # doctest: +SKIP
    """
    if name == "default":
        name = os.environ.get("DEEPORCH_LIBRARY") or "soundfont"
    check_choice(name, SOURCES, "library")
    check_range(seconds, recordings.SHORTEST, 60, "seconds")
    source = import_module(f"{__package__}.sources.{name}")
    known = [parameter for parameter in inspect.signature(source.find).parameters if parameter != "root"]
    for option in filters:
        check_choice(option, known, f"filter of the library {name}")
    root = root or os.environ.get(f"DEEPORCH_{name.upper()}_ROOT")
    found = source.find(user_path(root) if root else None, **filters)
    if not found.rows:
        because = f" passes {', '.join(f'{k}={v!r}' for k, v in filters.items())}" if filters else ""
        raise ValueError(f"No note of {name} in {str(found.root)!r}{because}{_reasons(found.skipped)}.")
    parts = [store.VERSION, name, source.VERSION, seconds, found.fingerprint, found.rows, found.skipped]
    folder = cache_path("notes", name, parts)
    if refresh or not store.is_whole(folder):
        notes = progress(source.read(found, seconds), total=len(found.rows), desc=name, unit=" notes", leave=False)
        rows, skipped = store.build(folder, notes, found.skipped, replace=refresh)
        if skipped:
            print(f"{name}: {rows:,} notes{_reasons(skipped)}")
    table, audio, skipped = store.load(folder)
    return NoteLibrary(table, audio, name=name, key=folder.name.removeprefix(f"{name}-"), skipped=skipped)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Return a user's table with midi in whole numbers, or say which row has no instrument or pitch."""
    if "instrument" not in table or not {"pitch", "midi"} & set(table):
        columns = ", ".join(map(str, table))
        raise ValueError(f"The table needs the columns instrument and pitch (or midi), but has {columns}.")
    column = "midi" if "midi" in table else "pitch"
    midi = []
    for i, (instrument, pitch) in enumerate(zip(table["instrument"], table[column], strict=True)):
        if not isinstance(instrument, str) or not instrument:
            raise ValueError(f"Row {i} of the table has no name of an instrument, but {instrument!r}.")
        try:
            midi.append(pitch_to_midi(pitch) if isinstance(pitch, str) else int(check_range(pitch, 0, 127, column)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"Row {i} of the table has no {column}: {error}") from None
        if not isinstance(pitch, str) and midi[-1] != pitch:
            raise ValueError(f"Row {i} of the table has the {column} {pitch!r}: a MIDI number is a whole number.")
    return table.assign(midi=midi)


def _one_note(audio: Any, name: str) -> np.ndarray:
    """Return a note in memory as float32 [samples] without the padding after it, or say what is wrong with it."""
    audio = as_float(audio, name)
    if audio.ndim != 1:
        raise ValueError(f"{name} must be mono, [samples], but has shape {list(audio.shape)}: mix its channels first.")
    audio = np.trim_zeros(audio, "b")
    if not len(audio):
        raise ValueError(f"{name} has no sound.")
    if not np.abs(audio).max() <= recordings.LARGEST:  # nor if it is no number
        raise ValueError(f"{name} has samples that are no finite numbers, or beyond {recordings.LARGEST:,.0f}.")
    return audio


def _reasons(skipped: Sequence[tuple[str, str]]) -> str:
    return "; skipped " + recordings.describe_reasons(skipped) if skipped else ""


class NoteLibrary:
    """Recordings of notes: one table row and one tensor row each.

    Parameters
    ----------
    table : pandas.DataFrame
        See `table` below.
    audio : torch.Tensor
        Shape [notes, samples], float16, zero-padded.
    name, key : str
        What it is called, and what its cache is called.
    skipped : pandas.DataFrame, optional
        Columns file and reason.
    sample_rate : int
        Hz.
    rows : numpy.ndarray, optional
        Which rows of `audio` belong to the table; default: all.

    Attributes
    ----------
    table : pandas.DataFrame
        A RangeIndex and the columns instrument (abbreviation), name, family, pitch (``"C#4"``), midi (C4 is 60),
        dynamic (``"pp"``), technique, take, file (relative to the root), seconds, peak (full scale is 1), loudness (RMS
        over the note, dB relative to full scale), fold, string, retuning, cents, mute (missing where the source has
        none), and further ones of the source.
    name : str
    key : str
        Names the audio and its order: equal keys are equal libraries.
    skipped : pandas.DataFrame
        What could not be used: file and reason.
    sample_rate : int
        44100.
    """

    def __init__(
        self, table: pd.DataFrame, audio: torch.Tensor, *, name: str, key: str, skipped: pd.DataFrame | None = None,
        sample_rate: int = SAMPLE_RATE, rows: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.table = table.reset_index(drop=True)
        self.name = name
        self.key = key
        self.skipped = skipped if skipped is not None else pd.DataFrame({"file": [], "reason": []}, dtype="str")
        self.sample_rate = sample_rate
        self._base = audio
        self._rows = np.arange(len(audio)) if rows is None else rows
        self._copies: dict[torch.device, torch.Tensor] = {}

    @classmethod
    def from_audio(
        cls,
        table: pd.DataFrame,
        audio: torch.Tensor | np.ndarray | Sequence[Any],
        *,
        name: str = "notes",
        sample_rate: int = SAMPLE_RATE,
    ) -> NoteLibrary:
        """Make a library of notes in memory, for instance of your own recordings.

        `table` has one row per note with instrument and pitch or midi (else ValueError); all else is filled in or
        measured. `audio` is mono: [notes, samples] whose trailing zeros are padding, or a sequence of [samples], at
        `sample_rate` Hz (it is not resampled), floats from -1 to 1 or int16, int32 or uint8.
        """
        check_rate(sample_rate)
        table = _named(table)
        if len(table) != len(audio) or not len(table):
            raise ValueError(f"The table has {len(table)} rows for {len(audio)} notes of audio: give one each.")
        notes = [_one_note(note, f"Note {i} of the audio") for i, note in enumerate(audio)]
        padded = np.zeros((len(notes), max(map(len, notes))), dtype=np.float16)
        for row, note in zip(padded, notes, strict=True):
            row[: len(note)] = note
        measured = pd.DataFrame([recordings.measure(note, sample_rate) for note in notes], index=table.index)
        table = tidy(pd.concat([table.drop(columns=[*measured], errors="ignore"), measured], axis=1))
        digest = hashlib.sha256(padded.tobytes() + table.to_csv(index=False).encode())
        key = f"memory-{digest.hexdigest()[:20]}"
        return cls(table, torch.from_numpy(padded), name=name, key=key, sample_rate=sample_rate)

    @cached_property
    def audio(self) -> torch.Tensor:
        """float16 [notes, samples]: mono, zero-padded to the longest note that was loaded.

        Of a whole library, or of neighbouring rows, it is a view of the memory map; of other selections a copy that is
        made when it is first asked for.
        """
        rows = self._rows
        if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
            return self._base[int(rows[0]) : int(rows[0]) + len(rows)]
        return self._base[torch.from_numpy(rows)]

    def audio_on(self, device: torch.device) -> torch.Tensor:
        """Return `audio` on a GPU, copied there once."""
        if device not in self._copies:
            self._copies[device] = self.audio.to(device)
        return self._copies[device]

    def fits(self, device: torch.device) -> bool:
        """Return whether `audio` is on a GPU or leaves half of what is free there."""
        if device in self._copies or device.type != "cuda":
            return True
        return self.audio.numel() * self.audio.itemsize <= torch.cuda.mem_get_info(device)[0] / 2

    @cached_property
    def lengths(self) -> torch.Tensor:
        """int64 [notes]: how many samples of each row of `audio` are its note."""
        return torch.from_numpy(np.rint(self.table["seconds"].to_numpy() * self.sample_rate).astype(np.int64))

    def sound(self, i: int) -> torch.Tensor:
        """Return one note, float16 [its samples], a view of the memory map: no selection is copied for it."""
        return self._base[int(self._rows[i]), : int(self.lengths[i])]

    def __len__(self) -> int:
        """Return the number of notes."""
        return len(self.table)

    def __repr__(self) -> str:
        return (
            f"NoteLibrary {self.name!r}: {len(self):,} notes of {self.table['instrument'].nunique()} instruments, "
            f"{self.table['seconds'].sum() / 60:.1f} minutes, {len(self.skipped)} files skipped"
        )

    def take(self, indices: Any) -> NoteLibrary:
        """Return the library of these rows, in this order; negative ones count from the end (IndexError beyond)."""
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(indices) and not (-len(self) <= indices.min() and indices.max() < len(self)):
            raise IndexError(f"The library has rows 0 to {len(self) - 1}, but {indices.max()} was asked for.")
        indices = indices % max(len(self), 1)
        digest = hashlib.sha256(self.key.encode() + indices.tobytes()).hexdigest()[:20]
        key = self.key if np.array_equal(indices, np.arange(len(self))) else f"rows-{digest}"
        same = {"name": self.name, "skipped": self.skipped, "sample_rate": self.sample_rate}
        return NoteLibrary(self.table.iloc[indices], self._base, key=key, rows=self._rows[indices], **same)

    def select(
        self,
        instruments: str | Iterable[str] | None = None,
        dynamics: str | Iterable[str] | None = None,
        pitch_range: tuple[str | int, str | int] | None = None,
        families: str | Iterable[str] | None = None,
        techniques: str | Iterable[str] | None = None,
    ) -> NoteLibrary:
        """Return the library of the notes that pass every filter.

        A string may hold several values, separated by spaces: ``"Fl Ob ClBb"``. `pitch_range` is the lowest and the
        highest pitch, names or MIDI numbers: ``("C2", "C6")``. ValueError if the library has no such value (near names
        are given), or a filter leaves nothing (it is named).
        """
        keep = np.ones(len(self), dtype=bool)
        given = {"instrument": instruments, "dynamic": dynamics, "family": families, "technique": techniques}
        for column, values in given.items():
            if values is not None:
                wanted = _values(values, self.table[column], column)
                keep = self._narrow(keep, self.table[column].isin(wanted), column + "s", wanted)
        if pitch_range is not None:
            low, high = (pitch_to_midi(p) if isinstance(p, str) else int(p) for p in pitch_range)
            if low > high:
                raise ValueError(f"pitch_range goes from the lowest to the highest pitch, but is {pitch_range!r}.")
            keep = self._narrow(keep, self.table["midi"].between(low, high), "pitch_range", pitch_range)
        return self.take(np.flatnonzero(keep))

    def _narrow(self, keep: np.ndarray, passes: pd.Series, what: str, value: Any) -> np.ndarray:
        narrowed = keep & passes.to_numpy(dtype=bool)
        if not narrowed.any():
            what = "families" if what == "familys" else what
            raise ValueError(f"No note is left by {what}={value!r} (of {int(keep.sum())} notes before that filter).")
        return narrowed

    def summary(self) -> pd.DataFrame:
        """Return one row per instrument, in score order: name, family, notes, pitches, range, dynamics, seconds.

        ``pitches`` counts different pitches, ``seconds`` adds up all notes.
        """
        table = self.table.groupby("instrument").agg(
            name=("name", "first"), family=("family", "first"), notes=("midi", "size"), pitches=("midi", "nunique"),
            lowest=("midi", lambda midi: midi_to_pitch(midi.min())),
            highest=("midi", lambda midi: midi_to_pitch(midi.max())),
            dynamics=("dynamic", lambda column: " ".join(sorted(column.unique(), key=dynamic_order))),
            seconds=("seconds", lambda seconds: round(float(seconds.sum()), 1)),
        )  # fmt: skip
        return table.loc[sorted(table.index, key=instrument_order)]

    def _repr_html_(self) -> str:
        from .chart import library_html  # only notebooks need it

        return library_html(repr(self), self.table, self.summary(), self.skipped)


def _values(values: str | Iterable[str], column: pd.Series, what: str) -> list[str]:
    """Return the wanted values as a list; each must occur in the column."""
    wanted = values.replace(",", " ").split() if isinstance(values, str) else [str(v) for v in values]
    known = set(column.unique())
    order = {"instrument": instrument_order, "dynamic": dynamic_order}.get(what, lambda v: (0, v))
    for value in wanted:
        if value in known:
            continue
        names = {INSTRUMENTS[k][0]: k for k in known if k in INSTRUMENTS} if what == "instrument" else {}
        hint = [names.get(n, n) for n in near(value, [*known, *names])]
        hint = f" did you mean {' or '.join(map(repr, dict.fromkeys(hint)))}?" if hint else ""
        raise ValueError(f"Unknown {what} {value!r}:{hint} This library has {', '.join(sorted(known, key=order))}.")
    return wanted


def combine(libraries: Sequence[NoteLibrary], *, name: str = "combined") -> NoteLibrary:
    """Return one library of several, with a column ``library`` that says where each note is from."""
    rates = {library.sample_rate for library in libraries}
    if len(rates) != 1:
        raise ValueError(f"Libraries to combine must share one sample rate, but there are {sorted(rates) or 'none'}.")
    tables = [library.table.assign(library=library.table.get("library", library.name)) for library in libraries]
    skipped = [library.skipped.assign(file=library.name + "/" + library.skipped["file"]) for library in libraries]
    audio = torch.zeros(sum(map(len, libraries)), max(each.audio.shape[1] for each in libraries), dtype=torch.float16)
    start = 0
    for library in libraries:
        audio[start : start + len(library), : library.audio.shape[1]] = library.audio
        start += len(library)
    keys = json.dumps([library.key for library in libraries])
    table, lost = tidy(pd.concat(tables, ignore_index=True)), pd.concat(skipped, ignore_index=True)
    key = f"combined-{hashlib.sha256(keys.encode()).hexdigest()[:20]}"
    return NoteLibrary(table, audio, name=name, key=key, skipped=lost, sample_rate=rates.pop())
