"""Mixtures across libraries: what they are made of, how they are changed, and that a network learns from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tones import harmonic_tone

import deeporch as do
from deeporch.features.cached import CachedFeatures
from deeporch.features.constantq import ConstantQ
from deeporch.models.checkpoints import load_checkpoint
from deeporch.models.pitchnet import A0
from deeporch.recognition.many_libraries import PEAK, Bank, Changes, LibraryMixtures, fill, mix, named_classes, tuning
from deeporch.recognition.train import calibrate_on
from deeporch.training.loop import fit

FEATURES = ConstantQ(hop=2048, frames=16)
NOTHING = Changes(
    FEATURES, versions=1, equalizer=0, tilt=0, interpolate=0, time=0, no_attack=0, room=0, noise=0, single=0, unknown=0
)
SIZES = {"features": FEATURES, "channels": 4, "hidden": 6, "width": 8, "blocks": 1}


@pytest.fixture(scope="module")
def libraries():
    """Return two libraries of two dynamics each, the second without the last instrument's name."""
    return [do.load_library("soundfont", instruments=["Fl", "Ob", "Vn"], dynamics=level) for level in ("mf", "ff")]


@pytest.fixture(scope="module")
def bank(libraries):
    """Return all notes from C4 to E4, as they are and detuned."""
    some = [library.select(pitch_range=("C4", "E4")) for library in libraries]
    classes = named_classes([library.select(instruments=["Fl", "Ob"]) for library in some])
    return Bank(some, classes, replace(NOTHING, versions=2, detune=30))


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


@pytest.mark.parametrize(("cents", "found"), [(30, 30), (-42, -42), (0, 0), (6, 0)])
def test_how_sharp_a_recording_is_and_that_little_is_left_as_it_is(cents, found):
    sound = harmonic_tone(62, [0.4, 1, 0.3, 0.5], 0.8, 0.5)
    moved = fill(sound, cents, len(sound))
    assert tuning(moved, 62, 44_100) == pytest.approx(found, abs=2)
    assert tuning(np.zeros(20_000), 62, 44_100) == 0


def test_flat_recordings_are_put_in_tune(libraries):
    one = libraries[0].select(instruments=["Fl"], pitch_range=("C4", "C#4"))
    flat = [fill(one.sound(i).numpy(), -40, len(one.sound(i))) / PEAK for i in range(2)]
    flat = do.NoteLibrary.from_audio(one.table[["instrument", "pitch", "dynamic"]], flat, name="flat")
    table = Bank([flat], named_classes([flat]), replace(NOTHING, versions=2, detune=0)).table
    assert table["cents"].tolist() == pytest.approx([40] * 4, abs=10)


def test_a_detuned_note_is_higher_by_its_cents():
    tone = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    plain, detuned = (fill(tone, cents, FEATURES.samples) for cents in (0.0, 50.0))
    peaks = [np.argmax(np.abs(np.fft.rfft(sound[:30_000], 1 << 19))) for sound in (plain, detuned)]
    assert 1200 * np.log2(peaks[1] / peaks[0]) == pytest.approx(50, abs=2)
    assert plain.max() == pytest.approx(PEAK, rel=1e-3)


@pytest.mark.parametrize("unknown", [0, 0.5])
def test_unchanged_mixtures_are_sums_of_notes(bank, unknown):
    changes = replace(NOTHING, unknown=unknown)
    mixtures = LibraryMixtures(bank, changes, size=12, seed=3).epoch(1)
    model = do.build("open_pitchnet", bank.classes, **SIZES)
    x, target = CachedFeatures(mixtures, changes, limit_gb=0).batch(torch.arange(12))
    playing = model.playing(target)  # [mixtures, instruments and an unknown one, pitches]
    assert x.shape == (12, 1, 216, 16)
    for i, rows in enumerate(mixtures.rows):
        table = bank.table.iloc[rows[rows >= 0]]
        pairs = set(zip(table["instrument"], table["midi"] - A0, strict=True))
        assert {tuple(pair) for pair in playing[i].nonzero().tolist()} == pairs
        assert len(pairs) == len(table) == target[i].sum()
    assert (2 in bank.table["instrument"].to_numpy()[mixtures.rows[mixtures.rows >= 0]]) == bool(unknown)
    one = next(i for i, rows in enumerate(mixtures.rows) if (rows >= 0).sum() == 1)
    row = mixtures.rows[one].max()
    frames = torch.from_numpy(bank.frames[row].view(np.float16).astype(np.float32))
    decibels = [FEATURES.decibels((frames * gain)[None]) for gain in 10 ** (np.arange(-30, 31, 0.25) / 20)]
    alike = [(x[one] - each[0]).abs().max().item() for each in decibels]
    assert min(alike) < 0.01  # the note at some level


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
    mixtures = LibraryMixtures(bank, NOTHING, size=4, seed=1).epoch(1)
    plain, target = CachedFeatures(mixtures, NOTHING, limit_gb=0).batch(torch.arange(4))
    for change in ("equalizer", "tilt", "room", "noise"):
        changes = replace(NOTHING, **{change: getattr(Changes(FEATURES), change)})
        x = changes.of(mixtures, torch.arange(4))
        assert target.sum() >= 4
        assert x.min() >= 0
        assert x.max() <= 2
        assert not torch.allclose(x, plain), change


def test_a_network_learns_and_goes_on_where_it_stopped(bank, tmp_path):
    assert bank.classes.names == [f"{i} {p}" for i in ("Fl", "Ob") for p in ("C4", "C#4", "D4", "D#4", "E4")]
    mixtures = LibraryMixtures(bank, NOTHING, size=120)
    options = {"features": NOTHING, "batch_size": 8, "loss": "auxiliary", "decay": 0.03, "warm_up": 20, "clip": 3.0}
    options |= {"mean": 0.9, "device": "cpu", "amp": False}
    whole, halves = (do.build("open_pitchnet", bank.classes, **SIZES) for _ in range(2))
    history = fit(whole, mixtures.epoch, epochs=4, **options).table
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    for epochs in (2, 4):
        halved = fit(halves, mixtures.epoch, epochs=epochs, folder=tmp_path, **options).table
        halves = do.build("open_pitchnet", bank.classes, **SIZES) if epochs == 2 else halves
    assert halved["train_loss"].tolist() == history["train_loss"].tolist()
    assert all(torch.equal(halves.state_dict()[name], value) for name, value in whole.state_dict().items())
    last = load_checkpoint(tmp_path / "last.safetensors").state_dict()
    assert not torch.equal(last["narrow.weight"], whole.state_dict()["narrow.weight"])  # which ends with their mean


def test_calibration_of_the_parts_gives_their_errors(bank, libraries):
    classes = named_classes([library.select(instruments=["Fl", "Ob"]) for library in libraries])
    model = do.build("open_pitchnet", classes, **SIZES).eval()
    pool = torch.nonzero(classes.on(libraries[0]).of_note >= 0).flatten()
    fitted, errors = calibrate_on(model, (libraries[0], pool), size=40)
    assert 0 < fitted["note"].threshold < 1
    assert set(fitted) == {"note", "pitch", "instrument"}
    assert 0 <= errors["pitch_calibration_error"] <= 0.1  # a constant is calibrated when pitches are rare
    assert calibrate_on(model, (libraries[0], pool[:9]), size=40)[0], "of nine notes single ones are taken"
