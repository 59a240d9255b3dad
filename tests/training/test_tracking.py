"""Curves for TensorBoard: written while a network trains, equal to its history, and nothing where nobody asked."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import build
from deeporch.training.loop import fit
from deeporch.training.tracking import VARIABLE, Curves

SMALL = Mel(n_mels=16, hop=2048, frames=16, scale="log")


def curves_of(folder):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    names = accumulator.Tags()["scalars"]
    return {name: [(event.step, event.value) for event in accumulator.Scalars(name)] for name in names}


def train(tiny_library, **options):
    classes = Classes(tiny_library, by="instrument")
    sets = [Mixtures(tiny_library, classes, n=2, size=size, seed=size) for size in (16, 8)]
    return fit(build("cnn", classes, features=SMALL, seed=0), *sets, epochs=3, batch_size=8, device="cpu", **options)


def test_the_curves_are_the_history_and_are_there_while_it_trains(tiny_library, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "curves"))
    seen = []

    def look(state):
        if state["epoch"] == 3 and not seen:
            seen.append(curves_of(tmp_path / "curves" / "run"))

    history = train(tiny_library, folder=tmp_path / "run", callback=look).table
    curves = curves_of(tmp_path / "curves" / "run")
    assert curves["loss/valid"] == [(16 * e, pytest.approx(v)) for e, v in enumerate(history["valid_loss"], 1)]
    assert curves["recall/valid"] == [(16 * e, pytest.approx(v)) for e, v in enumerate(history["valid_recall"], 1)]
    by_step = dict(curves["loss/train"])
    assert [by_step[16 * e] for e in (1, 2, 3)] == pytest.approx(history["train_loss"].tolist())
    assert [step for step, _ in seen[0]["loss/valid"]] == [16, 32], "two epochs can be seen in the third"


def test_each_run_without_a_folder_has_a_name_of_its_own(tiny_library, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    train(tiny_library)
    (run,) = tmp_path.iterdir()
    assert run.name.endswith("-CNN")


def test_nothing_is_written_where_nobody_asked(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert Curves("run", {}).writer is None
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert Curves("run", {}, on=False).writer is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"^TensorBoard's folder '.*file' cannot be written: Not a directory\.$"):
        Curves("run", {})
