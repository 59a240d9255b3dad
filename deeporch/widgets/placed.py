"""A mixture that is put together by hand: notes of a library, each with a level, an onset, mute and solo."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from ..files import atomic_path, write_text
from ..library import NoteLibrary
from ..mixtures import SAMPLES
from .pictures import Partials, colour_of

MAX_ONSET = 1.0  # seconds


@dataclass(frozen=True)
class Placed:
    """One note of a mixture.

    Attributes
    ----------
    row : int
        Of the library's table.
    level_db : float
        Change of level, in dB.
    onset : float
        Seconds before it starts.
    muted, solo : bool
        A muted note is silent; as soon as one note is solo, so are all that are not.
    """

    row: int
    level_db: float = 0.0
    onset: float = 0.0
    muted: bool = False
    solo: bool = False


def audible(placed: Sequence[Placed]) -> list[Placed]:
    """Return the notes that sound."""
    solo = any(note.solo for note in placed)
    return [note for note in placed if not note.muted and (note.solo or not solo)]


def mix(notes: NoteLibrary, placed: Sequence[Placed], *, samples: int = SAMPLES) -> torch.Tensor:
    """Return the sum of the notes that sound, divided by their number: float32 [samples]; see `Mixtures.audio`."""
    sounding = audible(placed)
    out = torch.zeros(samples)
    for note in sounding:
        begin = round(note.onset * notes.sample_rate)
        length = min(int(notes.lengths[note.row]), samples - begin)
        if length > 0:
            gain = 10 ** (note.level_db / 20) / len(sounding)
            out[begin : begin + length].add_(notes.audio[note.row, :length], alpha=gain)
    return out


def names(notes: NoteLibrary, placed: Sequence[Placed]) -> list[tuple[str, str]]:
    """Return (instrument, pitch) of each note."""
    table = notes.table
    return [(table["instrument"].iloc[note.row], table["pitch"].iloc[note.row]) for note in placed]


def partials(notes: NoteLibrary, placed: Sequence[Placed], *, samples: int = SAMPLES) -> list[Partials]:
    """Return where the partials of the notes that sound lie; each note keeps its colour when others are muted."""
    found, sounding = [], audible(placed)
    for index, note in enumerate(placed):
        if any(note is other for other in sounding):
            row = notes.table.iloc[note.row]
            frequency = 440 * 2 ** ((int(row["midi"]) - 69) / 12)
            end = min(note.onset + float(row["seconds"]), samples / notes.sample_rate)
            name = f"{row['instrument']} {row['pitch']}"
            found.append(Partials(name, frequency, note.onset, end, colour_of(index)))
    return found


def card(notes: NoteLibrary, placed: Sequence[Placed], *, scale: float = 1.0) -> dict:
    """Return the labels of a mixture, in the form of `Mixtures.save`."""
    sounding = audible(placed)
    rows = []
    for note in sounding:
        row = notes.table.iloc[note.row]
        rows.append(
            {name: row[name] for name in ("instrument", "pitch", "dynamic", "file")} | {"midi": int(row["midi"])}
        )
        rows[-1] |= {"gain": 10 ** (note.level_db / 20), "start_sample": -round(note.onset * notes.sample_rate)}
    classes = [f"{instrument} {pitch}" for instrument, pitch in names(notes, sounding)]
    scale /= max(len(sounding), 1)
    return {"classes": classes, "sample_rate": notes.sample_rate, "scale": scale, "notes": rows}


def files(notes: NoteLibrary, placed: Sequence[Placed]) -> tuple[bytes, str]:
    """Return a mixture as a 16-bit WAV, scaled down only if it would clip, and its labels as JSON.

    Raises
    ------
    ValueError
        If no note sounds.
    """
    if not audible(placed):
        raise ValueError("There is nothing to save: no note sounds. Add one, or unmute one.")
    audio = mix(notes, placed)
    scale = 1 / max(1.0, float(audio.abs().max()))
    file = io.BytesIO()
    soundfile.write(file, np.asarray(audio * scale), notes.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue(), json.dumps(card(notes, placed, scale=scale), indent=1, ensure_ascii=False)


def save(notes: NoteLibrary, placed: Sequence[Placed], path: str | Path) -> Path:
    """Write a mixture as ``.wav`` and its labels as ``.json`` beside it; return the WAV's path."""
    path = Path(path).with_suffix(".wav")
    wav, labels = files(notes, placed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(wav)
    write_text(path.with_suffix(".json"), labels)
    return path
