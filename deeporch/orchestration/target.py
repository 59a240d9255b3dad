"""The target: reading it, its segments, its partials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import find_peaks

from ..util.audio import read_sound
from ..util.checks import check_choice, check_range
from ..util.compiled import librosa
from .solution import SolutionNote
from .spectra import LONGEST

TARGET_SECONDS = (0.05, 60.0)  # shortest and longest


def read_target(target: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None, wanted: int) -> torch.Tensor:
    """Return a target as mono float32 [samples] at the wanted rate, without the silence before it.

    Raises
    ------
    ValueError, FileNotFoundError
        If it is no sound, silent, not finite, or shorter than 0.05 s or longer than 60 s.
    """
    sound = read_sound(target, sample_rate, wanted)
    check_range(round(len(sound) / wanted, 6), *TARGET_SECONDS, "The target's duration in seconds")
    return sound


SHORTEST = 0.2  # seconds of a segment; an onset that comes sooner belongs to the one before
HOP = 256  # samples (5.8 ms at 44.1 kHz): the grid of the onsets
LEAP = 12  # semitones: a player who moves further pays no more


def find_segments(
    sound: torch.Tensor, sample_rate: int, how: str | Sequence[float] = "auto"
) -> list[tuple[float, float]]:
    """Return where each segment of a sound begins and ends, in seconds.

    Parameters
    ----------
    sound : torch.Tensor
        [samples]
    sample_rate : int
        In Hz.
    how : {"auto", "one", "onsets"} or sequence of float
        ``"onsets"``: at each onset that librosa detects; ``"one"``: not at all; ``"auto"``: at onsets, if the sound is
        longer than four seconds. Or the times at which segments begin. Segments of more than four seconds, which no
        note of a library fills, are cut into equal parts.

    Raises
    ------
    ValueError
        If `how` is unknown, or the times do not ascend within the sound.
    """
    end = len(sound) / sample_rate
    if isinstance(how, str):
        check_choice(how, ("auto", "one", "onsets"), "way to find segments")
        onsets = how == "onsets" or (how == "auto" and end > LONGEST)
        times = _onsets(sound, sample_rate) if onsets else []
    else:
        times = [float(time) for time in how]
        if any(b <= a for a, b in zip([-1e-9, *times], [*times, end], strict=True)):
            raise ValueError(f"Segments begin at ascending times between 0 and {end:.2f} s, but are {list(how)}.")
    begins = [0.0]
    for time in times:
        if time - begins[-1] >= SHORTEST and end - time >= SHORTEST:
            begins.append(time)
    segments = []
    for low, high in zip(begins, [*begins[1:], end], strict=True):
        edges = np.linspace(low, high, 1 + int(np.ceil((high - low) / LONGEST - 1e-9)))
        segments += list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return segments


def _onsets(sound: torch.Tensor, sample_rate: int) -> list[float]:
    samples = sound.numpy()
    return librosa.onset.onset_detect(
        y=samples, sr=sample_rate, hop_length=HOP, units="time", backtrack=True, delta=0.1
    ).tolist()


def smoothest_path(costs: Sequence[np.ndarray], moves: Sequence[np.ndarray]) -> list[int]:
    """Return one choice a segment whose costs plus those of the moves between them are least (Viterbi's algorithm).

    Parameters
    ----------
    costs : sequence of arrays [choices]
        Of each segment.
    moves : sequence of arrays [choices, choices of the next]
        One fewer.
    """
    total, back = costs[0], []
    for cost, move in zip(costs[1:], moves, strict=True):
        through = total[:, None] + move
        back.append(through.argmin(0))
        total = through.min(0) + cost
    path = [int(total.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


def movement(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return how far players move, 0 to 1, between choices of two segments.

    Parameters
    ----------
    before, after : numpy.ndarray
        MIDI numbers [choices, players]; NaN rests, and to or from a rest is no move.

    Returns
    -------
    numpy.ndarray
        [choices before, choices after]: the mean over players of the interval, an octave or more being 1.
    """
    steps = np.abs(before[:, None] - after[None]).clip(max=LEAP) / LEAP
    return np.nan_to_num(steps).mean(2)


def tie(notes: Sequence[SolutionNote], lengths: Sequence[float]) -> list[SolutionNote]:
    """Return notes in which those that go on are one: same player and recording, without a gap, and long enough for it.

    Parameters
    ----------
    notes : sequence of SolutionNote
        In the order of their onsets.
    lengths : sequence of float
        The seconds of each recording of the library.
    """
    tied: list[SolutionNote] = []
    last: dict[int, int] = {}  # where each player's latest note is
    for note in notes:
        i = last.get(note.player)
        if i is not None:
            held = tied[i]
            joined = note.onset + note.duration - held.onset
            if (
                held.note == note.note
                and abs(held.onset + held.duration - note.onset) < 1e-6
                and joined <= lengths[note.note] + SHORTEST
            ):
                tied[i] = replace(held, duration=joined)
                continue
        last[note.player] = len(tied)
        tied.append(note)
    return tied


LOW, HIGH = 25.0, 5000.0  # Hz: between these lie the fundamentals of orchestral notes
DEPTH_DB = 12.0  # a partial stands so far above the valleys beside it


def find_partials(sound: torch.Tensor, sample_rate: int, *, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the partials of a sound.

    Parameters
    ----------
    sound : torch.Tensor
        [samples]
    sample_rate : int
        In Hz.
    threshold : float
        Magnitude below which a partial does not count, as a share of the strongest one's: 0 to 1.

    Returns
    -------
    pitches : numpy.ndarray
        As fractional MIDI numbers, ascending.
    magnitudes : numpy.ndarray
        Relative to the strongest one.
    """
    samples = np.asarray(sound, dtype=np.float64)
    n = 1 << max(15, (len(samples) - 1).bit_length())
    magnitude = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n))
    hertz = np.arange(len(magnitude)) * sample_rate / n
    decibels = 20 * np.log10(np.maximum(magnitude, 1e-9 * magnitude.max()))
    width = max(1, round(2 * n / len(samples)))  # a sinusoid's lobe is two bins of the unpadded transform to each side
    peaks, _ = find_peaks(decibels, prominence=DEPTH_DB, distance=width)
    peaks = peaks[(hertz[peaks] >= LOW) & (hertz[peaks] <= HIGH)]
    if not len(peaks):
        return np.empty(0), np.empty(0)
    left, top, right = decibels[peaks - 1], decibels[peaks], decibels[peaks + 1]
    shift = 0.5 * (left - right) / np.minimum(left - 2 * top + right, -1e-9)  # the top of a parabola through them
    pitches = 69 + 12 * np.log2((peaks + shift) * sample_rate / n / 440)
    strengths = magnitude[peaks] / magnitude[peaks].max()
    keep = strengths >= threshold
    return pitches[keep], strengths[keep]


def cents_off(midi: np.ndarray, partials: np.ndarray) -> np.ndarray:
    """Return by how many cents each note would be retuned to lie on the nearest partial; 0 if none is within 50."""
    midi = np.asarray(midi, dtype=float)
    if not len(partials):
        return np.zeros(len(midi))
    difference = partials[np.abs(midi[:, None] - partials).argmin(1)] - midi
    return np.where(np.abs(difference) <= 0.5, 100 * difference, 0.0)
