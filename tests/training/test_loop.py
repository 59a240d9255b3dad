import math
import time
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from tones import harmonic_tone
from torch import nn

from deeporch.features.cached import CachedFeatures
from deeporch.features.mel import Mel
from deeporch.metrics import score
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.mixtures.sampling import chance_recall
from deeporch.models.build import build
from deeporch.models.checkpoints import load_checkpoint, read_card, read_tensors
from deeporch.notes.library import NoteLibrary
from deeporch.training.loop import History, Training, _Fit, fit
from deeporch.training.losses import add_l1, compute_loss, split_weights
from deeporch.training.prediction import evaluate
from deeporch.util.environment import pick_device

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Mel(n_mels=32, frames=24, scale="log")
SIZES = {"hidden": 32, "channels": (4, 8), "last": 8}


@pytest.fixture(scope="module")
def classes(tiny_library):
    return Classes(tiny_library, by="instrument")


@pytest.fixture(scope="module")
def train(tiny_library, classes):
    return Mixtures(tiny_library, classes, n=2, size=65, seed=0, samples=SMALL.samples)  # one more than whole batches


@pytest.fixture(scope="module")
def valid(tiny_library, classes):
    return Mixtures(tiny_library, classes, n=2, size=20, seed=1, samples=SMALL.samples)


def network(classes, seed=0, **sizes):
    return build("cnn", classes, features=SMALL, seed=seed, **{**SIZES, **sizes})


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_weights(a, b):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def comparable(history):
    return history.table.drop(columns=["seconds", "mixtures_per_second"])


# Losses and penalties


def test_losses_equal_their_formulas():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, generator=generator)
    target = torch.zeros(4, 7)
    for row, notes in zip(target, ([0, 2], [1, 6], [3, 4], [5, 0]), strict=True):
        row[notes] = 1
    softmax = bce = focal = asymmetric = 0.0
    for outputs, wanted in zip(logits.tolist(), target.tolist(), strict=True):
        total = sum(math.exp(x) for x in outputs)
        softmax -= sum(y / 2 * math.log(math.exp(x) / total) for x, y in zip(outputs, wanted, strict=True)) / 4
        for x, y in zip(outputs, wanted, strict=True):
            p = 1 / (1 + math.exp(-x))
            bce -= (y * math.log(p) + (1 - y) * math.log(1 - p)) / (4 * 7)
            focal -= (y * (1 - p) ** 2 * math.log(p) + (1 - y) * p**2 * math.log(1 - p)) / 4
            absent = max(p - 0.05, 0)
            asymmetric -= (y * math.log(p) + (1 - y) * absent**4 * math.log(1 - absent)) / 4
    assert compute_loss(logits, target).item() == pytest.approx(softmax, rel=1e-5)
    assert compute_loss(logits, target, "bce").item() == pytest.approx(bce, rel=1e-5)
    assert compute_loss(logits, target, "focal").item() == pytest.approx(focal, rel=1e-5)
    assert compute_loss(logits, target, "asymmetric").item() == pytest.approx(asymmetric, rel=1e-5)


def test_losses_of_one_note_of_none_and_of_sure_answers():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    total = sum(math.exp(x) for x in logits[0].tolist())
    alone = compute_loss(logits, torch.tensor([[0.0, 1.0, 0.0]])).item()
    assert alone == pytest.approx(-math.log(math.exp(-1) / total), rel=1e-5)
    assert compute_loss(logits, torch.zeros(1, 3)).item() == 0
    sure = compute_loss(torch.tensor([[100.0, -100.0]]), torch.tensor([[0.0, 0.0]]), "asymmetric").item()
    assert sure == pytest.approx(-(0.95**4) * math.log(0.05), rel=1e-5)


def test_penalties_are_for_kernels_and_matrices_only(classes):
    model = network(classes)
    acted, spared = split_weights(model)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in acted} == {
        "stages.0.0.weight", "stages.1.0.weight", "stages.2.0.weight", "head.1.weight", "head.3.weight"
    }  # fmt: skip
    assert len(acted) + len(spared) == len(names)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    add_l1(model, 0.5)
    for p in acted:
        assert torch.equal(p.grad, 1 + 0.5 * p.detach().sign())
    for p in spared:
        assert torch.equal(p.grad, torch.ones_like(p))


@pytest.mark.parametrize("penalty", [{}, {"l1": 0.01}, {"l2": 0.3}, {"l1": 0.02, "l2": 0.05}], ids=str)
@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_one_epoch_equals_adam_on_the_loss_with_its_penalty(tiny_library, classes, penalty, loss):
    """Three steps by hand: plain torch.optim.Adam, and the penalty written out as a part of the loss."""
    data = Mixtures(tiny_library, classes, n=2, size=24, seed=3, samples=SMALL.samples)
    fitted, by_hand = network(classes, dropout=0.0), network(classes, dropout=0.0).train()
    history = fit(fitted, data, epochs=1, batch_size=8, lr=0.01, loss=loss, seed=5, device="cpu", amp=False, **penalty)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(5 * 1_000_003 + 1))
    losses = []
    for which in order.split(8):
        logits = by_hand(SMALL.of(data, which))
        target = data.targets(which)
        if loss == "softmax":
            plain = -(target / 2 * logits.log_softmax(1)).sum(1).mean()
        else:
            plain = nn.functional.softplus(torch.where(target > 0, -logits, logits)).mean()
        kernels = [p for p in by_hand.parameters() if p.ndim > 1]
        extra = sum(penalty.get("l1", 0) * w.abs().sum() + penalty.get("l2", 0) / 2 * w.square().sum() for w in kernels)
        optimizer.zero_grad()
        (plain + extra).backward()
        optimizer.step()
        losses.append(plain.item())
    assert history.table["train_loss"][0] == pytest.approx(np.mean(losses), rel=1e-4)
    start = network(classes, dropout=0.0).state_dict()
    for (name, ours), theirs in zip(fitted.named_parameters(), by_hand.parameters(), strict=True):
        if name.startswith("stages") and name.endswith("0.bias"):
            continue  # before batch-norm: their gradient is rounding noise, which Adam blows up
        moved = (theirs - start[name]).abs().max().item()
        assert moved > 0.005, name
        assert (ours - theirs).abs().max().item() < 0.02 * moved, name


def test_one_epoch_equals_adamw_with_clipping_a_warm_up_and_the_mean_of_its_weights(tiny_library, classes):
    """Eight steps by hand: the weights end as the mean that is taken after the fourth and the eighth."""
    data = Mixtures(tiny_library, classes, n=2, size=64, seed=3, samples=SMALL.samples)
    fitted, by_hand = network(classes, dropout=0.0), network(classes, dropout=0.0).train()
    options = {"decay": 0.3, "beta2": 0.98, "clip": 0.2, "warm_up": 5, "mean": 0.7}
    fit(fitted, data, epochs=1, batch_size=8, lr=0.01, seed=5, device="cpu", amp=False, **options)
    kernels, others = split_weights(by_hand)
    groups = [{"params": kernels, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98))
    start, mean, clipped = weights(by_hand), weights(by_hand), 0
    order = torch.randperm(64, generator=torch.Generator().manual_seed(5 * 1_000_003 + 1))
    for step, which in enumerate(order.split(8), 1):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * min(1, step / 5)
        loss = -(data.targets(which) / 2 * by_hand(SMALL.of(data, which)).log_softmax(1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = sum(p.grad.square().sum() for p in by_hand.parameters()).sqrt().item()
        for p in by_hand.parameters():
            p.grad *= min(1, 0.2 / norm)
        clipped += norm > 0.2
        optimizer.step()
        if step % 4 == 0:
            keep = min(0.7, (1 + step) / (10 + step)) ** 4
            mean = {name: keep * mean[name] + (1 - keep) * value for name, value in by_hand.state_dict().items()}
    assert clipped > 0
    for name, ours in fitted.named_parameters():
        if name.startswith("stages") and name.endswith("0.bias"):
            continue  # before batch-norm: their gradient is rounding noise, which Adam blows up
        moved = (mean[name] - start[name]).abs().max().item()
        assert moved > 0.005, name
        assert (ours - mean[name]).abs().max().item() < 0.02 * moved, name
    with pytest.raises(ValueError, match="Give restore_best or mean, not both"):
        fit(fitted, data, mean=0.9, restore_best=True)


@pytest.mark.parametrize(("limit", "whole"), [(None, 12), (12.0, 12), (8.0, 8)])
def test_a_cosine_falls_to_zero_over_all_epochs_or_the_time_limit(classes, train, monkeypatch, limit, whole):
    """Four steps an epoch, of which each is said to take a second."""
    rates = []

    def note(self, done, set_lr=_Fit._set_lr):
        set_lr(self, done)
        rates.append(self.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(_Fit, "_set_lr", note)
    monkeypatch.setattr(_Fit, "_spent", lambda self: float(getattr(self, "steps", 0)))
    fit(network(classes), train, epochs=3, lr=0.01, schedule="cosine", time_limit=limit, device="cpu")
    assert rates == pytest.approx([0.005 * (1 + math.cos(math.pi * step / whole)) for step in range(1, whole + 1)])


def test_what_is_compiled_learns_from_whole_batches_only(tiny_library, classes, monkeypatch):
    sizes = []

    def compiled(network, dynamic):
        return lambda x: (sizes.append(len(x)), network(x))[1]

    monkeypatch.setattr(torch, "compile", compiled)
    data = Mixtures(tiny_library, classes, n=2, size=40, samples=SMALL.samples)
    fit(network(classes), data, epochs=1, compile=True, device="cpu")
    assert sizes == [16, 16], "and the plain network from the last eight"


def test_features_are_kept_in_full_precision_on_a_cpu(classes, train, valid, monkeypatch):
    monkeypatch.setattr("deeporch.models.cnn.ConvNet.gains_by_bfloat16", lambda *_: True)
    with patch("deeporch.training.loop.CachedFeatures", wraps=CachedFeatures) as made:
        fit(network(classes), train, valid, epochs=1, device="cpu")
    assert [call.kwargs["dtype"] for call in made.call_args_list] == [torch.float32] * 2


# Learning


def test_a_network_overfits_64_mixtures(tiny_library):
    classes = Classes(tiny_library, by="note")
    mel = Mel(n_mels=48, frames=24, scale="log")
    data = Mixtures(tiny_library, classes, n=2, size=64, samples=mel.samples)
    model = build("cnn", classes, features=mel, channels=(8, 16), last=16, hidden=128, dropout=0.0)
    began = time.process_time()
    history = fit(model, data, data, epochs=60, lr=3e-3, device="cpu", callback=learned)
    scores = evaluate(model, data, device="cpu")
    assert scores.top_n_recall == 1.0
    assert scores.exact_match == 1.0
    assert history.table["valid_recall"].iloc[-1] == 1.0
    assert history.table["train_loss"].iloc[-1] < 0.5 * history.table["train_loss"][0]
    assert time.process_time() - began < 60, "the processor's seconds: others run beside"


def learned(state):
    """Stop once two validations in a row found every note."""
    return state["seen"] == state["size"] and [row["valid_recall"] for row in state["history"][-2:]] == [1.0, 1.0]


def test_what_is_learned_holds_for_other_mixtures(tiny_library, classes):
    options = {"n": 2, "samples": SMALL.samples, "pitch_range": ("C4", "D#4")}
    train = Mixtures(tiny_library, classes, size=400, **options)
    test = Mixtures(tiny_library, classes, size=200, seed=1, exclude=train, **options)
    model = network(classes, channels=(8, 16), last=16, dropout=0.0)
    before = evaluate(model, test, device="cpu").top_n_recall
    fit(model, train, epochs=12, lr=3e-3, device="cpu")
    after = evaluate(model, test, device="cpu").top_n_recall
    chance = chance_recall(2, 6)
    assert before < 1.5 * chance
    assert after > 2 * chance


# History, checkpoints, resuming


def test_history_and_files(tiny_library, classes, train, valid, tmp_path):
    model = network(classes)
    began = time.perf_counter()
    history = fit(model, train, valid, epochs=5, validate_every=2, folder=tmp_path / "run", device="cpu", lr=3e-3)
    table = history.table
    assert 0 < history.seconds < time.perf_counter() - began
    assert table["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert table["valid_loss"].notna().tolist() == [False, True, False, True, True], "each second and the last"
    assert table["seconds"].is_monotonic_increasing
    assert (table["mixtures_per_second"] > 0).all()
    assert history.epochs == 5
    assert history.seconds == table["seconds"].iloc[-1]
    assert history.device == "cpu"
    assert history.stopped == ""
    assert not model.training
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"last.safetensors", "last.json", "best.safetensors", "best.json", "history.csv"}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "run" / "history.csv"), table)
    card = read_card(tmp_path / "run" / "last.safetensors")
    assert card["training"]["lr"] == 3e-3
    assert len(card["history"]) == 5
    assert {"torch", "git", "device"} <= card["environment"].keys()
    assert_same_weights(load_checkpoint(tmp_path / "run" / "last.safetensors"), model)
    scores = evaluate(model, valid, device="cpu")
    assert scores.loss == pytest.approx(table["valid_loss"].iloc[-1], rel=1e-5)
    assert scores.top_n_recall == table["valid_recall"].iloc[-1]
    assert scores.exact_match == pytest.approx(table["valid_exact"].iloc[-1])
    assert scores.exact_match != 0.5, "right and wrong are told apart"
    best = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert evaluate(best, valid, device="cpu").loss == pytest.approx(table["valid_loss"].min(), rel=1e-5)


def test_bce_is_validated_with_bce(classes, train, valid):
    model = network(classes)
    history = fit(model, train, valid, epochs=1, loss="bce", device="cpu")
    with torch.no_grad():
        logits = model(SMALL.of(valid, range(20)))
    expected = nn.functional.binary_cross_entropy_with_logits(logits, valid.targets()).item()
    assert history.table["valid_loss"][0] == pytest.approx(expected, rel=1e-4)


def test_evaluate_equals_score(tiny_library, classes, valid):
    model = network(classes).eval()
    with torch.no_grad():
        expected = score(model(SMALL.of(valid, range(20))), valid.targets(), classes)
    found = evaluate(model, valid, device="cpu", batch_size=7)
    assert found.top_n_recall == expected.top_n_recall
    assert found.k_of_n == expected.k_of_n
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.per_instrument.equals(expected.per_instrument)
    assert found.seconds > 0


OPTIONS = {"lr": 3e-3, "l2": 1e-3, "l1": 1e-5, "seed": 4, "device": "cpu"}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_resuming_gives_the_history_of_an_uninterrupted_run(classes, train, valid, tmp_path, schedule):
    options = {**OPTIONS, "epochs": 6, "schedule": schedule}
    whole = network(classes)
    expected = fit(whole, train, valid, folder=tmp_path / "whole", **options)
    stop = lambda state: state["epoch"] == 3 and state["seen"] == state["size"]  # noqa: E731
    half = fit(network(classes), train, valid, folder=tmp_path / "halved", callback=stop, **options)
    assert half.epochs == 2, "the epoch that was broken off is repeated"
    assert half.stopped == "by the callback"
    resumed = network(classes, seed=99)  # its weights come from the checkpoint
    torch.manual_seed(123)
    found = fit(resumed, train, valid, folder=tmp_path / "halved", **options)
    pd.testing.assert_frame_equal(comparable(found), comparable(expected), check_exact=True)
    assert_same_weights(resumed, whole)
    one, two = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "halved"))
    assert all(torch.equal(one[name], two[name]) for name in one), "Adam's memory is the same, too"
    assert found.table["seconds"].is_monotonic_increasing
    finished = fit(network(classes), train, valid, folder=tmp_path / "halved", **options)
    pd.testing.assert_frame_equal(finished.table, found.table)


def test_more_epochs_go_on_where_the_last_run_ended(classes, train, tmp_path):
    fit(network(classes), train, folder=tmp_path, epochs=2, **OPTIONS)
    longer = network(classes)
    found = fit(longer, train, folder=tmp_path, epochs=4, **OPTIONS)
    whole = network(classes)
    expected = fit(whole, train, epochs=4, **OPTIONS)
    pd.testing.assert_frame_equal(comparable(found), comparable(expected), check_exact=True)
    assert_same_weights(longer, whole)


def test_another_training_in_the_folder(tiny_library, classes, train, tmp_path):
    fit(network(classes), train, folder=tmp_path, epochs=1, **OPTIONS)
    with pytest.raises(ValueError, match=r"holds another training \(lr is 0.003 there, 0.01 here\): choose another"):
        fit(network(classes), train, folder=tmp_path, epochs=2, **{**OPTIONS, "lr": 0.01})
    others = Mixtures(tiny_library, classes, n=5, size=64, seed=9)
    with pytest.raises(ValueError, match=r"training mixtures is 'Mixtures.* there, 'Mixtures\(64 of 5 notes.* here"):
        fit(network(classes), others, folder=tmp_path, epochs=1, **OPTIONS)
    with pytest.raises(ValueError, match=r"augmentation is '' there, '.*' here"):
        fit(network(classes), train, folder=tmp_path, epochs=2, augment=lambda x, generator: x, **OPTIONS)
    (tmp_path / "history.csv").unlink()  # killed after the checkpoint, before the table
    assert len(fit(network(classes), train, folder=tmp_path, epochs=1, **OPTIONS).table) == 1
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1
    with pytest.raises(ValueError, match="holds another network: its config is"):
        fit(network(classes, hidden=33), train, folder=tmp_path, epochs=2, **OPTIONS)
    fine = Classes(tiny_library, by="note")
    data = Mixtures(tiny_library, fine, n=2, size=20, samples=SMALL.samples)
    with pytest.raises(
        ValueError, match=r"training mixtures is .* 6 classes by instrument.* there, .* 72 classes by note"
    ):
        fit(network(fine), data, folder=tmp_path, epochs=2, **OPTIONS)


# Determinism


def test_the_same_seed_trains_the_same_network(classes, train, valid):
    runs = []
    for noise, seed in ((1, 4), (2, 4), (3, 5)):
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002
        before = torch.get_rng_state()
        model = network(classes)
        history = fit(model, train, valid, epochs=2, **{**OPTIONS, "seed": seed})
        assert torch.equal(before, torch.get_rng_state()), "the global generator is left alone"
        runs.append((model, comparable(history)))
    pd.testing.assert_frame_equal(runs[0][1], runs[1][1], check_exact=True)
    assert_same_weights(runs[0][0], runs[1][0])
    assert not torch.equal(runs[0][0].head[1].weight, runs[2][0].head[1].weight), "another seed, another order"


def test_keeping_features_changes_nothing(classes, train):
    kept, fresh = network(classes), network(classes)
    a = fit(kept, train, epochs=2, **OPTIONS)
    b = fit(fresh, train, epochs=2, cache_gb=0, **OPTIONS)
    pd.testing.assert_frame_equal(comparable(a), comparable(b), rtol=1e-4)


def test_fresh_mixtures_each_epoch(tiny_library, classes):
    seen = []

    def make(epoch):
        seen.append(epoch)
        return Mixtures(tiny_library, classes, n=2, size=32, seed=100 + epoch, samples=SMALL.samples)

    by_epoch, fixed = network(classes), network(classes)
    first = fit(by_epoch, make, epochs=3, **OPTIONS)
    assert seen[-3:] == [1, 2, 3]
    second = fit(fixed, make(1), epochs=3, **OPTIONS)
    assert comparable(first)["train_loss"][0] == comparable(second)["train_loss"][0]
    assert comparable(first)["train_loss"][1] != comparable(second)["train_loss"][1]


def test_augment_sees_every_batch_and_the_seeded_generator(classes, train):
    seen = []

    def augment(features, generator):
        seen.append((len(features), torch.rand((), generator=generator).item()))
        return torch.zeros_like(features)

    fit(network(classes), train, epochs=1, augment=augment, **OPTIONS)
    first, seen = seen, []
    history = fit(network(classes), train, epochs=1, augment=augment, **OPTIONS)
    assert seen == first
    assert [size for size, _ in seen] == [16] * 4, "a single mixture is left out: batch-norm cannot learn from it"
    assert len({value for _, value in seen}) == 4
    assert history.table["train_loss"][0] == pytest.approx(math.log(6), abs=0.3), "of silence nothing can be learned"


@pytest.mark.parametrize(("size", "batch_size", "sizes"), [(5, 1, [1] * 5), (1, 16, [1]), (6, 4, [4, 2]), (5, 4, [4])])
def test_small_sets_and_batches_are_learned_from(tiny_library, classes, size, batch_size, sizes):
    seen = []
    data = Mixtures(tiny_library, classes, n=2, size=size, samples=SMALL.samples)
    model = network(classes)
    before = weights(model)
    options = {**OPTIONS, "batch_size": batch_size, "augment": lambda x, _: (seen.append(len(x)), x)[1]}
    history = fit(model, data, epochs=1, **options)
    assert seen == sizes
    assert history.table["train_loss"][0] > 0.5
    assert not torch.equal(before["head.1.weight"], model.state_dict()["head.1.weight"])


# Stopping


def test_patience(classes, train, valid, tmp_path):
    options = {"epochs": 50, "lr": 1e-12, "device": "cpu", "patience": 2, "folder": tmp_path}
    steps = iter([1.0, 0.5, 0.5, 0.7, 0.1])  # the second validation is the best: the third is as good, not better

    with patch("deeporch.training.loop.compute_loss", wraps=compute_loss) as loss:
        loss.side_effect = lambda logits, target, kind: (
            compute_loss(logits, target, kind) if logits.requires_grad else torch.tensor(next(steps))
        )
        history = fit(network(classes), train, valid, **options)
    assert history.table["valid_loss"].tolist() == pytest.approx([1.0, 0.5, 0.5, 0.7])
    assert history.stopped == "no better validation loss for 2 validations"
    assert len(read_card(tmp_path / "best.safetensors")["history"]) == 2
    again = fit(network(classes), train, valid, **options)
    assert again.epochs == 4, "what has stopped stays stopped"
    assert again.stopped == history.stopped


def test_time_limit(classes, train, tmp_path):
    history = fit(network(classes), train, epochs=500, time_limit=0.3, folder=tmp_path, device="cpu")
    assert 1 <= history.epochs < 500
    assert history.seconds >= 0.3
    assert history.table["seconds"].iloc[:-1].max() < 0.3 or history.epochs == 1
    assert history.stopped == "time limit of 0.3 s"
    again = fit(network(classes), train, epochs=500, time_limit=0.3, folder=tmp_path, device="cpu")
    assert (again.epochs, again.stopped) == (history.epochs, history.stopped), "its time is up"
    longer = fit(network(classes), train, epochs=500, time_limit=history.seconds + 0.1, folder=tmp_path, device="cpu")
    assert longer.epochs > history.epochs


def test_time_limit_ends_an_epoch(classes, train, monkeypatch):
    """It does not wait for the epoch's end, at a learning rate of zero; what was trained of the epoch counts."""
    steps = []

    def slow(self, x, target, learn=_Fit._learn_batch):
        steps.append(len(x))
        time.sleep(0.3)
        return learn(self, x, target)

    monkeypatch.setattr(_Fit, "_learn_batch", slow)
    history = fit(network(classes), train, epochs=2, batch_size=8, time_limit=0.5, device="cpu")
    assert 1 <= len(steps) <= 2, "it looks at the clock a few times a second"
    assert history.table["share"].tolist() == [sum(steps) / 64], "of 65 mixtures a lone last one is not learned"
    assert history.epochs == round(sum(steps) / 64, 2) < 1
    assert history.stopped == "time limit of 0.5 s"


def test_callback(classes, train):
    states = []
    history = fit(network(classes), train, epochs=2, device="cpu", callback=lambda state: states.append(dict(state)))
    assert history.epochs == 2
    assert history.stopped == ""
    last = states[-1]
    assert {"epoch", "epochs", "seen", "size", "loss", "recall", "mixtures_per_second", "history"} <= last.keys()
    assert (last["epoch"], last["epochs"], last["seen"], last["size"]) == (2, 2, 64, 64)
    assert last["loss"] == pytest.approx(history.table["train_loss"][1])
    assert last["recall"] == pytest.approx(history.table["train_recall"][1])
    assert last["mixtures_per_second"] > history.table["mixtures_per_second"][1] > 0, "a moment before the epoch's end"
    stopped = fit(network(classes), train, epochs=2, device="cpu", callback=lambda state: True)
    assert stopped.epochs == 0
    assert stopped.seconds == 0
    assert stopped.stopped == "by the callback"


def test_a_loss_that_is_not_a_number_stops_with_a_sentence(tiny_library, classes, train, valid, tmp_path):
    poison = lambda epoch_from: lambda x, _: x * (math.nan if poison.batches(epoch_from) else 1)  # noqa: E731
    count = iter(range(1000))
    poison.batches = lambda epoch_from: next(count) >= 4 * (epoch_from - 1)
    sentence = r"The loss is nan in epoch 3 after \d+ of 64 mixtures \(lr 0.001\): lower the learning rate, or look for"
    with pytest.raises(FloatingPointError, match=sentence + rf".*last good epoch is in {tmp_path.name}/"):
        fit(network(classes), train, valid, epochs=9, folder=tmp_path, augment=poison(3), device="cpu")
    assert len(read_card(tmp_path / "last.safetensors")["history"]) == 2
    for tensor in read_tensors(tmp_path / "last.safetensors").values():
        assert tensor.float().isfinite().all()
    table = tiny_library.table.iloc[:40:2]
    broken = NoteLibrary.from_audio(table[["instrument", "pitch"]], [harmonic_tone(60, [1], 0.2)] * 20)
    broken.audio[:, 500] = math.inf
    data = Mixtures(broken, Classes(broken, by="note"), n=2, size=20, samples=SMALL.samples)
    with pytest.raises(FloatingPointError, match=r"in epoch 1 .* or look for notes that are not finite\.$"):
        fit(network(data.classes), data, epochs=2, device="cpu")


def test_a_validation_that_is_not_a_number_stops_too(tiny_library, classes, train, valid, tmp_path):
    model = network(classes)
    with torch.no_grad():
        model.stages[0][1].running_var.fill_(-1e6)  # batch-norm's statistics matter in evaluation only
    with pytest.raises(FloatingPointError, match=r"The loss is nan in the validation after epoch 1 .* not finite\.$"):
        fit(model, train, valid, epochs=1, folder=tmp_path, device="cpu")
    assert not (tmp_path / "last.safetensors").exists()


# Bad input


def test_one_sentence_for_each_mistake(tiny_library, classes, train):
    for options, sentence in (
        ({"epoch": 3}, "Unknown training option 'epoch': did you mean 'epochs'"),
        ({"loss": "crossentropy"}, "Unknown loss 'crossentropy'.*Known: softmax, bce"),
        ({"schedule": "cosin"}, "Unknown learning-rate schedule 'cosin': did you mean 'cosine'"),
        ({"epochs": 0}, "epochs must be at least 1, but is 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, but is 0"),
        ({"validate_every": 0}, "validate_every must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0, but is 0.0"),
        ({"lr": math.nan}, "lr must be above 0, but is nan"),
        ({"l1": -1.0}, "l1 is a penalty and must be 0 or more, but is -1.0"),
        ({"l2": -5e-3}, "l2 is a penalty and must be 0 or more, but is -0.005"),
        ({"l2": 1e-6, "decay": 0.1}, "Give l2 or decay, not both"),
        ({"mean": 1.0}, "mean and beta2 must lie in .* but are mean=1.0, beta2=0.999"),
        ({"clip": 0.0}, "clip above 0, but are .* clip=0.0"),
        ({"l2": math.nan}, "l2 is a penalty and must be 0 or more, but is nan"),
        ({"patience": 0}, "patience counts validations: it must be at least 1, but is 0"),
        ({"device": "gpu"}, "Unknown device 'gpu': use 'auto', 'cpu', 'cuda' or 'mps'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            fit(network(classes), train, **options)
    other = Mixtures(tiny_library, Classes(tiny_library, by="note"), n=2, size=20)
    with pytest.raises(ValueError, match="The classes differ: the network has 6 by instrument, the mixtures has 72"):
        fit(network(classes), other)
    with pytest.raises(ValueError, match="The classes differ"):
        fit(network(classes), train, other)
    with pytest.raises(ValueError, match="The classes differ"):
        evaluate(network(classes), other)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="Device 'cuda' was asked for, but PyTorch finds no GPU: use 'auto' or 'cpu'"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="Device 'cuda:1' was asked for"):
        pick_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("auto") == torch.device("cuda")


def test_defaults_are_the_studys():
    defaults = Training()
    assert (defaults.epochs, defaults.batch_size, defaults.lr, defaults.loss) == (200, 16, 1e-3, "softmax")


def test_an_empty_history():
    history = History(pd.DataFrame(), "cpu")
    assert (history.seconds, history.epochs) == (0.0, 0)
