"""Recordings longer than a note: which notes sound when, as a table, MIDI and CSV."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import librosa
import numpy as np
import pandas as pd
import pretty_midi
import torch

from ..models.pitchnet import A0
from ..notes.instruments import midi_to_pitch, writing
from ..util.files import atomic_path, user_path, write_text
from ..util.progress import progress

if TYPE_CHECKING:
    import argparse

    from .recognizer import Recognizer

COLUMNS = ("begin", "end", "instrument", "pitch", "midi", "probability")
WINDOW, STEP = 12, 2  # frames that are looked at together, and from one look to the next
PARTIALS = (1, 2, 3, 4)  # of a pitch, whose level tells where its note begins and ends:
RISES_DB, FALLS_DB = -10.0, -20.0  # where it first rises above the one, and last falls below the other, of its peak
BEGINS, LASTS = 0.5, 0.25  # probabilities from which a pitch begins, and down to which it goes on
SHORTEST = 0.08  # seconds: shorter notes are left out
NEAR = 0.07  # seconds: a note begins at an onset that is as near as this
LATEST = 4  # frames of the last window that still belong to its notes
QUIET_DB = -50.0  # below the loudest frame: windows in which nothing sounds
MOST = 64  # windows at a time
VELOCITY = 80  # of every note in MIDI


def transcribe(recognizer: Recognizer, sound: torch.Tensor) -> pd.DataFrame:
    """Return the notes of a sound, float32 [samples]; see `Recognizer.predict_over_time`."""
    features = recognizer.model.features
    frames = torch.view_as_real(torch.from_numpy(features.transform(sound[None].numpy())[0].T.copy()))
    frames = torch.nn.functional.pad(frames, (0, 0, 0, 0, WINDOW, WINDOW))
    pitches, instruments = evidence_over_time(recognizer, frames)
    power, hop = frames.square().sum(-1).numpy(), features.hop / recognizer.sample_rate
    onsets = librosa.onset.onset_detect(y=sound.numpy(), sr=recognizer.sample_rate, units="time", backtrack=True)
    names, rows = recognizer.model.classes.instruments, []
    for pitch, track in enumerate(pitches.T):
        bins = [round(features.bins_per_octave * (pitch / 12 + np.log2(k))) for k in PARTIALS]
        for first, last in spans(track, BEGINS, LASTS):
            level = power[first * STEP : last * STEP + WINDOW, bins].sum(1)
            inside = np.flatnonzero(level >= level.max() * 10 ** (RISES_DB / 10))
            level = level[: (last - first) * STEP + LATEST]
            after = np.flatnonzero(level >= level.max() * 10 ** (FALLS_DB / 10))
            begin, end = (hop * (first * STEP + i - WINDOW) for i in (inside[0], after[-1] + 1))
            begin = max(0.0, _snap(begin, onsets))
            if end - begin < SHORTEST:
                continue
            share = (instruments[first : last + 1, :, pitch] * track[first : last + 1, None]).mean(0)
            name, probability = names[int(share.argmax())], float(track[first : last + 1].max())
            rows.append((begin, end, name, midi_to_pitch(A0 + pitch), A0 + pitch, probability))
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(["begin", "midi"], ignore_index=True)


def evidence_over_time(recognizer: Recognizer, frames: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities at each step: of pitches [steps, 88], and of instruments there [steps, instruments, 88]."""
    model, parts = recognizer.model, recognizer.parts
    windows = frames.unfold(0, WINDOW, STEP).permute(0, 3, 1, 2)  # [steps, frames, bins, 2]
    power = windows.square().sum(-1).amax((1, 2))
    pitches = torch.zeros(len(windows), model.config.pitches)
    instruments = torch.zeros(len(windows), len(model.classes.instruments), model.config.pitches)
    sounding = (power >= power.max() * 10 ** (QUIET_DB / 10)).nonzero().flatten()
    for part in progress(sounding.split(MOST), desc="recognition", leave=False):
        with torch.inference_mode():
            found = model.evidence(model.features.decibels(windows[part]))
        pitches[part] = torch.sigmoid(found.pitches / parts["pitch"][0] + parts["pitch"][1])
        each = torch.sigmoid(found.instruments / parts["instrument"][0] + parts["instrument"][1])
        instruments[part] = each[:, :-1]
    return pitches.numpy(), instruments.numpy()


def spans(track: np.ndarray, begins: float, lasts: float) -> list[tuple[int, int]]:
    """Return the first and the last step of every stretch that reaches one level and stays above another."""
    above = np.flatnonzero(track >= lasts)
    if not len(above):
        return []
    parts = np.split(above, np.flatnonzero(np.diff(above) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if track[part].max() >= begins]


def _snap(time: float, onsets: np.ndarray) -> float:
    """Return the onset that is nearest to a time, if it is near; else the time itself."""
    near = onsets[np.abs(onsets - time) <= NEAR]
    return float(near[np.abs(near - time).argmin()]) if len(near) else time


def save_midi(notes: pd.DataFrame, path: str | Path) -> Path:
    """Write a table of notes as a MIDI file, one track an instrument."""
    midi = pretty_midi.PrettyMIDI()
    for instrument, part in notes.groupby("instrument", sort=False):
        track = pretty_midi.Instrument(writing(instrument).program, name=instrument)
        track.notes = [pretty_midi.Note(VELOCITY, note.midi, note.begin, note.end) for note in part.itertuples()]
        midi.instruments.append(track)
    with atomic_path(Path(path)) as temporary:
        midi.write(str(temporary))
    return Path(path)


def save_csv(notes: pd.DataFrame, path: str | Path) -> Path:
    """Write a table of notes as CSV, times in seconds."""
    write_text(Path(path), notes.round(4).to_csv(index=False))
    return Path(path)


def command(recognizer: Recognizer, options: argparse.Namespace) -> int:
    """Print the notes with begin and end; write them if a folder is given."""
    folder, failed = user_path(options.output) if options.output else None, 0
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    for file in options.files:
        try:
            notes = recognizer.predict_over_time(file)
        except (OSError, ValueError) as error:
            print(f"deeporch recognize: {error}", file=sys.stderr)
            failed = 2
            continue
        print(f"{file}\n{notes.round(2).to_string(index=False)}")
        if folder:
            paths = [folder / f"{Path(file).stem}.{suffix}" for suffix in ("csv", "mid")]
            print(f"written: {save_csv(notes, paths[0])}, {save_midi(notes, paths[1])}")
    return failed
