"""From real notes to a trained network, end to end, on the Philharmonia Orchestra's recordings."""

import librosa
import numpy as np
import pytest
import torch

from deeporch.features.mel import Mel
from deeporch.metrics import study_form
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.mixtures.sampling import chance_recall
from deeporch.mixtures.splits import split
from deeporch.models.build import build
from deeporch.models.checkpoints import load_checkpoint
from deeporch.notes.library import load_library
from deeporch.training.loop import fit
from deeporch.training.prediction import evaluate

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def notes(philharmonia):
    return load_library("philharmonia", root=philharmonia)


def test_the_notes(notes):
    assert len(notes) == 2766, "2,928 files"
    assert len(notes.skipped) == 162
    assert notes.skipped["reason"].str.startswith("identical to ").all()
    assert len(Classes(notes, by="note")) == 686
    assert notes.audio.dtype == torch.float16
    assert len(Classes(notes, by="recording")) == 2766


def test_held_out_recordings_leave_one_for_training(notes):
    classes = Classes(notes, by="note")
    parts = split(notes, classes, by="recording")
    of_note = classes.of_note
    trained = set(of_note[parts.train].tolist())
    assert trained == set(range(686))
    singles = {c for c, count in enumerate(torch.bincount(of_note).tolist()) if count == 1}
    tested = set(of_note[parts.test].tolist())
    assert not singles & tested
    assert tested == trained - singles
    assert f"{len(singles)} have no recording to spare" in parts.report
    assert not set(parts.train.tolist()) & set(parts.test.tolist())


def test_mixtures_and_their_mel(notes):
    mixtures = Mixtures(notes, Classes(notes, by="recording"), n=5, size=50)
    audio, target = mixtures.batch(range(4))
    pictures = Mel()(audio)
    for i in range(4):
        signal = np.zeros(65_024)
        for index in mixtures.indices[i].tolist():
            note = notes.audio[index, : int(notes.lengths[index])].double().numpy()[:65_024]
            signal[: len(note)] += note / 5
        np.testing.assert_allclose(audio[i].numpy(), signal, atol=1e-6)
        theirs = librosa.feature.melspectrogram(y=signal, sr=44_100)
        assert np.abs(pictures[i, 0].numpy() - theirs).max() < 1e-4 * theirs.max()
    assert target.sum(1).tolist() == [5] * 4


@pytest.mark.slow
def test_a_short_training_beats_chance_on_held_out_recordings(notes, tmp_path):
    """Two notes, instruments as classes: training must find four times what guessing finds, 2 of 16."""
    classes = Classes(notes, by="instrument")
    assert len(classes) == 16
    parts = split(notes, classes, by="recording")
    mel = Mel(n_mels=64, hop=1024, frames=64, scale="log")
    train = Mixtures(notes, classes, n=2, size=1600, pool=parts.train)
    test = Mixtures(notes, classes, n=2, size=400, seed=1, pool=parts.test)
    model = build("cnn", classes, features=mel, hidden=64)
    chance = chance_recall(2, 16)
    assert evaluate(model, test, device="cpu").top_n_recall < 2 * chance
    history = fit(model, train, test, epochs=4, lr=2e-3, device="cpu", folder=tmp_path)
    scores = evaluate(load_checkpoint(tmp_path / "last.safetensors"), test, device="cpu")
    assert scores.top_n_recall > 4 * chance
    assert history.table["train_loss"].is_monotonic_decreasing
    assert scores.top_n_recall == pytest.approx(history.table["valid_recall"].iloc[-1], abs=0.01)
    assert scores.per_instrument["occurring"].sum() == 800
    assert study_form(scores.per_instrument).count(" %") == len(classes)
