"""Solutions as MIDI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pretty_midi

from ..notes.instruments import DYNAMICS, full_name, writing
from ..util.files import writing_to
from .musicxml import desk

if TYPE_CHECKING:
    from ..orchestration.solution import Solution, SolutionNote

TRACKS = 15  # MIDI channels without the percussion's
BEND = 4096 / 100  # of pitch bend a cent: the default range is two semitones each way, 8,192


def to_midi(solution: Solution, path: str | Path) -> Path:
    """Write a MIDI file, one track a player and instrument.

    General MIDI programs; the dynamics are velocities (ppp 16, then 16 more a step to fff 127), retuning is pitch bend.
    Of more than 15 such tracks, players of one instrument share one, and those are not bent.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If more than 15 different instruments play: MIDI has no more channels.
    """
    tracks: dict[tuple, list[SolutionNote]] = {}
    shared = len({(note.player, note.instrument) for note in solution.notes}) > TRACKS
    for note in sorted(solution.notes, key=lambda note: (note.player, note.instrument, note.onset)):
        tracks.setdefault((note.instrument,) if shared else (note.instrument, note.player), []).append(note)
    if len(tracks) > TRACKS:
        raise ValueError(f"MIDI has {TRACKS} channels, but {len(tracks)} different instruments play: write MusicXML.")
    midi = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=60)
    for (instrument, *player), notes in tracks.items():
        name = full_name(instrument) + (desk(solution, player[0]) if player else "")
        part = pretty_midi.Instrument(writing(instrument).program, name=name)
        for note in notes:
            semitones = round(note.cents / 100)
            part.notes.append(
                pretty_midi.Note(velocity(note.dynamic), note.midi + semitones, note.onset, note.onset + note.duration)
            )
            if not shared:
                bend = round((note.cents - 100 * semitones) * BEND)
                part.pitch_bends.append(pretty_midi.PitchBend(bend, note.onset))
        midi.instruments.append(part)
    with writing_to(path) as temporary:
        midi.write(str(temporary))
    return Path(path)


def velocity(dynamic: str) -> int:
    """Return the MIDI velocity of a dynamic, 16 (ppp) to 127 (fff); of a word such as ``crescendo`` 80, as mf."""
    return min(127, 16 * (DYNAMICS.index(dynamic) + 1)) if dynamic in DYNAMICS else 80
