"""The partials of a sound: where its spectrum has peaks, how strong they are, and which notes lie on them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import find_peaks

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
