"""Fixtures that several test files share."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tones
import torch
from tones import ENVELOPES, LEVELS, harmonic_tone

from deeporch.features.constantq import ConstantQ
from deeporch.mixtures.classes import Classes
from deeporch.models.build import build
from deeporch.notes.instruments import midi_to_pitch, pitch_to_midi
from deeporch.notes.library import NoteLibrary, load_library
from deeporch.notes.sources.soundfont import default_soundfont
from deeporch.recognition.recognizer import Recognizer
from deeporch.util.files import atomic_path, cache_dir, file_hash


def pytest_collection_modifyitems(items):
    """What takes long comes first, so that no process works on alone at the end."""
    items.sort(key=lambda item: not (item.path.suffix == ".ipynb" or item.get_closest_marker("slow")))


@pytest.fixture(scope="session")
def tiny_library():
    """Six synthetic instruments x 12 pitches (C4 to B4) x pp, mf, ff, of 0.5 to 1.6 s: 216 notes, always the same."""
    rows, sizes = [], []
    for index, instrument in enumerate(ENVELOPES):
        for midi in range(60, 72):
            for step, dynamic in enumerate(LEVELS):
                sizes.append(0.5 + 0.1 * ((5 * index + 7 * midi + 3 * step) % 12))
                rows.append({"instrument": instrument, "pitch": midi_to_pitch(midi), "dynamic": dynamic})
    path = cache_dir() / "tests" / f"tiny-{file_hash(tones.__file__)}.npy"  # computing them takes seconds
    if not path.is_file():
        made = [
            harmonic_tone(pitch_to_midi(row["pitch"]), ENVELOPES[row["instrument"]], seconds, LEVELS[row["dynamic"]])
            for row, seconds in zip(rows, sizes, strict=True)
        ]
        with atomic_path(path) as temporary:
            np.save(temporary, np.concatenate(made))
    ends = np.cumsum([int(seconds * 44_100) for seconds in sizes])[:-1]
    return NoteLibrary.from_audio(pd.DataFrame(rows), np.split(np.load(path), ends), name="tiny")


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
def one_thread():
    """Let torch use one thread: small networks are fastest so, and sums do not depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
def recorded_targets():
    """Return the folder of sounds that are no orchestra's."""
    return real_folder("DEEPORCH_TARGETS_ROOT")


@pytest.fixture(scope="session")
def tinysol_sample():
    """Return the folder of the two real TinySOL notes."""
    return real_folder("DEEPORCH_TINYSOL_SAMPLE")


@pytest.fixture(scope="session")
def soundfont_library():
    """Return the default library, from the cache where it is there (rendering it takes half a minute)."""
    return load_library("soundfont", root=default_soundfont())
