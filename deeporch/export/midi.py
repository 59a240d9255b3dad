"""Solutions as MIDI."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import mido

from ..notes.instruments import DYNAMICS, full_name, writing
from ..util.files import atomic_path
from .staves import desk, tempo_and_grid

if TYPE_CHECKING:
    from ..orchestration.solution import Solution, SolutionNote

CHANNELS = [channel for channel in range(16) if channel != 9]  # of a port, without the percussion's
TICKS = 960  # a quarter
BEND = 4096 / 100  # of pitch bend a cent: the default range is two semitones each way, 8,192
STEP = 0.1  # seconds between the values of a swell


def to_midi(solution: Solution, path: str | Path, *, tempo: float | None = None) -> Path:
    """Write a MIDI file at the score's tempo, one track a player and instrument, one note an attack."""
    tempo, _ = tempo_and_grid(solution, tempo)
    file = mido.MidiFile(ticks_per_beat=TICKS, charset="utf-8")
    first = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo))])
    file.tracks.append(first)
    tracks: dict[tuple[int, str], list[SolutionNote]] = {}
    for note in sorted(solution.attacks, key=lambda note: (note.player, note.instrument, note.onset)):
        tracks.setdefault((note.player, note.instrument), []).append(note)
    for number, ((player, instrument), notes) in enumerate(tracks.items()):
        port, channel = divmod(number, len(CHANNELS))
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=full_name(instrument) + desk(solution, player))])
        track.append(mido.MetaMessage("midi_port", port=port))
        events = [(0.0, 0, mido.Message("program_change", program=writing(instrument).program))]
        for note in notes:
            events += _messages(note)
        now = 0
        for time, _, message in sorted(events, key=lambda event: event[:2]):
            tick = round(time * tempo / 60 * TICKS)
            track.append(message.copy(channel=CHANNELS[channel], time=tick - now))
            now = tick
        file.tracks.append(track)
    with atomic_path(path) as temporary:
        file.save(temporary)
    return Path(path)


def _messages(note: SolutionNote) -> list[tuple[float, int, mido.Message]]:
    """Return a note's messages: time in seconds, which come first at one time, the message."""
    semitones = round(note.cents / 100)
    bend = max(-8192, min(8191, round((note.cents - 100 * semitones) * BEND)))
    pitch, end = max(0, min(127, note.midi + semitones)), note.onset + note.duration
    count = math.ceil(note.duration / STEP) if note.swell else 1
    levels = [note.swell * (k / max(1, count - 1) - (note.swell > 0)) for k in range(count)]  # 0 is the loudest
    values = [round(127 * 10 ** (db / 40)) for db in levels]
    swell = [mido.Message("control_change", control=11, value=value) for value in values]
    return [
        (end, 0, mido.Message("note_off", note=pitch)), (note.onset, 1, mido.Message("pitchwheel", pitch=bend)),
        *((note.onset + k * STEP, 2, message) for k, message in enumerate(swell)),
        (note.onset, 3, mido.Message("note_on", note=pitch, velocity=velocity(note.dynamic))),
    ]  # fmt: skip


def velocity(dynamic: str) -> int:
    """Return the MIDI velocity of a dynamic, 16 (ppp) to 127 (fff); of a word such as ``crescendo`` 80, as mf."""
    return min(127, 16 * (DYNAMICS.index(dynamic) + 1)) if dynamic in DYNAMICS else 80
