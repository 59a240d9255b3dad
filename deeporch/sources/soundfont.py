"""Orchestral notes rendered from a General MIDI SoundFont: nothing to download.

Citation: Tim Brechbill, *TimGM6mb*, 2004 (as shipped with Colin Raffel and Daniel P. W. Ellis, pretty_midi, ISMIR 2014).
Licence:  GPL 2.0 (the SoundFont; the rendered sounds are yours). Ranges after Samuel Adler, *The Study of Orchestration*.
URL:      https://github.com/craffel/pretty-midi
Checksum: md5 of the SoundFont 1f569cc40159a6bd9250f816225ae222; any other .sf2 may be given as root.
Grammar:  rows are named instrument-technique-pitch-dynamic, as in SOL: ``Vn-ord-C#4-mf``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import midirenderer
import numpy as np
import pretty_midi
import soundfile

from ..checks import check_choice
from ..files import file_hash
from ..pitches import midi_to_pitch, pitch_to_midi
from . import Found, Notes
from .recordings import as_filter, prepare

VERSION = 1
HELD = 1.8  # seconds from note-on to note-off
NOTE = 2.0  # seconds kept of a note, with the beginning of its release
SLOT = 2.5  # seconds from one note-on to the next, so that no release reaches into the next note
LEAD = 0.1  # seconds of silence before the first note


class Part(NamedTuple):
    """A General MIDI program (counted from 0) and its lowest and highest sounding pitch in the orchestra."""

    program: int
    low: str
    high: str


PARTS = {
    "Picc": Part(72, "D5", "C8"),
    "Fl": Part(73, "B3", "D7"),
    "Ob": Part(68, "A#3", "A6"),
    "EH": Part(69, "E3", "C6"),
    "ClBb": Part(71, "D3", "A#6"),
    "ASax": Part(65, "C#3", "A5"),
    "Bn": Part(70, "A#1", "D#5"),
    "Hn": Part(60, "B1", "F5"),
    "TpC": Part(56, "F#3", "D6"),
    "Tbn": Part(57, "E2", "D5"),
    "BTb": Part(58, "D1", "F4"),
    "Acc": Part(21, "F3", "A6"),
    "Vn": Part(40, "G3", "E7"),
    "Va": Part(41, "C3", "E6"),
    "Vc": Part(42, "C2", "C6"),
    "Cb": Part(43, "E1", "G4"),
}
VELOCITIES = {"pp": 33, "mf": 80, "ff": 112}


def default_soundfont() -> Path:
    """Return the path of the SoundFont that pretty_midi ships."""
    return Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"


def find(
    root: Path | None,
    *,
    instruments: str | Iterable[str] | None = None,
    dynamics: str | Iterable[str] | None = None,
) -> Found:
    """List the notes to render.

    Parameters
    ----------
    root : Path, optional
        A General MIDI .sf2 file. Default: pretty_midi's.
    instruments : str or iterable of str, optional
        Abbreviations out of ``PARTS``. Default: all 16.
    dynamics : str or iterable of str, optional
        Out of ``"pp"``, ``"mf"``, ``"ff"`` (MIDI velocities 33, 80, 112). Default: all.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an instrument or a dynamic is not known.
    """
    root = root or default_soundfont()
    if not root.is_file():
        raise FileNotFoundError(f"There is no SoundFont {str(root)!r}: give root= an .sf2 file, or leave it out.")
    wanted, levels = as_filter(instruments), as_filter(dynamics)
    for instrument in wanted or ():
        check_choice(instrument, PARTS, "instrument")
    for level in levels or ():
        check_choice(level, VELOCITIES, "dynamic")
    rows = [
        _row(instrument, midi, dynamic)
        for instrument, part in PARTS.items()
        if wanted is None or instrument in wanted
        for dynamic in VELOCITIES
        if levels is None or dynamic in levels
        for midi in range(pitch_to_midi(part.low), pitch_to_midi(part.high) + 1)
    ]
    settings = json.dumps([VERSION, HELD, NOTE, SLOT, VELOCITIES, file_hash(root)])
    return Found(root, rows, [], settings)


def _row(instrument: str, midi: int, dynamic: str) -> dict[str, Any]:
    file = f"{instrument}-ord-{midi_to_pitch(midi)}-{dynamic}"
    return {"instrument": instrument, "midi": midi, "dynamic": dynamic, "technique": "ord", "take": "1", "file": file}


def read(found: Found, seconds: float) -> Notes:
    """Render the notes, one MIDI file an instrument and dynamic, at most `seconds` (and 2 s) of each.

    One long file is much quicker than a file a note; the renderer holds the interpreter lock, so threads gain nothing.
    """
    soundfont = found.root.read_bytes()
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found.rows:
        groups.setdefault((row["instrument"], row["dynamic"]), []).append(row)
    for (instrument, dynamic), rows in groups.items():
        midi = midi_file(PARTS[instrument].program, [row["midi"] for row in rows], VELOCITIES[dynamic])
        try:
            rendered = midirenderer.render_wave_from(soundfont, midi)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{str(found.root)!r} cannot be rendered as a SoundFont: {error}.") from None
        audio, sample_rate = soundfile.read(io.BytesIO(rendered), dtype="float32", always_2d=True)
        for index, row in enumerate(rows):
            start = round((LEAD + SLOT * index) * sample_rate)
            note = audio[start : start + round(SLOT * sample_rate)]
            yield prepare(row, np.ascontiguousarray(note), sample_rate, seconds=min(seconds, NOTE))


def midi_file(program: int, pitches: list[int], velocity: int) -> bytes:
    """Return a MIDI file with one note after another, ``SLOT`` seconds apart, dry and at full volume."""
    part = pretty_midi.Instrument(program)
    dry = {91: 0, 93: 0, 7: 127}  # reverb, chorus, volume
    part.control_changes = [pretty_midi.ControlChange(number, value, 0.0) for number, value in dry.items()]
    for index, pitch in enumerate(pitches):
        start = LEAD + SLOT * index
        part.notes.append(pretty_midi.Note(velocity, pitch, start, start + HELD))
    midi = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120)
    midi.instruments.append(part)
    buffer = io.BytesIO()
    midi.write(buffer)
    return buffer.getvalue()
