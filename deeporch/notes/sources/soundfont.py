"""Orchestral notes rendered from a General MIDI SoundFont: nothing to download.

Citation: Tim Brechbill, *TimGM6mb*, 2004, as shipped with pretty_midi (Colin Raffel and Daniel P. W. Ellis, 2014).
          Ranges after Samuel Adler, *The Study of Orchestration*.
Licence:  GPL 2.0 (the SoundFont itself).
URL:      https://github.com/craffel/pretty-midi
Checksum: md5 of the SoundFont 1f569cc40159a6bd9250f816225ae222; any other .sf2 or .sf3 may be given as root.
Grammar:  rows are named instrument-technique-pitch-dynamic, as in SOL: ``Vn-ord-C#4-mf``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import midirenderer
import numpy as np
import pretty_midi
import soundfile

from ...util.checks import check_choice
from ...util.files import file_hash
from ..instruments import midi_to_pitch, pitch_to_midi
from ..recordings import Found, Notes, as_filter, prepare
from . import sf3

VERSION = 1
HELD = 1.8  # seconds from note-on to note-off
NOTE = 2.0  # seconds kept of a note, with the beginning of its release
SLOT = 2.5  # seconds from one note-on to the next, so that no release reaches into the next note
HOLE = 0.05  # a note whose peak is below this share of the median one is a hole in the SoundFont
SEMITONE = 4096  # of MIDI pitch bend, whose default range is two semitones (8192)
LEAD = 0.1  # seconds of silence before the first note


class Part(NamedTuple):
    """A General MIDI program, its lowest and highest sounding pitch in the orchestra, and what presets of it say."""

    program: int  # counted from 0
    low: str
    high: str
    named: str  # pattern of the preset's name, in SoundFonts that do not keep to General MIDI


PARTS = {
    "Picc": Part(72, "D5", "C8", r"piccolo"),
    "Fl": Part(73, "B3", "D7", r"(?<!pan )(?<!alto )(?<!bass )flute"),
    "Ob": Part(68, "A#3", "A6", r"oboe"),
    "EH": Part(69, "E3", "C6", r"engl?ish.?horn|cor anglais"),
    "ClBb": Part(71, "D3", "A#6", r"(?<!bass )(?<!eb )clarinet"),
    "ASax": Part(65, "C#3", "A5", r"alto ?sax"),
    "Bn": Part(70, "A#1", "D#5", r"(?<!contra)(?<!contra )bassoon"),
    "Hn": Part(60, "B1", "F5", r"french horn|horns? solo|solo horn|^horn"),
    "TpC": Part(56, "F#3", "D6", r"(?<!mute )(?<!muted )trumpet"),
    "Tbn": Part(57, "E2", "D5", r"(?<!bass )trombone"),
    "BTb": Part(58, "D1", "F4", r"tuba"),
    "Acc": Part(20, "F3", "A6", r"accordi[oa]n"),  # reed organ: TimGM6mb's accordion (21) is up to 68 cents flat
    "Vn": Part(40, "G3", "E7", r"violin(?!s)"),
    "Va": Part(41, "C3", "E6", r"viola(?!s)"),
    "Vc": Part(42, "C2", "C6", r"(?<!violon)cello|violoncello"),
    "Cb": Part(43, "E1", "G4", r"contrabass|double ?bass"),
}
OTHER = "other"  # the instrument of notes that stand for all that has no name here, with `others=True`
# Pianos, mallets, organs, guitars, bass, harp, voices, recorder, pipes, synthesizers, sitar, banjo, kalimba.
OTHERS = (
    0, 4, 6, 8, 10, 11, 12, 13, 16, 19, 24, 26, 30, 32, 46, 52, 53, 74, 75, 77, 78, 79, 80, 81, 85, 89, 104, 105, 108,
)  # fmt: skip
COMPLETE = 100  # presets of bank 0: a SoundFont that has so many keeps to General MIDI
VELOCITIES = {"pp": 48, "mf": 80, "ff": 112}


def default_soundfont() -> Path:
    """Return the path of the SoundFont that pretty_midi ships."""
    return Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"


def find(
    root: Path | None,
    *,
    instruments: str | Iterable[str] | None = None,
    dynamics: str | Iterable[str] | None = None,
    others: bool = False,
) -> Found:
    """List the notes to render."""
    root = root or default_soundfont()
    if not root.is_file():
        raise FileNotFoundError(f"There is no SoundFont {str(root)!r}: give root= an .sf2 file, or leave it out.")
    wanted, levels = as_filter(instruments), as_filter(dynamics)
    for instrument in wanted or ():
        check_choice(instrument, PARTS, "instrument")
    for level in levels or ():
        check_choice(level, VELOCITIES, "dynamic")
    known = played_by(root)
    skipped = [(f"{root.name}:{name}", "no preset for it in this SoundFont") for name in PARTS if name not in known]
    rows = [
        _row(instrument, midi, dynamic)
        for instrument, part in PARTS.items()
        if instrument in known and (wanted is None or instrument in wanted)
        for dynamic in VELOCITIES
        if levels is None or dynamic in levels
        for midi in range(pitch_to_midi(part.low), pitch_to_midi(part.high) + 1)
    ]
    if others:
        rows += [_row(OTHER, midi, "mf", str(program)) for program in OTHERS for midi in range(36 + program % 3, 90, 4)]
    settings = json.dumps([VERSION, HELD, NOTE, SLOT, VELOCITIES, file_hash(root)])
    return Found(root, rows, skipped, settings)


def played_by(root: Path) -> dict[str, tuple[int, int]]:
    """Return the bank and program of the preset that plays each instrument, of those that the SoundFont has."""
    try:
        presets = sf3.presets(root.read_bytes())
    except ValueError as error:
        raise ValueError(f"{str(root)!r} cannot be read as a SoundFont: {error}.") from None
    general = sum(bank == 0 for bank, _ in presets) >= COMPLETE
    found = {}
    for instrument, part in PARTS.items():
        named = [key for key, name in sorted(presets.items()) if re.search(part.named, name.lower())]
        usual = (0, part.program)
        if usual in presets and (general or usual in named):
            found[instrument] = usual
        elif named:
            found[instrument] = named[0]
    return found


def _row(instrument: str, midi: int, dynamic: str, take: str = "1") -> dict[str, Any]:
    file = f"{instrument}-ord-{midi_to_pitch(midi)}-{dynamic}" + (f"-{take}" if instrument == OTHER else "")
    return {"instrument": instrument, "midi": midi, "dynamic": dynamic, "technique": "ord", "take": take, "file": file}


def read(found: Found, seconds: float) -> Notes:
    """Render the notes, one MIDI file an instrument and dynamic, at most `seconds` (and 2 s) of each."""
    soundfont, known = sf3.unpack(found.root.read_bytes()), played_by(found.root)
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in found.rows:
        groups.setdefault((row["instrument"], row["dynamic"], row["take"]), []).append(row)
    for (instrument, dynamic, take), rows in groups.items():
        bank, program = (0, int(take)) if instrument == OTHER else known[instrument]
        pitches = [row["midi"] for row in rows]
        try:
            notes, sample_rate = render(soundfont, program, pitches, VELOCITIES[dynamic], bank=bank)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{str(found.root)!r} cannot be rendered as a SoundFont: {error}.") from None
        for row, note in zip(rows, notes, strict=True):
            yield prepare(row, note, sample_rate, seconds=min(seconds, NOTE))


def render(soundfont: bytes, program: int, pitches: list[int], velocity: int, *, bank: int = 0) -> tuple:
    """Render one program's notes."""
    notes, sample_rate = _rendered(soundfont, midi_file(program, pitches, velocity, bank=bank), len(pitches))
    peaks = np.abs(notes).max(axis=(1, 2))
    holes = np.flatnonzero(peaks < HOLE * np.median(peaks))
    if len(holes):
        bent = midi_file(program, [pitches[hole] - 1 for hole in holes], velocity, bank=bank, bend=SEMITONE)
        notes[holes], _ = _rendered(soundfont, bent, len(holes))
    return notes, sample_rate


def _rendered(soundfont: bytes, midi: bytes, count: int) -> tuple[np.ndarray, int]:
    """Return the notes of a MIDI file, float32 [notes, samples, channels], and their rate in Hz."""
    wav = io.BytesIO(midirenderer.render_wave_from(soundfont, midi))
    audio, sample_rate = soundfile.read(wav, dtype="float32", always_2d=True)
    slot, start = round(SLOT * sample_rate), round(LEAD * sample_rate)
    missing = max(0, start + count * slot - len(audio))  # the file may end with the last release
    audio = np.pad(audio, ((0, missing), (0, 0)))
    return audio[start : start + count * slot].reshape(count, slot, -1), sample_rate


def midi_file(program: int, pitches: list[int], velocity: int, *, bank: int = 0, bend: int = 0) -> bytes:
    """Return a MIDI file with one note after another, ``SLOT`` seconds apart, dry and at full volume."""
    part = pretty_midi.Instrument(program)
    dry = {0: bank, 91: 0, 93: 0, 7: 127}  # bank, reverb, chorus, volume
    part.control_changes = [pretty_midi.ControlChange(number, value, 0.0) for number, value in dry.items()]
    part.pitch_bends = [pretty_midi.PitchBend(bend, 0.0)]
    for index, pitch in enumerate(pitches):
        start = LEAD + SLOT * index
        part.notes.append(pretty_midi.Note(velocity, pitch, start, start + HELD))
    midi = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120)
    midi.instruments.append(part)
    buffer = io.BytesIO()
    midi.write(buffer)
    return buffer.getvalue()
