"""Speed and scale: that what is timed does the same, what the slopes are, and that mixing has not become slow."""

import librosa
import numpy as np
import pandas as pd
import pytest
import torch
from experiments import scale

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import SAMPLES, Mixtures

GUARD = 2.0  # times our time that the obvious way must take; medians of 3.7 and 4.9 (turns: 3.0 to 5.2) were measured


@pytest.fixture(scope="module")
def mixtures():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with scale.synthetic_library(40) as notes:
        yield Mixtures(notes, Classes(notes, by="recording"), n=5, size=32)
    torch.set_num_threads(before)


def test_a_synthetic_library_has_as_many_different_notes_as_it_says():
    with scale.synthetic_library(700, seconds=0.05) as notes:
        assert notes.audio.shape == (700, 2205)
        assert len(Classes(notes, by="recording")) == 700
        assert len({row.numpy().tobytes() for row in notes.audio}) == 700
        assert (notes.lengths == 2205).all()


def test_the_obvious_ways_make_the_same_spectrograms(mixtures):
    ways = scale.mel_ways(mixtures)
    assert {"deeporch", "DataLoader, torchaudio", "DataLoader, librosa"} <= set(ways)
    sound = mixtures.notes.audio[mixtures.indices.long(), :SAMPLES].float().mean(1).numpy()
    expected = librosa.feature.melspectrogram(y=sound, sr=44_100)
    for name in ("deeporch", "DataLoader, torchaudio", "DataLoader, librosa"):
        made = np.concatenate([np.asarray(part).reshape(-1, *expected.shape[1:]) for part in ways[name]()])
        np.testing.assert_allclose(made, expected, atol=1e-3 * expected.max())


def test_slopes_are_the_exponents():
    x = [1, 10, 100]
    rows = [scale.row("time", "notes", v, [3 * v**0.5], "s") for v in x]
    rows += [scale.row("bytes", "notes", v, [7 * v], "MB") for v in x] + [scale.row("once", "notes", 1, [1], "s")]
    found = scale.slopes(scale.table(rows)).set_index("measure")["slope"]
    assert found.to_dict() == {"time": pytest.approx(0.5), "bytes": pytest.approx(1.0)}


def test_a_row_is_the_median_and_the_range():
    assert scale.row("time", "N", 2, [3.0, 1.0, 9.0], "s") == dict(
        zip(scale.COLUMNS, ("time", "N", 2, 3.0, 1.0, 9.0, "s"), strict=True)
    )


def test_memory_grows_with_notes_and_with_the_recipe_as_expected():
    rows = scale.against_notes([20, 200], mixtures=16, recipe=100) + scale.against_mixtures([200, 2000], library=50)
    found = scale.slopes(scale.table(rows)).set_index(["against", "measure", "unit"])["slope"]
    assert found["notes", "audio of the library", "MB"] == pytest.approx(1, abs=1e-6)
    assert found["mixtures", "recipe", "MB"] == pytest.approx(1, abs=0.02)


def test_mixing_with_mel_has_not_become_slow(mixtures):
    """In processor time, beside the obvious way in the same turns: less than half the speed crosses the bound."""
    rows = pd.DataFrame(scale.beside_peers(mixtures, 5)).set_index(["measure", "unit"])
    assert rows.loc[("DataLoader, torchaudio", "times deeporch's time"), "value"] > GUARD
