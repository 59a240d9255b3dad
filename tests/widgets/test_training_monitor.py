"""TrainingMonitor: live curves, stop, resume as if nothing had happened, and tqdm where there is no page."""

import time
from functools import partial

import pandas as pd
import pytest
import torch

import deeporch as do
from deeporch.features.mel import Mel
from deeporch.training import loop
from deeporch.widgets import training_monitor
from deeporch.widgets.training_monitor import TrainingMonitor, seconds_left

EXACT = ["epoch", "train_loss", "train_recall", "valid_loss", "valid_recall"]
OPTIONS = {"epochs": 4, "batch_size": 8, "device": "cpu", "lr": 3e-3}


@pytest.fixture(scope="module")
def data(tiny_library):
    classes = do.Classes(tiny_library, by="instrument")
    return [do.Mixtures(tiny_library, classes, n=2, size=size, seed=size) for size in (192, 32)]


@pytest.fixture
def page(monkeypatch):
    """Pretend that there is a page."""
    monkeypatch.setattr(training_monitor, "has_page", lambda: True)


def network(data):
    torch.manual_seed(0)
    return do.build("cnn", data[0].classes, features=Mel(n_mels=16, hop=2048, frames=16, scale="log"), hidden=16)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_stopped_and_resumed_it_has_the_history_of_an_uninterrupted_training(data, page, tmp_path):
    expected = do.fit(network(data), *data, folder=tmp_path / "whole", **OPTIONS)
    monitor = TrainingMonitor(network(data), *data, folder=tmp_path / "mine", **OPTIONS)
    monitor.start()
    until(lambda: monitor.latest.get("epoch", 0) >= 2)
    monitor.stop()
    assert monitor.wait(60)
    done = monitor.history.epochs
    assert monitor.status == "stopped"
    assert 1 <= done < 4
    assert monitor.message.text == f"Stopped after {done} whole epoch{'s' * (done > 1)}: Resume goes on from there."
    assert monitor._start.description == "Resume"
    monitor.start()
    assert monitor.wait(60)
    assert monitor.status == "done"
    pd.testing.assert_frame_equal(monitor.table[EXACT], expected.table[EXACT], check_exact=True)
    assert "Done: 4 epochs" in monitor.message.text


def test_stopped_in_the_first_epoch_it_begins_anew(data, page):
    expected = do.fit(network(data), *data, **OPTIONS)
    monitor = TrainingMonitor(network(data), *data, **OPTIONS)
    monitor._tell = lambda state: True
    monitor.start()
    assert monitor.wait(60)
    assert monitor.history.epochs == 0
    del monitor._tell
    monitor.start()
    assert monitor.wait(60)
    pd.testing.assert_frame_equal(monitor.table[EXACT], expected.table[EXACT], check_exact=True)


def test_curves_and_what_is_left_are_shown(data, page):
    monitor = TrainingMonitor(network(data), *data, **OPTIONS)
    seen = set()
    monitor.work._bar.observe(lambda change: seen.add(change["new"]), "value")
    monitor.start()
    monitor.start()
    assert monitor.message.text == "It is running already."
    assert monitor.wait(60)
    for text in ("loss / nats", "notes recognised / %", "mixtures/s", "training</text>", "test</text>"):
        assert text in monitor._curves.value
    assert any("epoch 4 of 4" in text and "mixtures/s" in text and "s left" in text for text in seen)
    assert not monitor._start.disabled


def test_seconds_left():
    state = {"epoch": 3, "epochs": 10, "seen": 50, "size": 100, "mixtures_per_second": 10.0, "history": []}
    assert seconds_left(state) == pytest.approx(75), "7.5 epochs of 10 s"
    state["history"] = [{"seconds": 12.0}, {"seconds": 24.0}]
    assert seconds_left(state) == pytest.approx(90), "validation included: 7.5 epochs of 12 s"


def test_what_goes_wrong_is_a_sentence(data, page):
    monitor = TrainingMonitor(network(data), *data, epochs=0)
    monitor.start()
    assert monitor.wait(60)
    assert monitor.status == "failed"
    assert monitor.message.text == "epochs must be at least 1, but is 0."
    assert not monitor._start.disabled


def test_without_a_page_it_trains_here_with_tqdm(data, capsys, monkeypatch):
    monkeypatch.setattr(loop, "progress", partial(loop.progress, delay=0))  # a training of a second shows no bar
    assert not training_monitor.has_page()
    monitor = TrainingMonitor(network(data), *data, **{**OPTIONS, "epochs": 2})
    monitor.start()
    assert monitor.status == "done"
    assert monitor.history.epochs == len(monitor.table) == 2
    assert "training" in capsys.readouterr().err
