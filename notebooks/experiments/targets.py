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
# On these the weights of the default distance were chosen; all others are for testing it
CHOSEN_ON = (
    "Thai-gong", "cowbell", "guitar A3", "mandolin A4", "bell A4", "vowel u, G3", "noise 1-3 kHz", "gong 190 Hz",
    "multiphonic D3", "voice a", "glass A5", "long car horn",
)  # fmt: skip
NOISE = 10 ** (-65 / 20)  # of a recording, relative to its peak


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


def _gong(low: float, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Return 60 partials at random over five octaves that grow within 50 ms; higher ones die sooner."""
    ratios = np.sort(np.exp(generator.uniform(0, np.log(30), 60)))
    partials = tones(low * ratios, generator.uniform(0.3, 1, 60) / ratios**0.9, 12 * ratios**-0.6, seconds)
    return partials * (1 - np.exp(-np.arange(len(partials)) / (0.05 * SAMPLE_RATE)))


def _multiphonic(one: float, other: float, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Return two tones with the sums and differences of their harmonics, and breath."""
    i, j = (x.flatten() for x in np.meshgrid(np.arange(9), np.arange(-4, 9)))
    hertz = i * one + j * other
    heard = (hertz > 80) & (hertz < 6000)
    gains = (np.exp(-0.35 * (i + abs(j))) * generator.uniform(0.4, 1, len(i)))[heard]
    sound = tones(hertz[heard], gains, np.full(heard.sum(), np.inf), seconds)
    return sound / sound.std() + 0.08 * _breath(500, 5000, seconds, generator)


def _voice(name: str, pitch: float, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Return a vowel sung with a vibrato of 20 cents to each side, and breath."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * pitch * (time - 0.012 * np.cos(2 * np.pi * 5.2 * time) / (2 * np.pi * 5.2))
    sound = np.zeros(len(time))
    for k in range(1, int(7000 / pitch)):
        ratios = k * pitch / np.array([*VOWELS[name], 3400, 4500])
        sound += np.sin(k * phase) / k / np.sqrt((1 - ratios**2) ** 2 + (ratios / 8) ** 2).prod()
    return sound / sound.std() + 0.02 * _breath(1000, 8000, seconds, generator)


def _breath(low: float, high: float, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Return noise that falls by 6 dB an octave outside of a band, of variance 1."""
    samples = round(seconds * SAMPLE_RATE)
    hertz = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 1)
    noise = np.fft.irfft(
        np.fft.rfft(generator.normal(size=samples)) * np.minimum(hertz / low, high / hertz).clip(max=1)
    )
    return noise[:samples] / noise.std()


def varied_targets(*, seed: int = 1) -> dict[str, torch.Tensor]:
    """Return gongs, multiphonics, voices, wind and more, 2 to 6 s, over the noise of a recording; as the synthetic."""
    generator = np.random.default_rng(seed)
    glass = np.array([1, 2.32, 4.25, 6.63, 9.38])  # a free beam's ratios
    motor = np.arange(1, 60)
    sounds = {
        "gong 80 Hz": _gong(80, 5.0, generator),
        "gong 190 Hz": _gong(190, 3.5, generator),
        "multiphonic A#3": _multiphonic(233.1, 336.2, 3.0, generator),
        "multiphonic D3": _multiphonic(146.8, 380.2, 6.0, generator),
        "voice a": _voice("a", 164.8, 2.5, generator),
        "voice i": _voice("i", 440.0, 2.0, generator),
        "wind": _breath(500, 700, 4.0, generator),
        "glass A5": tones(880 * glass, glass**-1.2, 6 / glass, 3.0),
        "motor": tones(62.0 * motor, motor**-0.8, np.full(59, np.inf), 3.0) + 0.3 * _breath(100, 9000, 3.0, generator),
        "long car horn": chord((420.0, 500.0), 4.3, partials=15),
    }
    return {name: _faded(x / np.abs(x).max() + NOISE * generator.normal(size=len(x))) for name, x in sounds.items()}


def _faded(sound: np.ndarray) -> torch.Tensor:
    """Return a sound of peak 0.5, faded over 10 ms at both ends, as float32."""
    ramp = np.minimum(1, np.arange(len(sound)) / (0.01 * SAMPLE_RATE))
    faded = 0.5 * np.minimum(ramp, ramp[::-1]) * sound / np.abs(sound).max()
    return torch.from_numpy(faded.astype(np.float32))


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
    return {name: _faded(sound) for name, sound in sounds.items()}


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
