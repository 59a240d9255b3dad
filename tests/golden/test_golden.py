"""What must not change when code moves: recipes, features, answers, solutions and files, kept as numbers and hashes.

``python tests/golden/test_golden.py`` writes golden.json anew: only when a change of results is meant, and said.
"""

import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import deeporch as do

GOLDEN = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-6


def make_library():
    """Return 5 synthetic instruments x 12 pitches x 3 dynamics: harmonic tones of 0.4 to 1.6 s."""
    rows, tones = [], []
    for i, instrument in enumerate(("Fl", "Ob", "Hn", "Vn", "Vc")):
        for midi in range(60, 72):
            for k, dynamic in enumerate(("pp", "mf", "ff")):
                time = np.arange(round(44_100 * (0.4 + 0.1 * ((5 * i + 7 * midi + 3 * k) % 13)))) / 44_100
                weights = [(1 + i) ** -(0.5 * h) * (1 + 0.3 * k) ** h for h in range(8)]
                tone = sum(
                    w * np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * (h + 1) * time)
                    for h, w in enumerate(weights)
                )
                fade = np.minimum(1, np.minimum(time / 0.02, (time[-1] - time) / 0.05))
                tones.append((0.05 * (k + 1) * tone / np.abs(tone).max() * fade).astype(np.float32))
                rows.append({"instrument": instrument, "midi": midi, "dynamic": dynamic})
    return do.NoteLibrary.from_audio(pd.DataFrame(rows), tones, name="golden")


def digest(data):
    """Return a short hash of bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def sample(tensor):
    """Return 24 values spread over a tensor, and its sum."""
    flat = tensor.detach().double().flatten()
    return [*flat[:: max(1, len(flat) // 24)][:24].tolist(), float(flat.sum())]


def recipes(notes):
    """Hashes of the indices, gains and starts of six settings."""
    classes = do.Classes(notes, by="note")
    split = do.split(notes, classes, by="recording", seed=3)
    train = do.Mixtures(notes, classes, n=2, size=500, pool=split.train)
    sets = {
        "two": train,
        "excluding": do.Mixtures(notes, classes, n=2, size=200, seed=1, exclude=train),
        "instrument": do.Mixtures(notes, do.Classes(notes, by="instrument"), n=3, size=200, seed=2),
        "recording": do.Mixtures(notes, do.Classes(notes, by="recording"), n=5, size=200, seed=3, gain_db=(-6, 3)),
        "orchestra": do.Mixtures(notes, classes, n=4, size=200, seed=4, per_instrument=1, onset=0.2),
        "part": do.Mixtures(
            notes, classes, n=2, size=100, seed=5, window="random", samples=20_000, pitch_range=("C4", "F4")
        ),
    }
    parts = lambda s: (s.indices.int(), s.gains, s.starts)  # noqa: E731
    return {
        name: digest(b"".join(b"" if p is None else p.numpy().tobytes() for p in parts(mixtures)))
        for name, mixtures in sets.items()
    }


def features(notes):
    """Some values of the features of four mixtures."""
    mixtures = do.Mixtures(notes, do.Classes(notes), n=3, size=4, onset=0.1, gain_db=(-3, 3))
    names = ("mel128", "logmel128", "logmel64", "cqt24")
    return {name: sample(do.get_features(name).of(mixtures, range(4))) for name in names}


def answers(notes):
    """The three likeliest notes of ten mixtures by each shipped network."""
    audio = do.Mixtures(notes, do.Classes(notes), n=3, size=10, seed=7).audio(range(10))
    found = {}
    for name in ("philharmonia", "soundfont"):
        recognizer = do.Recognizer.load(name)
        rows = recognizer.predict_batch(list(audio), 44_100, n=3)
        found[name] = [[[h.instrument, h.pitch, round(h.probability, 5)] for h in row] for row in rows]
    return found


def targets():
    """Two sounds that no note of the library is."""
    time = np.arange(30_000) / 44_100
    bell = sum(np.sin(2 * np.pi * 300 * r * time) * np.exp(-time * (2 + r)) for r in (1, 2.0, 2.4, 3.0, 4.5, 5.3))
    noise = np.random.default_rng(0).standard_normal(30_000) * np.exp(-3 * time)
    return {"bell": bell.astype(np.float32), "noise": (0.1 * bell + 0.02 * noise).astype(np.float32)}


def orchestrations(notes, folder):
    """Distances and notes of small searches of two targets, and hashes of one solution's files."""
    found = {}
    for name, sound in targets().items():
        for distance in ("combined", "mel"):
            solutions = do.orchestrate(
                sound, notes, "Fl Ob Hn Vn Vc", sample_rate=44_100, distance=distance, solutions=2, evaluations=3000
            )
            found[f"{name} {distance}"] = [
                [s.distance, *(f"{n.instrument} {n.midi} {n.dynamic}" for n in s.notes)] for s in solutions
            ]
    one = solutions[0]
    for suffix in ("musicxml", "midi", "json", "connection"):
        path = Path(folder) / f"one.{suffix}"
        getattr(one, f"to_{suffix}")(path)
        found[suffix] = digest(re.sub(rb"<(encoding-date|software)>.*?<", b"<", path.read_bytes()))
    return found


PARTS = {"recipes": recipes, "features": features, "answers": answers, "orchestrations": orchestrations}


def compute(part, notes, folder):
    """Return one part of the golden file."""
    value = PARTS[part](notes, folder) if part == "orchestrations" else PARTS[part](notes)
    return json.loads(json.dumps(value))


def differences(found, wanted, where=""):
    """Yield the places where two nested values differ, numbers by more than the tolerance."""
    if isinstance(wanted, float) and isinstance(found, float | int):
        if not abs(found - wanted) <= TOLERANCE * max(1, abs(wanted)):
            yield f"{where}: {found!r} instead of {wanted!r}"
    elif isinstance(wanted, dict) and isinstance(found, dict) and set(wanted) == set(found):
        for key in wanted:
            yield from differences(found[key], wanted[key], f"{where}/{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif found != wanted:
        yield f"{where}: {found!r} instead of {wanted!r}"


@pytest.fixture(scope="module")
def notes():
    """Return the synthetic library."""
    return make_library()


@pytest.mark.parametrize("part", PARTS)
def test_nothing_changed(part, notes, tmp_path):
    """A part of the golden file is computed again and equal, numbers to a millionth."""
    wanted = json.loads(GOLDEN.read_text())[part]
    assert list(differences(compute(part, notes, tmp_path), wanted)) == []


def test_differences_are_seen():
    """The comparison itself notices a changed number, name and length."""
    wanted = {"a": [1.0, "x"], "b": 2.0}
    assert list(differences({"a": [1.0, "x"], "b": 2.0 + 1e-8}, wanted)) == []
    assert len(list(differences({"a": [1.1, "y"], "b": 2.0}, wanted))) == 2
    assert len(list(differences({"a": [1.0], "b": 2.0}, wanted))) == 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    library, parts = make_library(), sys.argv[1:] or list(PARTS)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        golden |= {part: compute(part, library, temporary) for part in parts}
    GOLDEN.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
