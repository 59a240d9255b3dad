"""Fixtures that several test files share."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deeporch.constantq import ConstantQ
from deeporch.library import NoteLibrary, load_library
from deeporch.mixtures import Classes
from deeporch.models import build
from deeporch.pitches import midi_to_pitch
from deeporch.recognizer import Recognizer
from deeporch.sources.soundfont import default_soundfont

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


@pytest.fixture(scope="session")
def tiny_library():
    """Six synthetic instruments x 12 pitches (C4 to B4) x pp, mf, ff, of 0.5 to 1.6 s: 216 notes, always the same."""
    rows, tones = [], []
    for index, (instrument, envelope) in enumerate(ENVELOPES.items()):
        for midi in range(60, 72):
            for step, (dynamic, level) in enumerate(LEVELS.items()):
                seconds = 0.5 + 0.1 * ((5 * index + 7 * midi + 3 * step) % 12)
                rows.append({"instrument": instrument, "pitch": midi_to_pitch(midi), "dynamic": dynamic})
                tones.append(harmonic_tone(midi, envelope, seconds, level))
    return NoteLibrary.from_audio(pd.DataFrame(rows), tones, name="tiny")


@pytest.fixture(scope="session")
def untrained(tiny_library):
    """A Recognizer of the tiny library's notes that has learned nothing: always the same random answers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = ConstantQ(frames=16)
        return Recognizer(build("pitchnet", Classes(tiny_library), features=features, channels=8, width=16, blocks=1))


@pytest.fixture
def generator():
    """Return a torch.Generator seeded with 0."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty cache folder that the test has for itself."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEEPORCH_CACHE", str(folder))
    return folder


def real_folder(variable):
    """Return the folder that an environment variable names; skip without it, or fail where CI says it must be there."""
    folder = os.environ.get(variable)
    if folder and Path(folder).is_dir():
        return Path(folder)
    message = f"real recordings: set {variable} to a folder that has them (it is {folder!r})"
    if os.environ.get("DEEPORCH_REQUIRE_REAL") == "1" or folder:
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def philharmonia():
    """Return the folder of Philharmonia Orchestra notes."""
    return real_folder("DEEPORCH_PHILHARMONIA_ROOT")


@pytest.fixture(scope="session")
def philharmonia_other_takes():
    """Return the folder of further takes of the Philharmonia Orchestra's notes."""
    return real_folder("DEEPORCH_OTHER_TAKES_ROOT")


@pytest.fixture(scope="session")
def tinysol_sample():
    """Return the folder of the two real TinySOL notes."""
    return real_folder("DEEPORCH_TINYSOL_SAMPLE")


@pytest.fixture(scope="session")
def soundfont_library():
    """Return the default library, from the cache where it is there (rendering it takes half a minute)."""
    return load_library("soundfont", root=default_soundfont())
