"""One change at a time: the table grows step by step, and a finished step is not repeated."""

import pandas as pd
import pytest
import torch

from deeporch import steps as module
from deeporch.constantq import ConstantQ
from deeporch.mixtures import Classes, split
from deeporch.steps import STEPS, Step, run_steps
from deeporch.train_recognizer import train

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")
SMALL = {"features": ConstantQ(frames=8), "network": {"channels": 8, "hidden": 8, "width": 16, "blocks": 1}}


def test_every_step_has_its_own_name_and_changes_one_thing():
    assert len({step.name for step in STEPS}) == len(STEPS) > 15
    assert STEPS[0] == Step(STEPS[0].name)
    assert all(bool(step.options) != step.averaged for step in STEPS[1:])


def test_steps_are_scored_on_every_split_and_not_repeated(cache, tiny_library, tmp_path, monkeypatch):
    monkeypatch.setitem(train.__kwdefaults__, "size", 128)
    first = [Step("small", SMALL), Step("averaged", SMALL, averaged=True)]
    options = {"epochs": 2, "test": 30, "device": "cpu", "folder": tmp_path}
    path = run_steps(tiny_library, tiny_library, steps=first[:1], **options)
    assert set(pd.read_csv(path)["setting"]) == {"small"}
    taken = []
    monkeypatch.setattr(module, "take_step", lambda step, *a, **k: taken.append(step.name) or take(step, *a, **k))
    run_steps(tiny_library, tiny_library, steps=first, **options)
    assert taken == ["averaged"]
    table = pd.read_csv(path).query("quantity == 'top_n_recall'").set_index(["setting", "split"])
    assert set(table.index) == {(s, x) for s in ("small", "averaged") for x in ("mixture", "recording", "other takes")}
    assert (table["n"] == 5).all()
    assert (table["value"].between(0, 1)).all()


def test_averaged_weights_are_their_moving_average(cache, tiny_library, monkeypatch):
    monkeypatch.setitem(train.__kwdefaults__, "size", 64)  # so short that the callback is called once an epoch
    pools = split(tiny_library, Classes(tiny_library), by="recording")
    biases = []
    watched = Step("watched", SMALL | {"callback": lambda state: biases.append(state["model"].bias.detach().clone())})
    take(watched, tiny_library, pools, epochs=4, device="cpu")
    averaged, _ = take(Step("averaged", SMALL, averaged=True), tiny_library, pools, epochs=4, device="cpu")
    expected = biases[0]
    for bias in biases[1:]:
        expected = 0.98 * expected + 0.02 * bias
    assert (biases[3] - biases[0]).abs().max() > 1e-3
    torch.testing.assert_close(averaged.bias.detach(), expected, rtol=1e-5, atol=1e-6)


def test_an_unknown_step_is_named(capsys):
    assert module.main(["SpecAugmint"]) == 1
    assert "did you mean 'SpecAugment'" in capsys.readouterr().err


take = module.take_step
