"""The settings of the regularization experiment, the search, and early stopping that keeps the best weights."""

import math
from dataclasses import astuple

import pytest
import torch
from experiments.figures.tables import LABELS
from experiments.regularizers import (
    SETTINGS,
    Regularizer,
    fit_regularized,
    found,
    from_params,
    get_regularizers,
    search,
)

from deeporch.features.augment import SpecAugment
from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import build
from deeporch.training.loop import fit
from deeporch.training.prediction import evaluate

SMALL = Mel(n_mels=16, hop=2048, frames=16, scale="log")
OPTIONS = {"features": SMALL, "device": "cpu", "batch_size": 8, "seed": 1}


@pytest.fixture(scope="module")
def classes(tiny_library):
    return Classes(tiny_library, by="instrument")


@pytest.fixture(scope="module")
def mixtures(tiny_library, classes):
    """Return a function from a seed to 32 mixtures of three instruments."""
    return lambda seed: Mixtures(tiny_library, classes, n=3, size=32, seed=seed)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_studys_settings_are_the_studys():
    penalties = {name: (r.l1, r.l2) for name, r in SETTINGS.items() if r.l1 or r.l2}
    assert penalties == {"l2_5e-3": (0, 0.005), "l2_1e-6": (0, 1e-6), "l1_1e-2": (0.01, 0)}
    assert {name for name, r in SETTINGS.items() if r.dropout != 0.5} == {"none"}
    assert SETTINGS["none"].dropout == 0
    assert set(LABELS) == {*SETTINGS, "searched"}


def test_each_other_setting_differs_from_dropout_alone_in_one_thing():
    alone = astuple(SETTINGS["dropout"])[1:]
    for name in SETTINGS.keys() - {"dropout"}:
        assert sum(a != b for a, b in zip(alone, astuple(SETTINGS[name])[1:], strict=True)) == 1, name


def test_settings_are_chosen_by_name_in_the_order_given():
    assert list(get_regularizers("specaugment none")) == ["specaugment", "none"]
    assert get_regularizers(" all ") == SETTINGS


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            "none l2_1e-5",
            r"^Unknown regularizer 'l2_1e-5': did you mean 'l2_1e-6'.*\? Known: none, .*fresh\.$",
        ),
        ("", r"^No regularizer is named: choose some of none, dropout, .*, or 'all'\.$"),
    ],
)
def test_unknown_regularizers_are_refused_in_a_sentence(names, sentence):
    with pytest.raises(ValueError, match=sentence):
        get_regularizers(names)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"l2": -1e-6}, r"^l2 is a penalty and must be 0 or more, but is -1e-06\.$"),
        ({"l1": -0.01}, r"^l1 is a penalty and must be 0 or more, but is -0.01\.$"),
        ({"l2": math.nan}, r"^l2 is a penalty and must be 0 or more, but is nan\.$"),
        ({"dropout": 1.0}, r"^dropout must lie between 0 and 0.99, but is 1.0\.$"),
        ({"specaugment": 2}, r"^specaugment \(the widest mask, as a share\) must lie between 0 and 1, but is 2\.$"),
    ],
)
def test_values_out_of_range_are_refused_in_a_sentence(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Regularizer("bad", **values)


def test_each_setting_trains_as_fit_would_with_its_values(mixtures, classes):
    valid = mixtures(99)
    values = {"none": {}, "l2_5e-3": {"l2": 0.005}, "l1_1e-2": {"l1": 0.01}, "specaugment": {"augment": SpecAugment()}}
    for name, options in values.items():
        ours, history = fit_regularized(SETTINGS[name], mixtures, valid, epochs=2, **OPTIONS)
        theirs = build("cnn", classes, features=SMALL, seed=1, dropout=0 if name == "none" else 0.5)
        expected = fit(theirs, mixtures(1), valid, epochs=2, seed=1, device="cpu", batch_size=8, **options)
        torch.testing.assert_close(weights(ours), weights(theirs), rtol=0, atol=0)
        assert history.table["valid_loss"].tolist() == expected.table["valid_loss"].tolist()


def test_only_fresh_asks_for_another_epochs_mixtures(mixtures):
    asked = []

    def train(epoch):
        asked.append(epoch)
        return mixtures(epoch)

    fit_regularized(SETTINGS["dropout"], train, mixtures(99), epochs=3, **OPTIONS)
    assert set(asked) == {1}
    fit_regularized(SETTINGS["fresh"], train, mixtures(99), epochs=3, **OPTIONS)
    assert set(asked) == {1, 2, 3}


def test_early_stopping_ends_with_the_weights_of_the_best_validation(mixtures):
    """A learning rate this high makes the validation loss jump about, so that the last epoch is not the best."""
    valid = mixtures(99)
    model, history = fit_regularized(
        Regularizer("early", dropout=0, patience=2), mixtures, valid, epochs=30, lr=0.03, **OPTIONS
    )
    losses = history.table["valid_loss"]
    assert history.stopped == "no better validation loss for 2 validations"
    assert history.epochs == losses.idxmin() + 1 + 2 < 30
    assert losses.iloc[-1] > losses.min() + 1e-4
    assert evaluate(model, valid, device="cpu").loss == pytest.approx(losses.min(), abs=1e-5)


def test_the_best_weights_survive_an_interruption(mixtures, classes, tmp_path):
    def train(epochs, folder):
        model = build("cnn", classes, features=SMALL, seed=1, dropout=0)
        options = {"epochs": epochs, "lr": 0.03, "batch_size": 8, "device": "cpu"}
        return model, fit(model, mixtures(1), mixtures(99), folder=folder, restore_best=True, **options)

    whole, history = train(8, tmp_path / "whole")
    best = history.table["valid_loss"].idxmin() + 1
    assert best < 8
    train(best, tmp_path / "parts")
    resumed, _ = train(8, tmp_path / "parts")
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)
    without, _ = train(best, tmp_path / "best")
    torch.testing.assert_close(weights(without), weights(whole), rtol=0, atol=0)


def test_a_search_returns_a_setting_within_its_ranges_and_the_loss_of_its_training(mixtures):
    valid = mixtures(99)
    study = search(3, mixtures, valid, epochs=2, **OPTIONS)
    assert len(study.trials) == 3
    for trial in study.trials:
        assert 1e-8 <= trial.params["l2"] <= 1e-4
        assert trial.params["dropout"] in [pytest.approx(i / 10) for i in range(9)]
        assert 0 <= trial.params["specaugment"] <= 0.3
    best = found(study)["searched"]
    assert best.label == LABELS["searched"]
    _, history = fit_regularized(best, mixtures, valid, epochs=2, **OPTIONS)
    assert history.table["valid_loss"].iloc[-1] == min(trial.value for trial in study.trials)
    assert found(search(0, mixtures, valid, epochs=2, **OPTIONS)) == {}
    labels = {r.name for r in (from_params(trial.params) for trial in study.trials)}
    assert len(labels) == 3


def test_several_sets_can_be_excluded(tiny_library):
    """Of the 15 pairs of six recordings, three sets of 5 share none, and nothing is left for a fourth."""
    notes = tiny_library.select(pitch_range=("C4", "C4"), dynamics="mf")
    classes = Classes(notes, by="instrument")
    sets = []
    for seed in range(3):
        sets.append(Mixtures(notes, classes, n=2, size=5, seed=seed, exclude=sets))
    pairs = {frozenset(row) for mixtures in sets for row in mixtures.indices.tolist()}
    assert len(pairs) == 15
    with pytest.raises(ValueError, match=r"^Only 0 distinct mixtures .* beside the excluded ones, but 1 were"):
        Mixtures(notes, classes, n=2, size=1, exclude=sets)
