"""The study's sets and its loop: equal to what a notebook would do by hand."""

import torch

import deeporch as do
from deeporch.mixtures.mixtures import Mixtures

SMALL = {"channels": (4, 4, 4), "last": 4, "hidden": 16}
OPTIONS = {"features": "logmel64", "epochs": 2, "batch_size": 16, "device": "cpu"}


def sets_of(mixtures):
    return {tuple(sorted(row)) for row in mixtures.indices.tolist()}


def test_sets_of_notes_hold_recordings_out(tiny_library):
    sets = do.study_sets(tiny_library, 3, by="note", mixtures=200, seed=5)
    assert (len(sets.train), [len(test) for test in sets.tests.values()]) == (200, [50, 50])
    assert list(sets.tests) == ["mixture", "recording"]
    trained = set(sets.train.indices.flatten().tolist())
    assert set(sets.tests["mixture"].indices.flatten().tolist()) <= set(sets.train.pool.tolist())
    assert not trained & set(sets.tests["recording"].indices.flatten().tolist())
    assert not sets_of(sets.train) & sets_of(sets.tests["mixture"])
    pools = do.split(tiny_library, sets.classes, by="recording", seed=5)
    by_hand = Mixtures(tiny_library, sets.classes, n=3, size=200, seed=5, pool=pools.train)
    assert torch.equal(sets.train.indices, by_hand.indices)
    assert sets.chance == 3 / len(sets.classes)


def test_sets_of_recordings_have_nothing_to_hold_out(tiny_library):
    sets = do.study_sets(tiny_library, by="recording", mixtures=100, tests=30)
    assert list(sets.tests) == ["mixture"]
    assert len(sets.tests["mixture"]) == 30
    assert len(sets.classes) == len(tiny_library)


def test_models_are_compared_as_by_hand(tiny_library):
    sets = do.study_sets(tiny_library, by="instrument", mixtures=64)
    results = do.Results("x", data="tiny", profile="quick", device="CPU")
    found = do.compare_models(results, {"a": ("cnn", SMALL)}, sets, seeds=(3, 4), errors=True, **OPTIONS)
    model = do.build("cnn", sets.classes, features="logmel64", seed=4, **SMALL)
    options = {name: value for name, value in OPTIONS.items() if name != "features"}
    history = do.fit(model, sets.train, sets.tests["recording"], seed=4, **options)
    expected = do.evaluate(model, sets.tests["mixture"], device="cpu")
    assert found["a"].scores["mixture"].top_n_recall == expected.top_n_recall
    assert found["a"].scores["mixture"].loss == expected.loss
    assert found["a"].history.table["train_loss"].tolist() == history.table["train_loss"].tolist()
    table = results.table
    runs = table[table["quantity"] == "top_n_recall"]
    assert list(zip(runs["seed"], runs["split"], strict=True)) == [(s, p) for s in (3, 4) for p in sets.tests]
    assert set(table[table["quantity"].str.startswith("curve")]["split"]) == {"recording"}
    assert set(table[table["quantity"] == "kind_of_error"]["seed"]) == {3}
    weights = table[table["quantity"] == "parameters"]["value"]
    assert set(weights) == {do.count_parameters(model)}


def test_validations_are_some_twenty_at_most(tiny_library):
    sets = do.study_sets(tiny_library, by="instrument", mixtures=16, tests=8)
    results = do.Results("x", data="tiny", profile="quick", device="CPU")
    options = OPTIONS | {"epochs": 45}
    found = do.compare_models(results, {"a": ("cnn", SMALL)}, sets, curves=False, **options)
    assert found["a"].history.table["valid_loss"].notna().sum() == 23
    assert not results.table["quantity"].str.startswith("curve").any()
