"""The target: reading it, its segments, its partials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import median_filter
from scipy.signal import find_peaks

from ..util.audio import read_sound
from ..util.checks import check_choice, check_range
from ..util.compiled import librosa
from .solution import SolutionNote
from .spectra import Bands

TARGET_SECONDS = (0.05, 60.0)  # shortest and longest


def read_target(target: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None, wanted: int) -> torch.Tensor:
    """Return a target as mono float32 [samples] at the wanted rate, without the silence before it."""
    sound = read_sound(target, sample_rate, wanted)
    check_range(round(len(sound) / wanted, 6), *TARGET_SECONDS, "The target's duration in seconds")
    return sound


STEP = 1024  # samples (23 ms at 44.1 kHz) between the frames in which changes are looked for
AROUND = 11  # frames (a quarter of a second) before and after a moment that are compared
SHORTEST = 0.25  # seconds of a segment
GRID = 0.125  # seconds: segments that are found begin on multiples of it, a sixteenth at 120 beats a minute
NEW = 0.35  # share of what sounds that was not there before: more is a change
QUIET, LEAD = 40.0, 18.0  # decibels below the loudest frame: silence; and what is noise before the sound
OCTAVE, STANDS_OUT = 13, 6.0  # semitones; decibels: of noise, no band is so far above the median of those around it
LEAP = 12  # semitones: a player who moves further pays no more
STRUCK = 0.25  # of an octave's leap: what a player pays who begins a new note


@dataclass(frozen=True)
class Segment:
    """A part of the target in which nothing new begins: one chord of held notes. The rest of a target is silence."""

    begin: float  # in seconds
    end: float
    level: float = 0.0  # in decibels, relative to the loudest segment
    swell: float = 0.0  # by how many decibels the level grows until the end

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end - self.begin


def find_segments(sound: torch.Tensor, sample_rate: int, how: str | Sequence[float] = "auto") -> list[Segment]:
    """Return the segments of a sound [samples], those that are nearly silent left out."""
    end, frames = len(sound) / sample_rate, _frames(sound, sample_rate)
    step = STEP / sample_rate
    level = 10 * np.log10(np.maximum(frames.sum(1), 1e-12 * frames.sum(1).max()))
    if isinstance(how, str):
        check_choice(how, ("auto", "one", "onsets"), "way to find segments")
        first, last = _sounding(frames, level)
        begin, end = first * step, min(end, (last + 1) * step)
        begins, times = [begin], []
        if how != "one":
            times = _onsets(sound, sample_rate) if how == "onsets" else _changes(frames, first, last, step)
        for time in times:
            if time - begins[-1] >= SHORTEST and end - time >= SHORTEST:
                begins.append(time)
    else:
        begins = [float(time) for time in how]
        if any(b <= a for a, b in pairwise([-1e-9, *begins, end])):
            raise ValueError(f"Segments begin at ascending times between 0 and {end:.2f} s, but are {list(how)}.")
        begins = [0.0, *begins] if not begins or begins[0] >= SHORTEST else [0.0, *begins[1:]]
    found = [_measured(level, a, b, step) for a, b in pairwise([*begins, end])]
    top = max(segment.level for segment in found)
    return [replace(each, level=each.level - top) for each in found if each.level > top - QUIET]


def _frames(sound: torch.Tensor, sample_rate: int) -> np.ndarray:
    """Return the energy of a sound in semitones, float [frames, bands]."""
    bands = Bands(per_octave=12, low=55.0, high=min(14_080.0, 0.45 * sample_rate), n_fft=4096, sample_rate=sample_rate)
    padded = torch.nn.functional.pad(sound.float(), (2048, 2048))
    power = torch.stft(padded, 4096, STEP, window=torch.hann_window(4096), center=False, return_complex=True)
    return (bands.filters @ power.abs().square().numpy()).T + 1e-12


def _sounding(frames: np.ndarray, level: np.ndarray) -> tuple[int, int]:
    """Return the first and the last frame that sound: noise before the sound, and silence after it, left out."""
    loud = np.flatnonzero(level > level.max() - QUIET)
    strong = int(np.flatnonzero(level > level.max() - LEAD)[0])
    first = max(0, int(loud[0]))
    if (strong - first) * STEP > SHORTEST * 44_100:
        before = 10 * np.log10(frames[first : strong - 4].mean(0))
        if (before - median_filter(before, OCTAVE)).max() < STANDS_OUT:
            first = max(0, strong - 2)
    return first, int(loud[-1])


def _changes(frames: np.ndarray, first: int, last: int, step: float) -> list[float]:
    """Return the times, on the grid, at which something new begins to sound."""
    loudness = np.maximum(frames / frames.max(), 1e-6) ** 0.25 - 1e-6**0.25
    total = np.vstack([np.zeros(loudness.shape[1]), loudness.cumsum(0)])

    def mean(low: int, high: int) -> np.ndarray:
        low, high = max(first, low), min(last + 1, high)
        return (total[high] - total[low]) / max(1, high - low)

    found, begin, t = [], first, first + AROUND
    while t < last + 1 - AROUND // 2:
        now = mean(t, t + AROUND)
        if min(_new(mean(t - AROUND, t), now), _new(mean(begin, begin + 2 * AROUND), now)) > NEW / 2 and (
            _new(mean(t - AROUND, t), now) > NEW or _new(mean(begin, begin + AROUND), now) > NEW
        ):
            nearby = range(t, min(t + AROUND, last + 1))
            t = max(nearby, key=lambda k: _new(mean(k - AROUND, k), mean(k, k + AROUND)))
            time = round(t * step / GRID) * GRID
            if not found or time > found[-1]:
                found.append(time)
            begin, t = t, t + AROUND
        t += 1
    return found


def _new(before: np.ndarray, after: np.ndarray) -> float:
    """Return which share of what sounds after was not there before; growing louder alone is nothing new."""
    before = before * max(1.0, after.sum() / max(before.sum(), 1e-9))
    return float((after - before).clip(min=0).sum() / max(after.sum(), 1e-9))


def _measured(level: np.ndarray, begin: float, end: float, step: float) -> Segment:
    """Return a segment with its level in decibels, and how that changes: a straight line from its loudest moment on."""
    first, last = round(begin / step), round(end / step)
    part = level[first + 3 : last - 2] if last - first > 12 else level[first : max(last, first + 1)]  # none of beside
    loud = part > part.max() - QUIET
    mean = 10 * np.log10((10 ** (part / 10)).mean())
    if loud.sum() < 8:
        return Segment(begin, end, mean)
    slope = np.polyfit(np.flatnonzero(loud) * step, part[loud], 1)[0]
    return Segment(begin, end, mean, float(np.clip(slope * (end - begin), -QUIET, QUIET)))


def swells(sound: torch.Tensor, sample_rate: int, segments: Sequence[Segment]) -> list[float]:
    """Return by how many decibels a sound grows within each of some segments."""
    level = 10 * np.log10(_frames(sound, sample_rate).sum(1))
    return [_measured(level, each.begin, each.end, STEP / sample_rate).swell for each in segments]


def _onsets(sound: torch.Tensor, sample_rate: int) -> list[float]:
    options = {"hop_length": 256, "units": "time", "backtrack": True, "delta": 0.1}
    return librosa.onset.onset_detect(y=sound.numpy(), sr=sample_rate, **options).tolist()


def smoothest_path(costs: Sequence[np.ndarray], moves: Sequence[np.ndarray]) -> list[int]:
    """Return one choice a segment whose costs plus those of the moves between them are least (Viterbi's algorithm)."""
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
    """Return how far players move, 0 to 1, between choices of two segments: [choices before, choices after]."""
    steps = np.abs(before[:, None] - after[None]).clip(max=LEAP) / LEAP
    return np.nan_to_num(steps).mean(2)


def struck(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the share of players who begin a new note between choices of two segments, given as rows (−1: a rest)."""
    return ((before[:, None] != after[None]) & (after[None] >= 0)).mean(2)


def tie(notes: Sequence[SolutionNote]) -> list[SolutionNote]:
    """Return notes, in the order of their onsets, in which those that go on are one: same player and recording."""
    tied: list[SolutionNote] = []
    last: dict[int, int] = {}  # where each player's latest note is
    for note in notes:
        held = tied[last[note.player]] if note.player in last else None
        if held and held.note == note.note and abs(held.onset + held.duration - note.onset) < 1e-6:
            duration = note.onset + note.duration - held.onset
            tied[last[note.player]] = replace(held, duration=duration, swell=held.swell + note.swell)
        else:
            last[note.player] = len(tied)
            tied.append(note)
    return tied


LOW, HIGH = 25.0, 5000.0  # Hz: between these lie the fundamentals of orchestral notes
DEPTH_DB = 12.0  # a partial stands so far above the valleys beside it


def find_partials(sound: torch.Tensor, sample_rate: int, *, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the partials of a sound."""
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
