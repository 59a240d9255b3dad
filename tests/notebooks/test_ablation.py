"""One change at a time: the table grows step by step, and a finished step is not repeated."""

import pandas as pd
import pytest
import torch
from experiments import ablation
from experiments.ablation import (
    STEPS,
    Distilled,
    OverWindows,
    Step,
    run_steps,
    train_averaged,
    train_distilled,
    train_windows,
)

from deeporch.features.constantq import ConstantQ
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.splits import split
from deeporch.models.build import build
from deeporch.recognition.train import train

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")
SMALL = {"features": ConstantQ(frames=8), "network": {"channels": 8, "hidden": 8, "width": 16, "blocks": 1}}


def test_every_step_has_its_own_name_and_changes_one_thing():
    assert len({step.name for step in STEPS}) == len(STEPS) > 15
    assert STEPS[0] == Step(STEPS[0].name)
    assert all(bool(step.options) != (step.how is not train) for step in STEPS[1:])


def test_steps_are_scored_on_every_split_and_not_repeated(cache, tiny_library, tmp_path, monkeypatch):
    monkeypatch.setitem(train.__kwdefaults__, "size", 128)
    first = [Step("small", SMALL), Step("averaged", SMALL, train_averaged)]
    options = {"epochs": 2, "test": 30, "device": "cpu", "folder": tmp_path}
    path = run_steps(tiny_library, tiny_library, steps=first[:1], **options)
    assert set(pd.read_csv(path)["setting"]) == {"small"}
    taken = []
    monkeypatch.setattr(ablation, "take_step", lambda step, *a, **k: taken.append(step.name) or take(step, *a, **k))
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
    averaged, _ = take(Step("averaged", SMALL, train_averaged), tiny_library, pools, epochs=4, device="cpu")
    expected = biases[0]
    for bias in biases[1:]:
        expected = 0.98 * expected + 0.02 * bias
    assert (biases[3] - biases[0]).abs().max() > 1e-3
    torch.testing.assert_close(averaged.bias.detach(), expected, rtol=1e-5, atol=1e-6)


def test_windows_are_averaged_from_later_and_later_beginnings(cache, tiny_library, monkeypatch):
    monkeypatch.setitem(train.__kwdefaults__, "size", 64)
    pools = split(tiny_library, Classes(tiny_library), by="recording")
    longer = SMALL | {"features": ConstantQ(frames=16)}
    model, _ = take(Step("windows", longer, train_windows), tiny_library, pools, epochs=1, device="cpu")
    assert isinstance(model, OverWindows)
    x = torch.rand(2, *model.features.shape, generator=torch.Generator().manual_seed(0))
    expected = (model.inner(x) + model.inner(x[..., 4:]) + model.inner(x[..., 8:])) / 3
    torch.testing.assert_close(model(x), expected)
    assert (model(x) - model.inner(x)).abs().max() > 1e-4


def test_a_student_that_answers_as_its_teacher_pays_nothing_for_it(cache, tiny_library, monkeypatch):
    monkeypatch.setitem(train.__kwdefaults__, "size", 64)
    pools = split(tiny_library, Classes(tiny_library), by="recording")
    model, history = take(Step("taught", SMALL, train_distilled), tiny_library, pools, epochs=2, device="cpu")
    assert history.epochs == 2
    assert not isinstance(model, Distilled)
    x = torch.rand(3, *model.features.shape, generator=torch.Generator().manual_seed(0))
    target = torch.eye(len(model.classes))[:3]
    _, heads = model.with_auxiliary(x)
    alone = model.auxiliary_loss(heads, target)
    _, told = Distilled(model, model).with_auxiliary(x)
    assert Distilled(model, model).auxiliary_loss(told, target).item() == pytest.approx(alone.item(), abs=1e-6)
    other = build("pitchnet", model.classes, features=model.features, seed=1, **SMALL["network"])
    _, told = Distilled(model, other).with_auxiliary(x)
    apart = Distilled(model, other).auxiliary_loss(told, target) - alone
    p, q = other(x).softmax(1), model(x).softmax(1)  # the divergence by hand
    assert apart.item() == pytest.approx(0.5 * float((p * (p / q).log()).sum(1).mean()), rel=1e-4)


def test_few_notes_first_ends_with_all(cache, tiny_library, monkeypatch):
    seen = []
    keep = train.__globals__["Mixtures"]
    monkeypatch.setitem(train.__globals__, "Mixtures", lambda *a, **k: seen.append(k["n"]) or keep(*a, **k))
    monkeypatch.setitem(train.__kwdefaults__, "size", 64)
    pools = split(tiny_library, Classes(tiny_library), by="recording")
    options = SMALL | {"curriculum": 3, "n": (1, 4)}
    take(Step("few first", options), tiny_library, pools, epochs=4, device="cpu")
    assert seen[-4:] == [(1, 2), (1, 3), (1, 4), (1, 4)]


def test_an_unknown_step_is_named(capsys):
    assert ablation.main(["SpecAugmint"]) == 1
    assert "did you mean 'SpecAugment'" in capsys.readouterr().err


take = ablation.take_step
