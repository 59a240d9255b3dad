"""How near a solution is to its target by measures that no search minimises: log-mel, MFCC, centroid and so on."""

from __future__ import annotations

from collections.abc import Mapping

import librosa
import numpy as np
import pandas as pd
import torch
from scipy.signal import find_peaks

from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.orchestra import SHORTEST, as_it_sounds, parse_orchestra
from deeporch.orchestration.orchestrate import orchestrate
from deeporch.orchestration.solution import SolutionNote, note_audio
from deeporch.orchestration.target import find_segments
from deeporch.util.progress import progress

RATE = 44_100
FLOOR = 1e-8  # of mel bands: −80 dB below the loudest
FRAME = 2205  # samples (50 ms) of the level
SILENT = 1e-3  # of the loudest frame's level
PARTIALS, FAINT = 60, 0.01  # of the roughness: so many at most, none fainter beside the strongest
MEASURES = ("log-mel", "MFCC", "centroid", "flatness", "level", "roughness")


def describe(sound: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the measures compare of a sound [samples] at 44.1 kHz; all but the level of its first second.

    log10 of 128 mel bands, averaged and relative to the loudest; 19 MFCC; the centroid in semitones; the spectral
    flatness and the level of each 50 ms in dB; the roughness.
    """
    sound = np.asarray(sound, dtype=np.float32) / max(float(np.abs(sound).max()), 1e-9)
    first = np.pad(sound[:RATE], (0, max(0, RATE - len(sound))))
    first[-FRAME:] *= np.linspace(1, 0, FRAME, dtype=np.float32)  # a sudden end has energy in all bands
    power = np.abs(librosa.stft(first, n_fft=2048, hop_length=512)) ** 2
    mel = librosa.feature.melspectrogram(S=power, sr=RATE, n_mels=128)
    mean, hertz = power.mean(1), librosa.fft_frequencies(sr=RATE, n_fft=2048)
    decibels = 10 * np.log10(np.maximum(mel / mel.max(), FLOOR))
    frames = np.square(np.pad(sound, (0, -len(sound) % FRAME))).reshape(-1, FRAME).mean(1) ** 0.5
    return {
        "log-mel": np.log10(np.maximum(mel.mean(1) / mel.mean(1).max(), FLOOR)),
        "MFCC": librosa.feature.mfcc(S=decibels, n_mfcc=20)[1:].mean(1),
        "centroid": np.array(12 * np.log2((mean @ hertz) / mean.sum())),
        "flatness": np.array(10 * np.log10(np.exp(np.log(mean + 1e-10).mean()) / mean.mean())),
        "level": 20 * np.log10(np.maximum(frames / frames.max(), SILENT)),
        "roughness": np.array(roughness(first)),
    }


def roughness(sound: np.ndarray) -> float:
    """Return the roughness of a sound's strongest partials, of amplitudes beside the strongest (Vassilakis 2001)."""
    hertz = librosa.fft_frequencies(sr=RATE, n_fft=8192)
    spectrum = np.abs(librosa.stft(sound, n_fft=8192, hop_length=4096)).mean(1)
    peaks, _ = find_peaks(spectrum, height=FAINT * spectrum.max())
    peaks = peaks[spectrum[peaks].argsort()[::-1][:PARTIALS]]
    one, other = np.triu_indices(len(peaks), 1)
    loud, soft = (spectrum[peaks[each]] / spectrum.max() for each in (one, other))
    apart = np.abs(hertz[peaks[one]] - hertz[peaks[other]])
    scaled = 0.24 * apart / (0.0207 * np.minimum(hertz[peaks[one]], hertz[peaks[other]]) + 18.96)
    beating = np.exp(-3.5 * scaled) - np.exp(-5.75 * scaled)
    return float(((loud * soft) ** 0.1 * 0.5 * (2 * soft / (loud + soft)) ** 3.11 * beating).sum())


def apart(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return how far two described sounds are from each other by each measure.

    The mean absolute difference (of levels as far as both last), and for MFCC the Euclidean one.
    """
    found = {}
    for name in MEASURES:
        shared = min(one[name].size, other[name].size)
        difference = np.atleast_1d(one[name])[:shared] - np.atleast_1d(other[name])[:shared]
        found[name] = float(np.linalg.norm(difference) if name == "MFCC" else np.abs(difference).mean())
    return found


def compare(targets: Mapping[str, torch.Tensor], notes: NoteLibrary, orchestra: str, **options: object) -> pd.DataFrame:
    """Return how far the first solution, and single notes of the library, are from each target by each measure.

    The single note is the nearest one by log-mel, so that there it is as good as one note can be. `options` are those
    of `orchestrate`. A row a target and measure: target, measure, ours, single, notes (of the solution).
    """
    notes = as_it_sounds(notes)
    table, players = notes.table, parse_orchestra(orchestra, notes)
    played = table["instrument"].isin({name for player in players for name in player.split("|")})
    rows = np.flatnonzero(played & (table["seconds"] >= SHORTEST))
    singles = {
        row: describe(note_audio(notes, SolutionNote.of(notes, row, 0)))
        for row in progress(rows.tolist(), desc="single notes", leave=False)
    }
    spectra = np.stack([singles[row]["log-mel"] for row in singles])
    found = []
    for name, sound in progress(targets.items(), desc="targets", leave=False):
        best = orchestrate(sound, notes, orchestra, sample_rate=RATE, **{"solutions": 1, **options})[0]
        begin = find_segments(sound, RATE)[0].begin  # noise before the sound is not compared
        target = describe(sound.numpy()[round(begin * RATE) :])
        nearest = list(singles)[int(np.abs(spectra - target["log-mel"]).mean(1).argmin())]
        length = len(sound) / RATE - begin
        single = describe(note_audio(notes, SolutionNote.of(notes, nearest, 0, duration=length)))
        ours, theirs = apart(target, describe(best.render()[round(begin * RATE) :])), apart(target, single)
        found += [
            {"target": name, "measure": m, "ours": ours[m], "single": theirs[m], "notes": len(best.notes)}
            for m in MEASURES
        ]
    return pd.DataFrame(found)


def verdict(compared: pd.DataFrame) -> pd.DataFrame:
    """Return by measure on how many targets ours is nearer, of how many, and both medians."""
    groups = compared.assign(nearer=compared["ours"] < compared["single"]).groupby("measure", sort=False)
    medians = groups[["ours", "single"]].median().rename(columns="median of {}".format)
    return pd.concat([groups["nearer"].agg(nearer="sum", targets="size"), medians], axis=1)
