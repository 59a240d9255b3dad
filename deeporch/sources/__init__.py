"""The note libraries: one file a source, each with the same two functions.

``find(root, **filters) -> Found`` looks at what is there without reading any audio (it decides the cache key, so it
must be quick); ``read(found, seconds) -> iterator of Note`` then yields one note after another, or the reason why a
file is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

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
