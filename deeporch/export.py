"""Solutions as files: stereo WAV, MusicXML, MIDI, JSON and Orchidea's connection form. All are written atomically."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import soundfile
from scipy.signal import fftconvolve

from .checks import check_range
from .connection import connection_text, find_row, read_connection
from .files import atomic_path
from .instruments import full_name, writing
from .library import NoteLibrary
from .pitches import DYNAMICS
from .score import desk, engrave, musicxml
from .solutions import Solution, SolutionNote

__all__ = [
    "engrave", "from_json", "read_connection", "to_connection", "to_json", "to_midi", "to_musicxml", "to_wav",
]  # fmt: skip

PEAK = 0.95
WET = 10 ** (-9 / 20)  # the room, against the direct sound
TRACKS = 15  # MIDI channels without the percussion's
BEND = 4096 / 100  # of pitch bend a cent: the default range is two semitones each way, 8,192


@contextmanager
def _writing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path`; an unwritable folder is one sentence."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise OSError(
            f"{str(path)!r} cannot be written ({error.strerror or error}): choose a folder that you may write to."
        ) from None


def to_wav(solution: Solution, path: str | Path, *, room: float = 0.0) -> Path:
    """Write a solution as 24-bit stereo, its players panned over the stage as an orchestra sits.

    Parameters
    ----------
    solution : Solution
        What to write.
    path : str or Path
        The file; its folder is made if it is missing.
    room : float
        Reverberation time in seconds, 0 to 10: how long the room takes to fall by 60 dB. Default: no room.

    Returns
    -------
    Path
        The file. It is as loud as the solution renders, or softer so that no peak exceeds 0.95.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If `room` lies outside its range.
    """
    check_range(room, 0, 10, "room")
    rate = solution.library.sample_rate
    stereo = np.einsum("ps,pc->sc", solution.stems(), panning(solution))
    if room:
        stereo = _reverberate(stereo, room, rate)
    stereo *= min(1.0, PEAK / max(float(np.abs(stereo).max()), 1e-9))
    with _writing(path) as temporary:
        soundfile.write(temporary, stereo, rate, subtype="PCM_24", format="WAV")
    return Path(path)


def panning(solution: Solution) -> np.ndarray:
    """Return each player's gain to the left and to the right: float32 [players, 2], of equal power everywhere."""
    seats = np.array([writing(player.split("|")[0]).seat for player in solution.orchestra])
    for seat in np.unique(seats):  # players of one instrument sit side by side
        group = np.flatnonzero(seats == seat)
        seats[group] += 0.08 * (np.arange(len(group)) - (len(group) - 1) / 2)
    angle = (seats.clip(-1, 1) + 1) * np.pi / 4
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def _reverberate(stereo: np.ndarray, seconds: float, rate: int) -> np.ndarray:
    """Return stereo [samples, 2] with a room's exponentially decaying noise added, and its tail."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal((len(time), 2)) * 10 ** (-3 * time / seconds)[:, None]
    noise *= WET / np.linalg.norm(noise, axis=0)
    wet = fftconvolve(stereo, noise, axes=0)
    wet[: len(stereo)] += stereo
    return wet.astype(np.float32)


def to_musicxml(solution: Solution, path: str | Path, *, tempo: float = 60.0) -> Path:
    """Write a score, one part a player; see `deeporch.score.musicxml` for what is in it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    text = musicxml(solution, tempo=tempo)
    with _writing(path) as temporary:
        temporary.write_bytes(text)
    return Path(path)


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
    with _writing(path) as temporary:
        midi.write(str(temporary))
    return Path(path)


def velocity(dynamic: str) -> int:
    """Return the MIDI velocity of a dynamic, 16 (ppp) to 127 (fff); of a word such as ``crescendo`` 80, as mf."""
    return min(127, 16 * (DYNAMICS.index(dynamic) + 1)) if dynamic in DYNAMICS else 80


def to_json(solution: Solution, path: str | Path) -> Path:
    """Write everything but the audio as JSON: the notes, the orchestra, the distance, the library's name and key.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    card = {
        "format": "deeporch solution 1",
        "library": {"name": solution.library.name, "key": solution.library.key},
        "orchestra": list(solution.orchestra),
        "distance": solution.distance if np.isfinite(solution.distance) else None,
        "distance_name": solution.distance_name,
        "seconds": solution.seconds,
        "notes": [asdict(note) for note in solution.notes],
    }
    with _writing(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def from_json(path: str | Path, notes: NoteLibrary) -> Solution:
    """Read a solution that `to_json` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    notes : NoteLibrary
        The library it was made with, or any other that has its notes: they are then found by file, or else by
        instrument, pitch, dynamic and technique.

    Returns
    -------
    Solution

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no solution in JSON, or the library lacks a note of it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        rows = [SolutionNote(**_cast(row)) for row in card["notes"]]
        distance = float("nan") if card["distance"] is None else float(card["distance"])
        rest = (tuple(card["orchestra"]), notes, distance, str(card["distance_name"]), float(card["seconds"]))
        same = card["library"]["key"] == notes.key
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path.name} is no solution in JSON as to_json writes it ({reason}).") from None
    if not same:
        rows = [_moved(note, notes, path.name) for note in rows]
    return Solution(tuple(rows), *rest)


def _cast(row: dict[str, Any]) -> dict[str, Any]:
    """Return a note's fields with the types of SolutionNote."""
    kinds = {"int": int, "float": float, "str": str}
    return {f.name: kinds[str(f.type)](row[f.name]) for f in fields(SolutionNote)}


def _moved(note: SolutionNote, notes: NoteLibrary, where: str) -> SolutionNote:
    """Return a note at the row where another library has it."""
    row = find_row(
        notes, where, file=note.file, instrument=note.instrument, midi=note.midi, dynamic=note.dynamic,
        technique=note.technique,
    )  # fmt: skip
    options = {"cents": note.cents, "onset": note.onset, "duration": note.duration, "gain": note.gain}
    return SolutionNote.of(notes, row, note.player, **options)


def to_connection(solution: Solution, path: str | Path) -> Path:
    """Write a solution in Orchidea's connection form; see `deeporch.connection`.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with _writing(path) as temporary:
        temporary.write_text(connection_text(solution), encoding="utf-8")
    return Path(path)
