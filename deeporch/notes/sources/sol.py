"""Studio On Line: OrchideaSOL, FullSOL, or any folder that names its files the same way.

Citation: Carmine Emanuele Cella, Daniele Ghisi, Vincent Lostanlen, Fabien Lévy, Joshua Fineberg, Yan Maresz,
          *OrchideaSOL: a dataset of extended instrumental techniques for computer-aided orchestration*, ICMC 2020.
Licence:  metadata CC BY 4.0; the audio of OrchideaSOL and FullSOL under the licence of the Ircam Forum.
URL:      https://doi.org/10.5281/zenodo.3686252 and https://forum.ircam.fr/projects/detail/orchideasol/
Checksum: none is needed: the audio comes from the Ircam Forum with an account.
Grammar:  instrument-technique-pitch-dynamic-…: ``Vn+S-ord-G#3-pp-4c-N.wav``. After ``+`` comes a mute. Then, where
          known, the string (``1c`` highest … ``6c``, ``altN``, or N) and the retuning (N, ``T14d``, ``T20u``,
          ``R100u`` for cents down or up, R for resampled from a neighbour).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from .. import recordings
from ..instruments import pitch_to_midi
from ..recordings import Found
from ..recordings import read as read

VERSION = 1
WHERE = (
    "OrchideaSOL is to be had from https://forum.ircam.fr/projects/detail/orchideasol/ with a free account: give the "
    "unpacked folder (or any folder whose files are named instrument-technique-pitch-dynamic-…) as root=, or set "
    "DEEPORCH_SOL_ROOT to it."
)

_STRING = re.compile(r"[1-6]c|alt\d+")
_RETUNING = re.compile(r"[TR](\d+)([du])|R|N")


def parse(file: str) -> dict[str, Any]:
    """Return what the name of a SOL file says."""
    recordings.is_audio(file)
    fields = PurePosixPath(file).stem.split("-")
    if len(fields) < 4 or not all(fields[:4]):
        raise ValueError("the name is not instrument-technique-pitch-dynamic")
    (instrument, plus, mute), technique, pitch, dynamic = fields[0].partition("+"), *fields[1:4]
    if not instrument or (plus and not mute):
        raise ValueError(f"the name gives {fields[0]!r} for instrument and mute")
    if pitch in ("N", "NA"):
        raise ValueError("the name gives no pitch")
    return {
        "instrument": instrument, "mute": mute or None, "technique": technique, "midi": pitch_to_midi(pitch),
        "dynamic": dynamic, "take": "-".join(fields[4:]) or "1", **_string_and_retuning(fields[4:]),
    }  # fmt: skip


def _string_and_retuning(fields: list[str]) -> dict[str, Any]:
    string = next((field for field in fields if _STRING.fullmatch(field)), None)
    found = _RETUNING.fullmatch(fields[-1]) if len(fields) > 1 else None
    if not found:
        return {"string": string, "retuning": None, "cents": None}
    cents = {"u": 1.0, "d": -1.0}[found[2]] * int(found[1]) if found[1] else {"N": 0.0}.get(found[0])
    return {"string": string, "retuning": found[0], "cents": cents}


def find(
    root: Path | None,
    *,
    technique: str | Iterable[str] | None = None,
    instrument: str | Iterable[str] | None = None,
    dynamic: str | Iterable[str] | None = None,
    duplicates: str = "drop",
) -> Found:
    """List the notes below `root`."""
    if root is None:
        raise FileNotFoundError(WHERE)
    filters = [recordings.as_filter(value) for value in (technique, instrument, dynamic)]

    def wanted(row: dict[str, Any]) -> bool:
        played = row["instrument"] + (f"+{row['mute']}" if row["mute"] else "")
        values = (row["technique"], played, row["dynamic"])
        return all(keep is None or value in keep for keep, value in zip(filters, values, strict=True))

    return recordings.find_files(root, parse, wanted, duplicates=duplicates)
