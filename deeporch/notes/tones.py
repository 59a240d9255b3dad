"""Targets given in other ways than as a whole file: part of one, a chord in notes or MIDI."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi

from ..util.audio import decode
from .instruments import pitch_to_midi

PARTIALS = 12  # of each note, the k-th with an amplitude of 1/k
SECONDS = 2.0  # that a chord in words lasts
FADE = 0.02  # seconds


def read_chord(words: str) -> list[tuple[int, float, float, float]] | None:
    """Return the notes of ``"C4 E4 G4 Bb4"`` or of a MIDI file; None if it is neither."""
    if Path(words).suffix.lower() in (".mid", ".midi"):
        if not Path(words).is_file():
            raise FileNotFoundError(f"There is no MIDI file {words!r}.")
        try:
            parts = pretty_midi.PrettyMIDI(words).instruments
        except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f"{words!r} is no MIDI file that can be read ({str(error) or 'it ends too early'})."
            ) from None
        notes = [(n.pitch, n.start, n.end, n.velocity / 127) for p in parts if not p.is_drum for n in p.notes]
        if not notes:
            raise ValueError(f"{words!r} has no notes.")
        return sorted(notes, key=lambda note: note[1])
    pitches = words.replace(",", " ").split()
    if Path(words).is_file() or not pitches or not all(re.fullmatch(r"[A-Ga-g][#b]?-?\d", word) for word in pitches):
        return None
    return [(pitch_to_midi(pitch), 0.0, SECONDS, 1.0) for pitch in pitches]


def chord_sound(notes: Iterable[tuple[int, float, float, float]], rate: int) -> np.ndarray:
    """Return harmonic tones as float32 [samples], none louder than 0.5 together."""
    notes = list(notes)
    out = np.zeros(round(max(end for _, _, end, _ in notes) * rate))
    for midi, begin, end, amplitude in notes:
        start = round(begin * rate)
        time = np.arange(min(round((end - begin) * rate), len(out) - start)) / rate
        hertz = 440 * 2 ** ((midi - 69) / 12)
        partials = range(1, max(1, min(PARTIALS, int(rate / 2 / hertz))) + 1)
        tone = sum(np.sin(2 * np.pi * hertz * k * time + k * k) / k for k in partials)
        tone *= np.minimum(1, np.minimum(time, time[::-1]) / FADE) * amplitude
        out[start : start + len(time)] += tone
    return (0.5 * out / max(np.abs(out).max(initial=0), 1e-9)).astype(np.float32)


def part_of(path: str, begin: float | None, end: float | None, rate: int) -> tuple[Any, int | None, list[int] | None]:
    """Return a target, its rate where it is no whole file, and its pitches where it is a chord, in words or MIDI."""
    path = str(Path(path).expanduser())
    chord = read_chord(path)
    if chord is None and not Path(path).is_file():
        hint = "" if Path(path).suffix else ", and it is no chord: that is written 'C4 Eb4 G#4'"
        raise FileNotFoundError(f"There is no sound file {path!r}{hint}.")
    if chord is None and begin is None and end is None:
        return path, None, None
    audio, rate = (chord_sound(chord, rate), rate) if chord else decode(Path(path))
    seconds = len(audio) / rate
    begin, end = begin or 0.0, seconds if end is None else end
    if not 0 <= begin < min(end, seconds):
        raise ValueError(f"--from {begin:g} --to {end:g} is no part of {path!r}, which lasts {seconds:.2f} s.")
    part = audio[round(begin * rate) : round(end * rate)]
    return part.squeeze(), rate, sorted({note[0] for note in chord}) if chord else None


def segments(words: str) -> str | list[float]:
    """Return a way to find segments, or the times in seconds at which they begin: ``"0 1.2 2.5"``."""
    try:
        times = [float(word) for word in words.replace(",", " ").split()]
    except ValueError:
        return words
    return times[1:] if times[:1] == [0.0] else times
