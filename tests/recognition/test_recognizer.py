"""Recognizer: any length, rate and form of sound; the command line."""

import json

import numpy as np
import pytest
import soundfile
import soxr
import torch

import deeporch as do
from deeporch import cli
from deeporch.features.constantq import ConstantQ
from deeporch.recognition.calibration import Calibration
from deeporch.recognition.recognizer import Heard, Recognizer, cut_windows
from deeporch.util.audio import read_sound

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")
RATE = 44_100


@pytest.fixture(scope="module")
def checkpoint(tiny_library, tmp_path_factory):
    """A small PitchNet that has learned single notes of the synthetic library, saved with its calibration."""
    folder = tmp_path_factory.mktemp("recognizer")
    patch = pytest.MonkeyPatch()
    patch.setenv("DEEPORCH_CACHE", str(folder / "cache"))
    classes = do.Classes(tiny_library)
    net = do.build("pitchnet", classes, features=ConstantQ(frames=16), channels=16, width=32, blocks=1)
    train = do.Mixtures(tiny_library, classes, n=1, size=216)
    do.fit(net, train, epochs=25, batch_size=16, lr=4e-3, schedule="cosine", device="cpu")
    patch.undo()
    calibration = Calibration(temperature=1.5, offset=-2.0, threshold=0.4)
    return do.save_checkpoint(folder / "tiny", net, card={"calibration": calibration.to_dict()})


@pytest.fixture(scope="module")
def heard_by(checkpoint):
    return Recognizer.load(checkpoint)


@pytest.fixture(scope="module")
def note(tiny_library):
    """One note, ob E4 at mezzoforte, and its name."""
    table = tiny_library.table
    row = table.index[(table["instrument"] == "Ob") & (table["pitch"] == "E4") & (table["dynamic"] == "mf")][0]
    return tiny_library.audio[row, : int(tiny_library.lengths[row])].float()


def first(found):
    return found[0].instrument, found[0].pitch


def test_a_path_an_array_a_tensor_stereo_and_another_rate_are_heard_alike(heard_by, note, tmp_path):
    soundfile.write(tmp_path / "note.wav", note.numpy(), RATE, subtype="FLOAT")
    expected = heard_by.predict(tmp_path / "note.wav", n=3)
    assert first(expected) == ("Ob", "E4")
    assert len(expected) == 3
    assert expected[0].probability > expected[1].probability > expected[2].probability > 0
    stereo = np.stack([note.numpy()] * 2)
    for sound in (str(tmp_path / "note.wav"), note, note.numpy().astype(np.float64), stereo, stereo.T):
        again = heard_by.predict(sound, RATE, n=3)
        assert [h[:2] for h in again] == [h[:2] for h in expected]
        assert again[0].probability == pytest.approx(expected[0].probability, abs=1e-4)
    integers = (note.numpy() / np.abs(note.numpy()).max() * 32_000).astype(np.int16)
    assert first(heard_by.predict(integers, RATE, n=1)) == ("Ob", "E4")
    assert first(heard_by.predict(soxr.resample(note.numpy(), RATE, 48_000), 48_000, n=1)) == ("Ob", "E4")


def test_silence_before_and_level_do_not_matter(heard_by, note):
    late = torch.nn.functional.pad(note, (30_000, 0)) * 0.01
    ours, theirs = heard_by.predict(late, RATE, n=1)[0], heard_by.predict(note, RATE, n=1)[0]
    assert ours[:2] == theirs[:2]
    assert ours.probability == pytest.approx(theirs.probability, abs=0.02)


def test_probabilities_are_the_calibrated_mean_of_the_windows(heard_by, note):
    features = heard_by.model.features
    long = note.repeat(3)
    windows = cut_windows(long, features.samples)
    assert len(windows) > 3
    with torch.no_grad():
        logits = heard_by.model(features(windows)).mean(0)
    top = int(logits.argmax())
    found = heard_by.predict(long, RATE, n=1)[0]
    assert f"{found.instrument} {found.pitch}" == heard_by.model.classes.names[top]
    assert found.probability == pytest.approx(1 / (1 + np.exp(-(float(logits[top]) / 1.5 - 2.0))), abs=1e-4)


def test_without_n_it_reports_what_is_likely_enough(heard_by, note):
    found = heard_by.predict(note, RATE)
    assert len(found) >= 1
    assert all(h.probability >= 0.4 for h in found[1:])
    strict = Recognizer(heard_by.model, Calibration(threshold=1.1))
    assert len(strict.predict(note, RATE)) == 1


def test_a_batch_is_its_sounds_one_by_one(heard_by, note):
    sounds = [note, note.repeat(3), note[:20_000]]
    batch = heard_by.predict_batch(sounds, RATE, n=2)
    for sound, found in zip(sounds, batch, strict=True):
        alone = heard_by.predict(sound, RATE, n=2)
        assert [h[:2] for h in alone] == [h[:2] for h in found]
        assert alone[0].probability == pytest.approx(found[0].probability, abs=1e-4)


def test_windows_overlap_by_half_and_leave_silence_out():
    sound = torch.cat([torch.ones(1000), torch.zeros(2000), torch.ones(1000)])
    windows = cut_windows(sound, 1000)
    assert [float(w.mean()) for w in windows] == [1.0, 0.5, 0.5, 1.0]
    assert cut_windows(torch.ones(300), 1000).sum() == 300


def test_bad_sounds_are_named(heard_by, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    for sound, rate, message in (
        (tmp_path / "none.wav", None, "no sound file"),
        (tmp_path / "text.wav", None, "no sound that can be read"),
        (np.ones(1000), None, "sample rate"),
        (np.zeros(1000), RATE, "silent"),
        (np.zeros(0), RATE, "not empty"),
        (np.ones((100, 1000)), RATE, r"shape \[100, 1000\]"),
        (np.array([1.0, np.nan]), RATE, "not finite"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            heard_by.predict(sound, rate)
    with pytest.raises(ValueError, match="n must lie between 1 and the network's 72 classes, but is 0"):
        heard_by.predict(np.ones(1000), RATE, n=0)
    assert read_sound(np.ones(1000), RATE, RATE).dtype == torch.float32


def test_command_line(checkpoint, note, tmp_path, capsys):
    file = str(tmp_path / "note.flac")
    soundfile.write(file, note.numpy(), RATE)
    assert cli.main(["recognize", file, "-n", "1", "--checkpoint", str(checkpoint)]) == 0
    name, line, *_ = capsys.readouterr().out.strip().split("\n")
    assert name == file
    assert line.split()[:3] == ["E4", "oboe", "(Ob)"]
    assert cli.main(["recognize", file, "missing.wav", "--json", "--checkpoint", str(checkpoint)]) == 2
    printed = capsys.readouterr()
    notes = json.loads(printed.out)[file]
    assert Heard(**notes[0])[:2] == ("Ob", "E4")
    assert "no sound file 'missing.wav'" in printed.err
    assert cli.main(["recognize", file, "--checkpoint", str(tmp_path / "nothing.safetensors")]) == 2
    assert "no checkpoint" in capsys.readouterr().err
