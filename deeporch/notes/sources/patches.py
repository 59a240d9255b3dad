"""Notes of Gravis Ultrasound patches (.pat), the format of Freepats: recorded samples with loops, by key range.

Citation: The Freepats project, *Freepats: a free and open source set of instrument patches*, 2004-2006.
Licence:  GPL 2.0 or later, with an exception for music made with it.
URL:      https://packages.debian.org/freepats (files in usr/share/midi/freepats), https://freepats.zenvoid.org
Checksum: md5 of each file is published with the Debian package.
Grammar:  nnn_Name.pat, nnn the General MIDI program counted from 0: ``068_Oboe.pat``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...util.checks import check_choice
from .. import recordings
from ..instruments import midi_to_pitch, pitch_to_midi
from ..recordings import SAMPLE_RATE, Found, Notes
from .soundfont import PARTS

VERSION = 1
LENGTH, HELD, RELEASE = 2.0, 1.7, 0.08  # seconds kept, seconds held, seconds in which the release falls to 1/e
FARTHEST = 13  # semitones between a note and the sample that plays it
PROGRAMS = {part.program: instrument for instrument, part in PARTS.items()} | {21: "Acc", 23: "Acc"}
HEADER, SAMPLE = 239, 96  # bytes of the file's header with one instrument and layer, and of each sample's
WHERE = "Install Debian's package freepats (or unpack it) and give the folder with its .pat files as root=."


class Sample(NamedTuple):
    """A recorded tone: samples (full scale is 1), their rate in Hz, the pitch in Hz, and where it loops (0, 0: not)."""

    audio: np.ndarray
    rate: int
    frequency: float
    loop: tuple[int, int]


def find(root: Path | None, *, instruments: str | Iterable[str] | None = None) -> Found:
    """List the notes that the patches below `root` can play: every pitch of each instrument near one of its samples."""
    if root is None:
        raise FileNotFoundError(WHERE)
    wanted = recordings.as_filter(instruments)
    for instrument in wanted or ():
        check_choice(instrument, PARTS, "instrument")
    patches = recordings.find_files(root, _parse, lambda row: wanted is None or row["instrument"] in wanted)
    rows, skipped = [], list(patches.skipped)
    for patch in patches.rows:
        part = PARTS[patch["instrument"]]
        try:
            heard = [69 + 12 * np.log2(sample.frequency / 440) for sample in samples(root / patch["file"])]
        except ValueError as error:
            skipped.append((patch["file"], str(error)))
            continue
        common = {**patch, "dynamic": "mf", "technique": "ord"}
        rows += [
            {**common, "midi": midi, "file": f"{patch['file']}:{midi_to_pitch(midi)}"}
            for midi in range(pitch_to_midi(part.low), pitch_to_midi(part.high) + 1)
            if min(abs(midi - pitch) for pitch in heard) < FARTHEST
        ]
    return Found(root, rows, skipped, f"{VERSION} {patches.fingerprint}")


def _parse(file: str) -> dict[str, Any]:
    """Return instrument and take by the General MIDI number that a file's name begins with."""
    path = Path(file)
    if path.suffix.lower() != ".pat":
        raise ValueError("no Gravis Ultrasound patch by its suffix")
    program = path.name[:3]
    if not program.isdigit() or int(program) not in PROGRAMS or "Drum" in path.parent.name:
        raise ValueError("no instrument of ours by its General MIDI number")
    return {"instrument": PROGRAMS[int(program)], "take": program}


def read(found: Found, seconds: float) -> Notes:
    """Play the notes, at most `seconds` (and 2 s) of each."""
    opened: dict[str, list[Sample]] = {}
    for row in found.rows:
        file = row["file"].rpartition(":")[0]
        if file not in opened:
            opened = {file: samples(found.root / file)}
        sound = play(opened[file], row["midi"])
        yield recordings.prepare(row, sound[:, None], SAMPLE_RATE, seconds=min(seconds, LENGTH))


def samples(path: Path) -> list[Sample]:
    """Return the samples of a patch."""
    data = path.read_bytes()
    if data[:12] not in (b"GF1PATCH110\0", b"GF1PATCH100\0"):
        raise ValueError("no Gravis Ultrasound patch by its first bytes")
    found, place = [], HEADER
    try:
        for _ in range(data[198]):
            size, begin, end = struct.unpack_from("<III", data, place + 8)
            (rate,), (root,) = struct.unpack_from("<H", data, place + 20), struct.unpack_from("<I", data, place + 30)
            mode, place = data[place + 55], place + SAMPLE
            wide, unsigned, looped = mode & 1, mode & 2, mode & 4
            kind, centre = [("i1", 128), ("<i2", 32_768)][wide]
            audio = np.frombuffer(data, kind, size // (1 + wide), place).astype(np.float32)
            if unsigned:
                audio = np.where(audio < 0, audio + centre, audio - centre)
            loop = (begin // (1 + wide), end // (1 + wide)) if looped and end > begin else (0, 0)
            found.append(Sample(audio / centre, rate, root / 1000, loop))
            place += size
    except (struct.error, IndexError, ValueError):
        raise ValueError("cut short") from None
    return found


def play(tones: list[Sample], midi: int) -> np.ndarray:
    """Return a note, float32 [samples]: the nearest sample at another speed, its loop repeated, then released."""
    wanted = 440 * 2 ** ((midi - 69) / 12)
    tone = min(tones, key=lambda tone: abs(np.log(wanted / tone.frequency)))
    place = np.arange(round(LENGTH * SAMPLE_RATE)) * wanted / tone.frequency * tone.rate / SAMPLE_RATE
    begin, end = tone.loop
    if end:
        place = np.where(place >= end, begin + (place - begin) % (end - begin), place)
    sound = np.interp(place[place < len(tone.audio) - 1], np.arange(len(tone.audio)), tone.audio)
    time = np.arange(len(sound)) / SAMPLE_RATE
    return (sound * np.exp(-np.clip(time - HELD, 0, None) / RELEASE)).astype(np.float32)
