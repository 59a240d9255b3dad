"""Targets: synthetic ones (bells, vowels, noise bands, chords, a car horn), and the recordings of a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

SAMPLE_RATE = 44_100

# Partials of a church bell relative to its prime: hum, prime, tierce, quint, nominal … (A. Lehr, 1986)
BELL = (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.67, 3.0, 4.0)
# The first three formants of vowels of a man's voice in Hz (G. E. Peterson, H. L. Barney, JASA 24, 1952)
VOWELS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}


def tones(hertz: np.ndarray, amplitudes: np.ndarray, decays: np.ndarray, seconds: float) -> np.ndarray:
    """Return the sum of sinusoids [samples] that decay by 60 dB in so many seconds each (infinity: not at all)."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.outer(hertz, time) + np.arange(len(hertz))[:, None] ** 2
    return (amplitudes[:, None] * np.exp(-6.9 * time / decays[:, None]) * np.sin(phase)).sum(0)


def bell(prime: float, seconds: float) -> np.ndarray:
    """Return a struck bell; higher partials die sooner."""
    ratios = np.array(BELL)
    return tones(prime * ratios, 1 / np.sqrt(ratios), 4 / ratios, seconds)


def vowel(name: str, pitch: float, seconds: float) -> np.ndarray:
    """Return a sung vowel: harmonics under resonances 100 Hz wide."""
    hertz = pitch * np.arange(1, int(5000 / pitch))
    gains = sum(1 / (1 + ((hertz - formant) / 100) ** 2) / (k + 1) for k, formant in enumerate(VOWELS[name]))
    return tones(hertz, gains / np.sqrt(hertz), np.full(len(hertz), np.inf), seconds)


def noise_band(low: float, high: float, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Return noise between two frequencies."""
    samples = round(seconds * SAMPLE_RATE)
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum = np.exp(2j * np.pi * generator.random(len(hertz))) * ((hertz >= low) & (hertz <= high))
    return np.fft.irfft(spectrum, samples)


def chord(pitches: tuple[float, ...], seconds: float, partials: int = 8) -> np.ndarray:
    """Return a chord of sawtooth-like tones."""
    hertz = np.outer(pitches, np.arange(1, partials + 1)).flatten()
    amplitudes = np.tile(1 / np.arange(1, partials + 1), len(pitches))
    return tones(hertz, amplitudes, np.full(len(hertz), np.inf), seconds)


def synthetic_targets(seconds: float = 2.0, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return the synthetic targets: name to mono float32 [samples] at 44.1 kHz, peak 0.5, faded at both ends."""
    generator = np.random.default_rng(seed)
    sounds = {
        "bell A4": bell(440.0, seconds),
        "bell D3": bell(146.8, seconds),
        "vowel a, A2": vowel("a", 110.0, seconds),
        "vowel i, D3": vowel("i", 146.8, seconds),
        "vowel u, G3": vowel("u", 196.0, seconds),
        "noise 400-800 Hz": noise_band(400, 800, seconds, generator),
        "noise 1-3 kHz": noise_band(1000, 3000, seconds, generator),
        "chord C minor": chord((130.8, 155.6, 196.0, 261.6), seconds),
        "chord of fourths": chord((110.0, 146.8, 196.0, 261.6, 349.2), seconds),
        "car horn": chord((420.0, 500.0), seconds, partials=15),
    }
    ramp = np.minimum(1, np.arange(round(seconds * SAMPLE_RATE)) / (0.01 * SAMPLE_RATE))
    envelope = np.minimum(ramp, ramp[::-1])
    return {
        name: torch.from_numpy((0.5 * envelope * sound / np.abs(sound).max()).astype(np.float32))
        for name, sound in sounds.items()
    }


def recorded_targets(folder: str | Path | None = None, seconds: float = 2.0) -> dict[str, torch.Tensor]:
    """Return the recorded sounds of a folder: short name to mono float32 [samples] at 44.1 kHz, their first seconds.

    Parameters
    ----------
    folder : path, optional
        Default: $DEEPORCH_TARGETS_ROOT; without either there are none.
    seconds : float
        What is longer is cut, and faded over 10 ms.
    """
    from deeporch.util.audio import read_sound

    folder = folder or os.environ.get("DEEPORCH_TARGETS_ROOT")
    found = {}
    for path in sorted(Path(folder).iterdir()) if folder else []:
        sound = read_sound(path, None, SAMPLE_RATE)[: round(seconds * SAMPLE_RATE)]
        ramp = round(0.01 * SAMPLE_RATE)
        sound[-ramp:] *= torch.linspace(1, 0, ramp)
        words = path.stem.split("_")
        found[" ".join(words[: 2 if words[1][:1].isupper() else 1])] = sound
    return found
