"""What every plug-in keeps: sources, features, models, distances and exports, whatever their number."""

import inspect
from importlib import import_module

import numpy as np
import pytest
import torch

import deeporch as do
from deeporch.features.registry import FEATURES
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import MODELS
from deeporch.notes.library import SOURCES
from deeporch.orchestration.distances import DISTANCES, distance
from deeporch.orchestration.solution import Solution, SolutionNote

SMALL = {
    "cnn": {"channels": (4, 4, 4), "last": 4, "hidden": 16},
    "cnn_lstm_cnn": {"channels": (4, 4, 4), "last": 4, "hidden": 16},
    "resnet": {"widths": [4, 4], "layers": [1, 1], "stem": 4},
    "pitchnet": {"channels": 4, "width": 8, "blocks": 1},
    "open_pitchnet": {"channels": 4, "width": 8, "blocks": 1},
}


@pytest.fixture(scope="module")
def mixtures(tiny_library):
    return Mixtures(tiny_library, Classes(tiny_library), n=2, size=4, seed=3)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_says_what_it_is_and_refuses_what_is_not_there(name, tmp_path):
    source = import_module(f"deeporch.notes.sources.{name}")
    assert isinstance(source.VERSION, int)
    assert next(iter(inspect.signature(source.find).parameters)) == "root"
    assert list(inspect.signature(source.read).parameters) == ["found", "seconds"]
    text = inspect.getdoc(source)
    for word in ("licence", "http"):
        assert word in text.lower(), f"{name} has no {word}"
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        do.load_library(name, root=tmp_path / "nothing")
    assert "nothing" in str(caught.value)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_has_its_shape_and_is_the_same_by_recipe_and_by_sound(name, mixtures, cache):
    features = FEATURES[name]
    sound = mixtures.audio(range(4))
    made = features(sound)
    assert made.shape == (4, *features.shape)
    assert torch.isfinite(made).all()
    assert made.std() > 0
    torch.testing.assert_close(features(sound[2:3])[0], made[2], atol=1e-4, rtol=1e-3)
    by_recipe = features.of(mixtures, range(4))
    assert by_recipe.shape == made.shape
    assert (by_recipe - made).abs().mean() < 0.02 * made.abs().mean().clamp(min=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_built_from_a_seed_and_comes_back_from_its_checkpoint(name, mixtures, tmp_path):
    classes, sizes = mixtures.classes, SMALL.get(name, {})
    features = "cqt24" if "pitchnet" in name else "logmel64"
    one, same, other = (do.build(name, classes, features=features, seed=seed, **sizes).eval() for seed in (1, 1, 2))
    picture = torch.rand(3, *one.features.shape)
    logits = one(picture)
    assert logits.shape == (3, len(classes))
    assert torch.equal(logits, same(picture))
    assert not torch.equal(logits, other(picture))
    do.save_checkpoint(tmp_path / "one", one)
    again = do.load_checkpoint(tmp_path / "one.safetensors").eval()
    assert torch.equal(again(picture), logits)
    assert (again.classes, again.features) == (classes, one.features)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_is_least_for_the_target_itself(name):
    time = np.arange(30_000) / 44_100
    fade = np.exp(-2 * time)
    chord = (sum(np.sin(2 * np.pi * f * time) for f in (220, 440, 660, 1100)) * fade).astype(np.float32)
    apart = (sum(np.sin(2 * np.pi * f * time) for f in (247, 494, 741, 2093)) * fade).astype(np.float32)
    same, far = (distance(chord, sound, 44_100, name=name) for sound in (chord, apart))
    assert np.isfinite([same, far]).all()
    assert -1e-5 <= same < far


@pytest.fixture(scope="module")
def solution(tiny_library):
    rows = [SolutionNote.of(tiny_library, row, player, duration=0.5) for player, row in enumerate((0, 40))]
    names = tuple(note.instrument for note in rows)
    return Solution(tuple(rows), names, tiny_library, 0.5, "mel", 0.5)


EXPORTS = sorted(name for name in vars(Solution) if name.startswith("to_"))


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_writes_one_file_or_says_in_a_sentence_that_it_cannot(export, solution, tmp_path):
    path = tmp_path / "new" / f"one.{export[3:]}"
    assert getattr(solution, export)(path) == path
    assert path.stat().st_size > 100
    left = {
        file for file in path.parent.iterdir() if file.name != "one_stems"
    }  # the sounds that Reaper's project plays
    assert left == {path}, "nothing else is left behind"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file") as caught:
        getattr(solution, export)(tmp_path / "file" / "one")
    assert "\n" not in str(caught.value)
