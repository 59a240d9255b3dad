"""Mixtures across libraries: what they are made of, how they are changed, and that a network learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import deeporch as do
from deeporch.features.constantq import ConstantQ
from deeporch.models.pitchnet import A0
from deeporch.recognition.learner import Learner, Schedule, learn
from deeporch.recognition.many_libraries import Bank, Changes, LibraryMixtures, mix, named_classes
from deeporch.recognition.train import calibrate_on

FEATURES = ConstantQ(hop=2048, frames=16)
NOTHING = Changes(
    versions=1, equalizer=0, tilt=0, interpolate=0, time=0, no_attack=0, room=0, noise=0, single=0, unknown=0
)


@pytest.fixture(scope="module")
def libraries():
    """Return two libraries of two dynamics each, the second without the last instrument's name."""
    return [do.load_library("soundfont", instruments=["Fl", "Ob", "Vn"], dynamics=level) for level in ("mf", "ff")]


@pytest.fixture(scope="module")
def bank(libraries):
    """Return all notes from C4 to E4, as they are and detuned."""
    some = [library.select(pitch_range=("C4", "E4")) for library in libraries]
    return Bank(some, FEATURES, ["Fl", "Ob"], versions=2, detune=30)


def test_the_bank_has_every_note_as_it_is_and_detuned(bank, libraries):
    table = bank.table
    assert len(table) == 2 * 2 * 3 * 5
    assert set(table["instrument"]) == {0, 1, 2}  # Fl, Ob, and the violin, which has no name here
    assert (table["cents"][table["version"] == 0] == 0).all()
    assert (table["cents"][table["version"] == 1] != 0).all()
    note = libraries[0].select(pitch_range=("C4", "E4"))
    frames = torch.from_numpy(bank.frames[:1].view(np.float16).astype(np.float32))
    wanted = FEATURES(note.audio[:1, : FEATURES.samples].float())
    assert torch.allclose(FEATURES.decibels(frames), wanted, atol=5e-3)


def test_a_detuned_note_is_higher_by_its_cents(bank):
    row = int(bank.table.index[bank.table["version"] == 1][0])
    plain, detuned = (bank._sound(_Same(), {"note": 0, "cents": cents}) for cents in (0.0, 50.0))
    peaks = [np.argmax(np.abs(np.fft.rfft(sound[:30_000], 1 << 19))) for sound in (plain, detuned)]
    assert row > 0
    assert 1200 * np.log2(peaks[1] / peaks[0]) == pytest.approx(50, abs=2)


class _Same:
    """A library of one tone."""

    def sound(self, _: int) -> torch.Tensor:
        return torch.sin(2 * torch.pi * 440 * torch.arange(44_100) / 44_100)


def test_unchanged_mixtures_are_sums_of_notes(bank):
    mixtures = LibraryMixtures(bank, NOTHING, seed=3)
    drawn = LibraryMixtures(bank, NOTHING, seed=3)._draw()
    x, pitches, instruments = mixtures.batch(1)
    table = bank.table.iloc[drawn]
    assert pitches[0].nonzero().flatten().tolist() == sorted(set(table["midi"] - A0))
    pairs = {(m - A0, i) for m, i in zip(table["midi"], table["instrument"], strict=True)}
    assert {tuple(pair) for pair in instruments[0].nonzero().tolist()} == pairs
    assert 2 not in table["instrument"].to_numpy()  # unknown=0
    assert x.shape == (1, 1, 216, 16)


def test_mix_is_a_weighted_sum_of_moved_frames():
    random = np.random.default_rng(0)
    frames = random.normal(size=(3, 4, 5, 2)).astype(np.float16)
    halves = np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float32)
    rows, place = np.array([2, 0]), np.array([[1, 2, 3, -1], [0, 0, 1, 1]])
    gain, late, which = random.normal(size=(2, 5)).astype(np.float32), np.array([0, 1]), np.array([1, 1])
    out = np.zeros((2, 4, 5, 2), np.float32)
    mix(frames.view(np.int16), halves, rows, place, gain, late, which, out)
    wanted = np.zeros_like(out)
    for k in range(2):
        for time in range(4 - late[k]):
            if place[k, time] >= 0:
                wanted[1, time + late[k]] += gain[k][:, None] * frames[rows[k], place[k, time]].astype(np.float32)
    assert np.abs(out - wanted).max() < 1e-6


def test_each_change_changes_and_leaves_the_truth(bank):
    plain = LibraryMixtures(bank, NOTHING, seed=1).batch(4)
    for change in ("equalizer", "tilt", "room", "noise"):
        values = {name: getattr(NOTHING, name) for name in vars(NOTHING)} | {change: getattr(Changes(), change)}
        x, pitches, _ = LibraryMixtures(bank, Changes(**values), seed=1).batch(4)
        assert pitches.sum() >= 4
        assert x.min() >= 0
        assert x.max() <= 2
        assert not torch.allclose(x, plain[0]), change


def test_a_network_learns_and_goes_on_where_it_stopped(bank, libraries, tmp_path):
    classes = named_classes(
        [library.select(instruments=["Fl", "Ob"], pitch_range=("C4", "E4")) for library in libraries]
    )
    assert classes.names == [f"{i} {p}" for i in ("Fl", "Ob") for p in ("C4", "C#4", "D4", "D#4", "E4")]
    model = do.build("open_pitchnet", classes, features=FEATURES, channels=4, hidden=6, width=8, blocks=1)
    learner = Learner(model, Schedule(minutes=1, batch_size=8))
    mixtures = LibraryMixtures(bank, NOTHING)
    losses = [learner.step(*mixtures.batch(8)) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    learner.seconds = 60.0
    learner.save(tmp_path / "state.safetensors")
    again = do.build("open_pitchnet", classes, features=FEATURES, channels=4, hidden=6, width=8, blocks=1)
    gone_on = learn(again, mixtures, Schedule(minutes=1, batch_size=8), folder=tmp_path)
    assert gone_on.steps == 60  # its minute was up
    assert all(torch.equal(again.state_dict()[name], value) for name, value in learner.mean.items())


def test_calibration_of_the_parts_gives_their_errors(bank, libraries):
    classes = named_classes([library.select(instruments=["Fl", "Ob"]) for library in libraries])
    model = do.build("open_pitchnet", classes, features=FEATURES, channels=4, hidden=6, width=8, blocks=1).eval()
    pool = torch.nonzero(classes.on(libraries[0]).of_note >= 0).flatten()
    fitted, errors = calibrate_on(model, (libraries[0], pool), size=40)
    assert 0 < fitted["note"].threshold < 1
    assert set(fitted) == {"note", "pitch", "instrument"}
    assert 0 <= errors["pitch_calibration_error"] <= 0.1  # a constant is calibrated when pitches are rare
