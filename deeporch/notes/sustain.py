"""Held tones: recordings of a second or two continued for as long as a note is written."""

from __future__ import annotations

import numpy as np
from scipy.signal import correlate

FRAME = 0.01  # seconds: levels are measured in such frames
STEADY_DB = 8.0  # the steady part lies so far below the loudest frame at most,
ENDS_DB = 45.0  # and the sound has ended where it stays so far below it
ATTACK, TAIL = 0.08, 0.35  # seconds before the steady part that are never repeated; and after it that are kept, at most


def held(sound: np.ndarray, samples: int, rate: int, hertz: float, seed: int = 0) -> np.ndarray:
    """Return a recorded tone of at least `samples`: its attack, its steady part continued, its end."""
    begin, end, last = _parts(sound, rate)
    period = rate / hertz
    overlap = round(min(max(2 * period, FRAME * rate), (end - begin) / 5))
    if samples <= last + 0.1 * rate or overlap < FRAME * rate / 4:
        return sound
    trend = _trend(sound[begin:end], rate)
    tail = sound[end : min(last, end + round(TAIL * rate))]
    middle = _continued(sound[begin:end] / trend, samples - begin - len(tail), overlap, round(period), seed)
    ramp = np.exp(np.linspace(*np.log(trend[[0, -1]]), len(middle), dtype=np.float32))
    return np.concatenate([sound[:begin], middle * ramp, tail]).astype(np.float32)


def _parts(sound: np.ndarray, rate: int) -> tuple[int, int, int]:
    """Return the samples at which the steady part begins and ends, and the sound ends."""
    size = round(FRAME * rate)
    if len(sound) < 3 * size:
        return 0, 0, len(sound)
    frames = np.square(sound[: len(sound) // size * size].reshape(-1, size)).mean(1)
    level = 10 * np.log10(np.maximum(np.convolve(frames, np.full(3, 1 / 3), "same"), 1e-20))
    loud = np.flatnonzero(level > level.max() - STEADY_DB)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > 2) + 1)
    run = max(runs, key=len)
    attack = min(round(ATTACK / FRAME), len(run) // 4)
    last = np.flatnonzero(level > level.max() - ENDS_DB)[-1]
    return (run[0] + attack) * size, max(run[0] + attack, run[-1] - 1) * size, (last + 1) * size


def _trend(sound: np.ndarray, rate: int) -> np.ndarray:
    """Return the straight line, in decibels, along which a tone's level changes, as amplitudes [samples]."""
    size = min(round(FRAME * rate), len(sound))
    power = np.square(sound[: len(sound) // size * size].reshape(-1, size)).mean(1) + 1e-20
    slope, start = np.polyfit(np.arange(len(power)) + 0.5, np.log(power) / 2, 1) if len(power) > 2 else (0.0, 0.0)
    return np.exp(start + slope * np.arange(len(sound)) / size).astype(np.float32)


def _continued(steady: np.ndarray, samples: int, overlap: int, period: int, seed: int) -> np.ndarray:
    """Return at least `samples` of a steady tone that begin as it begins and end as it ends."""
    while 4 * len(steady) < samples:  # fewer and longer pieces than with the short tone alone
        steady, seed = _continued(steady, 4 * len(steady), overlap, period, seed), seed + 1
    draw = np.random.default_rng(seed)
    out = np.empty(samples + 4 * period + 2 * overlap, dtype=np.float32)
    out[: len(steady)] = steady[: len(out)]
    filled, longest = min(len(steady), samples - 3 * overlap), len(steady) - overlap
    while samples - filled > 0:
        remaining = samples - filled
        final = remaining <= longest
        drawn = None if final else int(draw.integers(0, (len(steady) - 3 * overlap) // 2 + 1))
        start = len(steady) - remaining - overlap if final else drawn
        start = _best(steady, out[filled - overlap : filled], max(0, start - 2 * period), start)
        length = len(steady) - start - overlap
        length = length if final else min(length, max(overlap, remaining - 3 * overlap))
        fade = np.linspace(0, 1, overlap, dtype=np.float32)
        out[filled - overlap : filled] *= 1 - fade
        out[filled - overlap : filled] += fade * steady[start : start + overlap]
        out[filled : filled + length] = steady[start + overlap : start + overlap + length]
        filled += length
    return out[:filled]


def _best(steady: np.ndarray, template: np.ndarray, low: int, high: int) -> int:
    """Return where between `low` and `high` the tone resembles the template most."""
    high = max(low, min(high, len(steady) - len(template)))
    part = steady[low : high + len(template)]
    energy = np.cumsum(np.concatenate([[0.0], np.square(part, dtype=np.float64)]))
    norm = np.sqrt(np.maximum(energy[len(template) :] - energy[: -len(template)], 1e-12))
    return low + int(np.argmax(correlate(part, template, "valid", method="fft") / norm))
