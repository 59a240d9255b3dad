"""Synthetic instruments for tests: harmonic tones, each instrument with a spectral envelope of its own."""

import numpy as np

# A spectral envelope of its own for each instrument: the amplitudes of the first partials.
ENVELOPES = {
    "Fl": [1, 0.3, 0.1, 0.03],
    "Ob": [0.4, 0.8, 1, 0.7, 0.5, 0.3, 0.2],
    "ClBb": [1, 0.02, 0.7, 0.03, 0.5, 0.04, 0.3],
    "Hn": [1, 0.9, 0.6, 0.3, 0.1],
    "Vn": [1, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25],
    "Vc": [0.7, 1, 0.3, 0.6, 0.2, 0.4, 0.1, 0.3],
}
LEVELS = {"pp": 0.05, "mf": 0.2, "ff": 0.7}


def harmonic_tone(midi, envelope, seconds, level=0.5, sample_rate=44_100):
    """Return a harmonic tone with a 20 ms attack; louder tones are brighter, as instruments are."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    frequency = 440 * 2 ** ((midi - 69) / 12)
    tone = sum(
        amplitude * level ** (0.1 * k) * np.sin(2 * np.pi * frequency * (k + 1) * time + k * k)
        for k, amplitude in enumerate(envelope)
        if frequency * (k + 1) < sample_rate / 2
    )
    tone *= np.minimum(1, time / 0.02) * np.minimum(1, (seconds - time) / 0.05)
    return (level * tone / np.abs(tone).max()).astype(np.float32)
