"""Searches by Optuna: resumed, shared by workers, without hopeless trials, and refused in one sentence."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from experiments.tuning import add_trials, completed, draw, pitchnet, search

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.results import Results
from deeporch.training.loop import History

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"epochs": 3}


def parabola(trial, callback):
    """Stands for a training of three epochs whose loss falls to (x - 1)², tells after each epoch as `fit` does."""
    x = trial.suggest_float("x", -3, 3)
    rows = []
    for epoch in (1, 2, 3):
        callback({"history": rows})
        loss = (x - 1) ** 2 + 3 - epoch
        rows.append({"epoch": epoch, "valid_loss": loss, "valid_recall": 0.5, "valid_exact": 0.1, "seconds": epoch})
    return History(pd.DataFrame(rows), "cpu")


def drawn(study):
    return [trial.params["x"] for trial in study.trials]


def test_a_search_that_is_resumed_is_the_search_that_was_not_interrupted(tmp_path):
    whole = search(parabola, 8, seed=3, about=ABOUT)
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    assert drawn(search(parabola, 5, storage=storage, seed=3, about=ABOUT)) == drawn(whole)[:5]
    assert drawn(search(parabola, 8, storage=storage, seed=3, about=ABOUT)) == drawn(whole)
    assert drawn(search(parabola, 2, storage=storage, seed=3, about=ABOUT)) == drawn(whole), "nothing is left to do"
    assert len(set(drawn(whole))) == 8
    assert drawn(search(parabola, 2, seed=4, about=ABOUT)) != drawn(whole)[:2]


def test_the_best_comes_first_and_hopeless_trials_are_given_up():
    study = search(parabola, 25, seed=0, about=ABOUT)
    best = completed(study)
    assert [t.value for t in best] == sorted(t.value for t in best)
    assert best[0].value == pytest.approx((best[0].params["x"] - 1) ** 2)
    assert best[0].value < 0.05
    assert next(axis.get_xlabel() for axis in draw(study).axes) == "x"
    pruned = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert pruned
    for trial in pruned:  # each was above the median, at its epoch, of those that had been trained to their end
        epoch, loss = max(trial.intermediate_values.items())
        others = [t.intermediate_values[epoch] for t in best if t.number < trial.number]
        assert loss > np.median(others)
        assert len(others) >= 4


def test_two_workers_share_one_storage_and_never_draw_the_same(tmp_path):
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    search(parabola, 0, storage=storage, about=ABOUT)
    code = "import sys; sys.path[:0] = ['notebooks', 'tests/notebooks']; import test_tuning as t; "
    code += f"t.search(t.parabola, 12, storage={storage!r}, about=t.ABOUT)"
    workers = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [worker.wait(timeout=600) for worker in workers] == [0, 0]
    study = search(parabola, 0, storage=storage, about=ABOUT)
    assert 12 <= len(study.trials) <= 13
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    assert len(set(drawn(study))) == len(study.trials)


def test_bad_storage_and_another_search_are_one_sentence(tmp_path):
    for storage in ("sqlite:////nowhere/at/all.db", "search.db"):
        with pytest.raises(ValueError, match=r"^The storage '.*' cannot be used \(.*\): try sqlite:///search\.db\.$"):
            search(parabola, 1, storage=storage)
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    search(parabola, 1, storage=storage, about=ABOUT)
    with pytest.raises(ValueError, match=r"has another search 'search' \(epochs is 3 there, 4 here\): choose another"):
        search(parabola, 2, storage=storage, about={"epochs": 4})


def test_trials_become_rows_of_the_results(tiny_library):
    valid = Mixtures(tiny_library, Classes(tiny_library, by="instrument"), n=2, size=10)
    study = search(parabola, 3, about=ABOUT)
    results = Results("test", data="tiny", profile="quick", device="cpu")
    add_trials(results, study, valid, lambda params: f"x={params['x']:.2f}", model="cnn", seed=0)
    losses = results.table[results.table["quantity"] == "loss"]
    assert losses["value"].tolist() == [trial.value for trial in completed(study)]
    assert set(losses["split"]) == {"validation"}
    assert set(losses["epochs"]) == {3}
    assert losses["setting"].iloc[0] == f"x={study.best_params['x']:.2f}"


def test_pitchnet_is_searched_too(tiny_library):
    classes = Classes(tiny_library)
    sets = [Mixtures(tiny_library, classes, n=2, size=size, seed=size) for size in (32, 16)]
    study = search(pitchnet(lambda epoch: sets[0], sets[1], epochs=1, device="cpu"), 2, about={"epochs": 1})
    assert set(study.best_params) == {"width", "blocks", "lr", "l2"}
    assert study.best_value == min(trial.value for trial in study.trials)
