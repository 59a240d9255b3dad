"""Notes of the Philharmonia Orchestra, London.

Citation: Philharmonia Orchestra, *Sound samples*, recorded by its players, London.
Licence:  free to use in any work, commercial or not; the samples themselves may not be sold or passed on as samples.
URL:      https://philharmonia.co.uk/resources/sound-samples/ (one archive an instrument)
Checksum: none is published; byte-identical files are found by SHA-256.
Errata:   183 files do not sound at the pitch in their name (see ``MISNAMED``).
Grammar:  instrument_pitch_length_dynamic_technique.mp3, sharps written ``s``: ``violin_As3_1_forte_arco-normal.mp3``.
          Length: 025, 05, 1, 15 (1.5 s), long, very-long, phrase. Any folder, any audio format.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from ...util.checks import check_choice
from .. import recordings
from ..instruments import midi_to_pitch, pitch_to_midi
from ..recordings import Found
from ..recordings import read as read

VERSION = 3
WHERE = (
    "The Philharmonia Orchestra's notes are free to download from https://philharmonia.co.uk/resources/sound-samples/: "
    "unpack them into one folder and give it as root=, or set DEEPORCH_PHILHARMONIA_ROOT to it."
)

# cor anglais and english horn are one instrument; the orchestra's archives have both names, mostly for the same files.
NAMES = {
    "violin": "Vn", "viola": "Va", "cello": "Vc", "double-bass": "Cb", "flute": "Fl", "oboe": "Ob", "cor-anglais": "EH",
    "english-horn": "EH", "clarinet": "ClBb", "bass-clarinet": "BClBb", "bassoon": "Bn", "contrabassoon": "CBn",
    "saxophone": "ASax", "french-horn": "Hn", "trumpet": "TpC", "trombone": "Tbn", "tuba": "BTb", "guitar": "Gtr",
}  # fmt: skip
DYNAMICS = {
    "molto-pianissimo": "ppp", "pianissimo": "pp", "piano": "p", "mezzo-piano": "mp", "mezzo-forte": "mf", "forte": "f",
    "fortissimo": "ff", "molto-fortissimo": "fff",
}  # fmt: skip
# Instrument, dynamic, range of names, and by how many semitones the sound differs from the name. Measured against a
# comb of partials, and against the other dynamics of the same note. The trombone's files have energy at the odd
# multiples of half the named frequency; the others sound 0.7 to 1.2 semitones off their names, where the instrument is
# in tune otherwise. The saxophone plays nearly a quarter-tone flat, and its names are a semitone up or down, whichever
# was nearer: here they all go up, so that one name is one sound.
MISNAMED = (
    ("Tbn", "f", "E3", "E6", -12), ("Tbn", "ff", "E3", "A#5", -12), ("ClBb", "ff", "C#5", "C7", -1),
    ("BTb", "p", "G#1", "E4", 1), ("BTb", "ff", "F#1", "G#1", -1), ("BTb", "ff", "A#1", "A#1", -1),
    ("BTb", "ff", "C2", "C2", -1), ("ASax", "ff", "D3", "C5", 1), ("ASax", "mf", "D#3", "F3", 1),
    ("ASax", "mf", "C4", "C4", 1), ("ASax", "mf", "A4", "A4", 1), ("ASax", "p", "F#3", "E4", 1),
    ("ASax", "p", "F#4", "F#4", 1), ("ASax", "p", "G#4", "B4", 1), ("ASax", "pp", "E3", "E3", 1),
    ("Ob", "p", "F#6", "A#6", -1), ("Va", "pp", "C7", "C#7", -1), ("Vc", "mp", "F3", "F#3", -1),
    ("Cb", "mp", "C3", "C3", 1), ("Vn", "mp", "G5", "G5", 1),
)  # fmt: skip
LENGTHS = {"025": 0.25, "05": 0.5, "1": 1.0, "15": 1.5, "long": None, "very-long": None, "phrase": None}


def parse(file: str) -> dict[str, Any]:
    """Return what the name of a Philharmonia file says."""
    recordings.is_audio(file)
    parts = PurePosixPath(file).stem.split("_")
    if len(parts) != 5 or not all(parts[:1] + parts[2:]):
        raise ValueError("the name is not instrument_pitch_length_dynamic_technique")
    instrument, pitch, length, dynamic, technique = parts
    if not pitch:
        raise ValueError("the name gives no pitch")
    if length not in LENGTHS:
        raise ValueError(f"the name gives an unknown length {length!r}")
    return {
        "instrument": NAMES.get(instrument, instrument), "midi": pitch_to_midi(pitch), "technique": technique,
        "dynamic": DYNAMICS.get(dynamic, dynamic), "take": length, "length": length,
        "named": midi_to_pitch(pitch_to_midi(pitch)),
    }  # fmt: skip


def sounding(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the pitch that sounds; where that is not the named one, the take says so: ``"1 (E3)"``."""
    for instrument, dynamic, low, high, semitones in MISNAMED:
        in_range = pitch_to_midi(low) <= row["midi"] <= pitch_to_midi(high)
        if in_range and (row["instrument"], row["dynamic"]) == (instrument, dynamic):
            return {**row, "midi": row["midi"] + semitones, "take": f"{row['length']} ({row['named']})"}
    return row


def find(
    root: Path | None,
    *,
    length: str | Iterable[str] | None = None,
    technique: str | Iterable[str] | None = None,
    pitches: str = "named",
    duplicates: str = "drop",
) -> Found:
    """List the notes below `root`."""
    if root is None:
        raise FileNotFoundError(WHERE)
    lengths = recordings.as_filter(length) or set(LENGTHS) - {"phrase"}
    for code in lengths:
        check_choice(code, LENGTHS, "length")
    check_choice(pitches, ("sounding", "named"), "pitches")
    techniques = recordings.as_filter(technique)

    def read_name(file: str) -> dict[str, Any]:
        return sounding(parse(file)) if pitches == "sounding" else parse(file)

    def wanted(row: dict[str, Any]) -> bool:
        return row["length"] in lengths and (techniques is None or row["technique"] in techniques)

    return recordings.find_files(root, read_name, wanted, duplicates=duplicates)
