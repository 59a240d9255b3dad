import json
import math
import os
import subprocess
import sys
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.stats import chisquare
from tones import harmonic_tone

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import SAMPLES, Mixtures
from deeporch.mixtures.sampling import chance_recall
from deeporch.mixtures.splits import split
from deeporch.notes.library import NoteLibrary

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def notes(tiny_library):
    return tiny_library


@pytest.fixture(scope="module")
def classes(notes):
    return Classes(notes, by="note")


def small_library(counts, **columns):
    """Return a library with so many recordings of each (instrument, pitch), 0.1 s each."""
    rows = [
        {"instrument": instrument, "pitch": pitch, "dynamic": f"d{i}", "file": f"{instrument}-{pitch}-{i}.wav"}
        for (instrument, pitch), count in counts.items()
        for i in range(count)
    ]
    table = pd.DataFrame(rows).assign(**columns)
    return NoteLibrary.from_audio(table, [harmonic_tone(60 + i, [1], 0.1) for i in range(len(rows))], name="small")


def sets(mixtures):
    return [frozenset(row) for row in mixtures.indices.tolist()]


def slow_batch(mixtures, which):
    """Mix in numpy, one sample at a time in float64: the definition."""
    out = np.zeros((len(which), mixtures.samples))
    for row, i in enumerate(which):
        for j in range(mixtures.n):
            index = int(mixtures.indices[i, j])
            length = int(mixtures.notes.lengths[index])
            note = mixtures.notes.audio[index, :length].numpy().astype(np.float64)
            gain = 1.0 if mixtures.gains is None else float(mixtures.gains[i, j])
            start = 0 if mixtures.starts is None else int(mixtures.starts[i, j])
            for sample in range(mixtures.samples):
                if 0 <= sample + start < length:
                    out[row, sample] += gain * note[sample + start] / mixtures.n
    return out


# Classes


def test_classes_at_three_granularities(notes):
    table = notes.table
    by_instrument, by_note, by_recording = (Classes(notes, by=by) for by in ("instrument", "note", "recording"))
    assert (len(by_instrument), len(by_note), len(by_recording)) == (6, 72, 216)
    assert by_instrument.names == sorted(set(table["instrument"]))
    assert by_note.names[:2] == ["ClBb C4", "ClBb C#4"]
    assert by_recording.names[0].startswith("ClBb C4 ")
    for i in (0, 57, 215):
        row = table.loc[i]
        assert by_instrument.names[by_instrument.of_note[i]] == row["instrument"]
        assert by_note.names[by_note.of_note[i]] == f"{row['instrument']} {row['pitch']}"
        assert by_recording.names[by_recording.of_note[i]] == f"{row['instrument']} {row['pitch']} {row['dynamic']}"
    assert by_note.table["recordings"].tolist() == [3] * 72
    assert by_instrument.table["midi"].tolist() == [-1] * 6
    assert [by_note.instruments[i] for i in by_note.instrument_of_class] == by_note.table["instrument"].tolist()
    order = list(zip(by_note.table["instrument"], by_note.table["midi"], strict=True))
    assert order == sorted(order)
    assert repr(by_note) == "Classes(by='note', 72 classes of 6 instruments)"


def test_takes_of_one_note_are_told_apart_by_their_file():
    library = small_library({("Fl", "A4"): 2, ("Ob", "A4"): 1}, dynamic="mf")
    assert Classes(library, by="recording").names == ["Fl A4 mf Fl-A4-0", "Fl A4 mf Fl-A4-1", "Ob A4 mf"]


def test_classes_survive_json_and_bind_to_another_library(notes, classes):
    again = Classes.from_dict(json.loads(json.dumps(classes.to_dict())))
    assert again == classes
    assert again.table.equals(classes.table)
    assert len(again.of_note) == 0
    assert classes != Classes(notes, by="instrument")
    part = notes.select(instruments="Fl Vn", pitch_range=("C4", "E4"))
    fewer = Classes(part, by="note")
    matched = fewer.match(notes)
    inside = notes.table["instrument"].isin(["Fl", "Vn"]) & notes.table["midi"].between(60, 64)
    assert torch.equal(matched >= 0, torch.tensor(inside.tolist()))
    bound = fewer.on(notes)
    assert bound == fewer
    drawn = Mixtures(notes, bound, n=3, size=50).indices.unique()
    assert set(drawn.tolist()) <= set(np.flatnonzero(inside))
    with pytest.raises(ValueError, match="'small' has no note of these 10 classes by note"):
        fewer.on(small_library({("Picc", "A6"): 1, ("Picc", "B6"): 1}))


def test_classes_refuse_what_is_wrong(notes):
    with pytest.raises(ValueError, match="Unknown class granularity 'notes': did you mean 'note'"):
        Classes(notes, by="notes")
    one = notes.select(instruments="Fl")
    with pytest.raises(ValueError, match=r"a single class by instrument \(Fl\): a network needs two or more"):
        Classes(one, by="instrument")
    assert len(Classes(one, by="note")) == 12


# Splits


def test_split_by_mixture_hears_every_note(notes, classes):
    made = split(notes, classes, by="mixture")
    assert torch.equal(made.train, torch.arange(216))
    assert torch.equal(made.test, made.train)
    train = Mixtures(notes, classes, n=2, size=3000, seed=0, pool=made.train)
    test = Mixtures(notes, classes, n=2, size=3000, seed=1, pool=made.test)
    assert set(sets(train)) & set(sets(test)), "without exclude they meet: the check below could fail"
    test = Mixtures(notes, classes, n=2, size=3000, seed=1, pool=made.test, exclude=train)
    assert not set(sets(train)) & set(sets(test))
    third = Mixtures(notes, classes, n=2, size=3000, seed=2, exclude=[train, test])
    assert not set(sets(third)) & (set(sets(train)) | set(sets(test)))


def test_split_by_recording_keeps_one_for_training():
    counts = {("Fl", "A4"): 1, ("Fl", "B4"): 2, ("Ob", "A4"): 3, ("Ob", "B4"): 10}
    library = small_library(counts)
    classes = Classes(library, by="note")
    made = split(library, classes, by="recording", test=0.2, valid=0.1, seed=3)
    sizes = {
        name: torch.bincount(classes.of_note[getattr(made, name)], minlength=4).tolist()
        for name in ("train", "valid", "test")
    }
    assert classes.names == ["Fl A4", "Fl B4", "Ob A4", "Ob B4"]
    assert sizes == {"train": [1, 1, 1, 7], "valid": [0, 0, 1, 1], "test": [0, 1, 1, 2]}
    assert sorted(torch.cat([made.train, made.valid, made.test]).tolist()) == list(range(16))
    assert made.report == (
        "10 recordings train, 2 validate, 4 test; 3 of 4 classes are tested, 1 have no recording to spare"
    )
    again = split(library, classes, by="recording", test=0.2, valid=0.1, seed=3)
    other = split(library, classes, by="recording", test=0.2, valid=0.1, seed=4)
    assert torch.equal(made.test, again.test)
    assert not torch.equal(made.test, other.test)


def test_shares_of_a_split_and_their_defaults(notes, classes):
    library = small_library({("Fl", "A4"): 10, ("Ob", "A4"): 10}, fold=[0, 1] * 10)
    by_note = Classes(library, by="note")
    made = split(library, by_note, by="recording", test=0.4, valid=0.3)
    assert [len(pool) for pool in (made.train, made.valid, made.test)] == [6, 6, 8]
    assert torch.equal(made.test, split(library, by_note, by="recording", test=0.4, valid=0.3, seed=0).test)
    assert len(split(library, by_note, by="recording").valid) == 0
    assert split(library, by_note, by="fold").test.tolist() == list(range(0, 20, 2)), "fold 0 is the test's"
    assert torch.equal(split(notes, classes, test=0.0).train, torch.arange(216))
    with pytest.raises(ValueError, match="Nothing is left to test"):
        split(library, by_note, by="recording", test=0.0)
    for test, valid in ((0.5, 0.5), (1.0, 0.0), (-0.1, 0.2), (0.2, -0.1)):
        with pytest.raises(ValueError, match="sum to less than 1"):
            split(library, by_note, by="recording", test=test, valid=valid)
    with pytest.raises(AttributeError):  # it is frozen
        made.by = "fold"


def test_split_by_recording_shares_no_recording(notes, classes):
    made = split(notes, classes, by="recording", test=0.34)
    train, test = (Mixtures(notes, classes, n=3, size=400, pool=pool) for pool in (made.train, made.test))
    assert len(made.test) == 72
    assert not set(train.indices.flatten().tolist()) & set(test.indices.flatten().tolist())
    assert set(test.indices.flatten().tolist()) <= set(made.test.tolist())


def test_split_by_fold():
    counts = {("Fl", "A4"): 3, ("Ob", "A4"): 3, ("Ob", "B4"): 1}
    library = small_library(counts, fold=[0, 1, 2, 0, 1, 1, 0])
    classes = Classes(library, by="note")
    made = split(library, classes, by="fold", folds=[0])
    assert made.train.tolist() == [1, 2, 4, 5]
    assert made.test.tolist() == [0, 3], "Ob B4 was never trained, so it is not tested"
    assert "2 of 3 classes are tested, 1 have no recording to spare" in made.report
    with pytest.raises(ValueError, match=r"Unknown fold '7'.*Known: 0, 1, 2"):
        split(library, classes, by="fold", folds=[7])


def test_splits_refuse_what_is_wrong(notes, classes):
    with pytest.raises(ValueError, match="'tiny' has no folds: use by='recording' or by='mixture'"):
        split(notes, classes, by="fold")
    with pytest.raises(ValueError, match="Unknown split 'recordings': did you mean 'recording'"):
        split(notes, classes, by="recordings")
    with pytest.raises(ValueError, match=r"test=0\.8 and valid=0\.3 must be ≥ 0 and sum to less than 1"):
        split(notes, classes, test=0.8, valid=0.3)
    with pytest.raises(ValueError, match="Nothing is left to test: none of the 216 classes by recording has a record"):
        split(notes, Classes(notes, by="recording"), by="recording")


# Recipes


@pytest.mark.parametrize("by", ["instrument", "note", "recording"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_notes_are_of_distinct_classes_and_sets_differ(notes, by, n):
    classes = Classes(notes, by=by)
    mixtures = Mixtures(notes, classes, n=n, size=200, seed=5)
    assert mixtures.indices.shape == (200, n)
    for row in classes.of_note[mixtures.indices.long()].tolist():
        assert len(set(row)) == n
    assert len(set(sets(mixtures))) == 200


def test_every_possible_mixture_can_be_drawn():
    library = small_library({("Fl", "A4"): 4, ("Ob", "A4"): 5, ("Vn", "A4"): 1})
    classes = Classes(library, by="note")
    mixtures = Mixtures(library, classes, n=2, size=29)
    of_note = classes.of_note.tolist()
    possible = {frozenset(pair) for pair in combinations(range(10), 2) if of_note[pair[0]] != of_note[pair[1]]}
    assert set(sets(mixtures)) == possible
    with pytest.raises(ValueError, match="Only 29 distinct mixtures of 2 notes could be drawn from 10 recordings, but"):
        Mixtures(library, classes, n=2, size=30)
    first = Mixtures(library, classes, n=2, size=20)
    with pytest.raises(ValueError, match=r"Only 9 distinct .* beside the excluded ones, but 10 were asked for"):
        Mixtures(library, classes, n=2, size=10, exclude=first)


def test_the_last_sets_of_many_are_found(notes):
    classes = Classes(notes, by="recording")
    mixtures = Mixtures(notes, classes, n=2, size=216 * 215 // 2)
    assert len(set(sets(mixtures))) == 216 * 215 // 2


def test_a_quarter_million_mixtures_of_ten(notes):
    classes = Classes(notes, by="recording")
    mixtures = Mixtures(notes, classes, n=10, size=250_000, gain_db=(-12, 0), onset=0.2, window="random")
    assert mixtures.nbytes == sum(t.nbytes for t in (mixtures.indices, mixtures.gains, mixtures.starts))
    assert mixtures.nbytes < 25e6
    ordered = mixtures.indices.numpy().astype(np.int64)
    ordered.sort(1)
    assert (np.diff(ordered, axis=1) > 0).all(), "by recording, distinct classes are distinct notes"
    assert len(np.unique(ordered, axis=0)) == 250_000


@pytest.mark.parametrize("per_instrument", [1, 2])
def test_at_most_k_notes_an_instrument(notes, classes, per_instrument):
    mixtures = Mixtures(notes, classes, n=6, size=500, per_instrument=per_instrument)
    instrument = notes.table["instrument"].to_numpy()[mixtures.indices.numpy()]
    most = [max(list(row).count(name) for name in row) for row in instrument]
    assert max(most) == per_instrument
    of_class = classes.of_note[mixtures.indices.long()]
    assert all(len(set(row)) == 6 for row in of_class.tolist())


def test_classes_are_drawn_uniformly():
    """Classes count, not their recordings: 'Fl A4' has ten times those of the others."""
    library = small_library({("Fl", "A4"): 20, ("Fl", "B4"): 2, ("Ob", "A4"): 2, ("Vn", "A4"): 2, ("Vc", "A3"): 2})
    classes = Classes(library, by="note")
    counts = np.zeros(5)
    within = np.zeros(20)
    for seed in range(100):  # small sets, so that "no set twice" does not bend the draw
        drawn = Mixtures(library, classes, n=2, size=5, seed=seed).indices.flatten().long()
        counts += np.bincount(classes.of_note[drawn], minlength=5)
        within += np.bincount(drawn[drawn < 20], minlength=20)
    assert counts.sum() == 1000
    assert 0.8 < counts[0] / (1000 / 5) < 1.25
    assert chisquare(within).pvalue > 1e-3


def test_draws_pass_a_chi_square_test(notes, classes):
    for options in ({"n": 2}, {"n": 5, "per_instrument": 1}, {"n": 5, "per_instrument": 2}, {"n": 10}):
        mixtures = Mixtures(notes, classes, size=20_000, seed=11, **options)
        by_class = np.bincount(classes.of_note[mixtures.indices.long()].flatten(), minlength=72)
        by_note = np.bincount(mixtures.indices.flatten(), minlength=216)
        # N distinct ones a mixture vary less than independent ones, so that p is near 1 for large N
        assert chisquare(by_class).pvalue > 1e-3, options
        assert chisquare(by_note).pvalue > 1e-3, options
        first = np.bincount(classes.of_note[mixtures.indices[:, 0].long()], minlength=72)
        assert chisquare(first).pvalue > 1e-3, f"the first note of a mixture is as random as any other: {options}"


def test_with_one_note_each_instruments_are_uniform_whatever_their_range():
    library = small_library({("Fl", f"{p}4"): 1 for p in "CDEFGAB"} | {(name, "A4"): 1 for name in ("Ob", "Vc", "Vn")})
    classes = Classes(library, by="note")
    counts = {"Fl": 0, "Ob": 0, "Vc": 0, "Vn": 0}
    for seed in range(100):
        for row in Mixtures(library, classes, n=2, size=2, seed=seed, per_instrument=1).indices.flatten().tolist():
            counts[library.table["instrument"][row]] += 1
    share = np.array(list(counts.values())) / 400
    assert np.abs(share - 0.25).max() < 0.08, "an instrument of 7 classes plays as often as one of 1"


def test_pool_instruments_and_pitch_range_are_respected(notes, classes):
    pool = torch.arange(0, 216, 2)
    mixtures = Mixtures(
        notes, classes, n=3, size=300, pool=pool, instruments=["Fl", "Ob", "Vc"], pitch_range=("D4", 68)
    )
    table = notes.table.loc[mixtures.indices.unique().tolist()]
    allowed = notes.table.loc[pool.tolist()].query("instrument in ['Fl', 'Ob', 'Vc'] and 62 <= midi <= 68")
    assert set(table.index) == set(allowed.index)


def test_gains_onsets_and_windows_are_in_range(notes, classes):
    made = Mixtures(notes, classes, n=4, size=2000, gain_db=(-20, 3), onset=0.25, window="random", samples=8192)
    decibels = 20 * made.gains.double().log10()
    assert made.gains.dtype == torch.float16
    assert -20.01 < decibels.min() < -19.9
    assert 2.9 < decibels.max() < 3.01
    assert abs(decibels.mean() + 8.5) < 0.3
    assert (made.starts[:, 0] >= 0).all(), "one note is always on time"
    delays = -made.starts[:, 1:]
    assert 0.99 * 0.25 * 44_100 < delays.max() <= 0.25 * 44_100
    windows = Mixtures(notes, classes, n=4, size=2000, window="random", samples=30_000)
    spare = (notes.lengths[windows.indices.long()] - 30_000).clamp(min=0)
    assert (windows.starts >= 0).all()
    assert (windows.starts <= spare).all()
    share = windows.starts[spare > 0] / spare[spare > 0]
    assert abs(share.mean() - 0.5) < 0.02
    assert (windows.starts == spare)[spare == 0].all()
    plain = Mixtures(notes, classes, n=2, size=10)
    assert plain.gains is None
    assert plain.starts is None


def test_the_same_seed_gives_the_same_set_and_another_seed_another(notes, classes):
    options = {"n": 5, "size": 300, "gain_db": (-6, 0), "onset": 0.1, "window": "random", "samples": 4096}
    torch.manual_seed(1)
    a = Mixtures(notes, classes, seed=7, **options)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    b, c = Mixtures(notes, classes, seed=7, **options), Mixtures(notes, classes, seed=8, **options)
    assert torch.equal(before, torch.get_rng_state()), "the global generator is left alone"
    for name in ("indices", "gains", "starts"):
        assert torch.equal(getattr(a, name), getattr(b, name))
        assert not torch.equal(getattr(a, name), getattr(c, name))


def fingerprint():
    """Return the hash of a set's indices, gains, starts and audio."""
    notes = small_library({("Fl", "A4"): 6, ("Ob", "A4"): 6, ("Vn", "G3"): 6, ("Vc", "C2"): 6})
    options = {"gain_db": (-9, 0), "onset": 0.05, "samples": 9000, "window": "random"}
    made = Mixtures(notes, Classes(notes, by="recording"), n=4, size=200, seed=3, **options)
    audio, targets = made.batch(range(200))
    parts = (made.indices, made.gains, made.starts, audio, targets)
    return sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


def test_another_process_makes_the_same_bits():
    command = [sys.executable, "-c", "import test_mixtures; print(test_mixtures.fingerprint())"]
    path = os.pathsep.join([*map(str, Path(__file__).parents[1:3]), str(Path(__file__).parent)])
    env = os.environ | {"PYTHONPATH": path}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert found.stdout.strip() == fingerprint()


# Audio and targets


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gain_db": (-12, 3)},
        {"onset": 0.4},
        {"window": "random"},
        {"gain_db": (-30, 0), "onset": 0.9, "window": "random"},
    ],
    ids=str,
)
def test_batch_equals_a_slow_loop(notes, classes, options, device):
    samples = 30_000  # notes of 22,050 to 70,560 samples: shorter and longer ones
    mixtures = Mixtures(notes, classes, n=3, size=40, seed=2, samples=samples, **options)
    lengths = notes.lengths[mixtures.indices[:6].long()]
    assert (lengths < samples).any()
    assert (lengths > samples).any()
    audio, target = mixtures.batch(range(6), device=device)
    expected = slow_batch(mixtures, range(6))
    assert audio.dtype == torch.float32
    assert audio.shape == (6, samples)
    assert audio.device.type == device
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(audio.cpu().numpy(), expected, atol=1e-6, rtol=0)
    assert target.sum(1).tolist() == [3] * 6


def test_default_window_is_the_studys(notes, classes):
    assert SAMPLES == 65_024
    mixtures = Mixtures(notes, classes, n=2, size=4)
    audio, _ = mixtures.batch([0, 3])
    assert audio.shape == (2, 65_024)
    a, b = (notes.audio[i, :SAMPLES].double() for i in mixtures.indices[3].tolist())
    width = min(SAMPLES, notes.audio.shape[1])
    torch.testing.assert_close(audio[1, :width].double(), ((a + b) / 2)[:width], atol=1e-6, rtol=0)


def test_targets_are_multi_hot(notes, classes):
    mixtures = Mixtures(notes, classes, n=3, size=20)
    targets = mixtures.targets()
    assert targets.shape == (20, 72)
    for i, row in enumerate(mixtures.indices.tolist()):
        expected = torch.zeros(72)
        for index in row:
            expected[classes.names.index(f"{notes.table['instrument'][index]} {notes.table['pitch'][index]}")] = 1
        assert torch.equal(targets[i], expected)
        assert torch.equal(mixtures.batch([i])[1][0], expected)
        assert mixtures.labels(i) == [classes.names[c] for c in classes.of_note[row].tolist()]


def test_save_writes_audio_and_labels(notes, classes, tmp_path):
    mixtures = Mixtures(notes, classes, n=3, size=5, gain_db=(-6, 0), onset=0.1, samples=20_000)
    path = mixtures.save(tmp_path / "new" / "mix", 2)
    assert path == tmp_path / "new" / "mix.wav"
    audio, rate = soundfile.read(path)
    info = soundfile.info(path)
    assert (rate, info.subtype, info.channels) == (44_100, "PCM_16", 1)
    np.testing.assert_allclose(audio, mixtures.batch([2])[0][0].numpy(), atol=1 / 32_768)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["classes"] == mixtures.labels(2)
    rebuilt = np.zeros(20_000)
    for note, index in zip(card["notes"], mixtures.indices[2].tolist(), strict=True):
        row = notes.table.loc[index]
        assert (note["instrument"], note["pitch"], note["file"]) == (row["instrument"], row["pitch"], row["file"])
        start = note["start_sample"]
        part = notes.audio[index, max(start, 0) : max(start, 0) + 20_000 + min(start, 0)].double().numpy()
        rebuilt[max(-start, 0) : max(-start, 0) + len(part)] += note["gain"] * part * card["scale"]
    np.testing.assert_allclose(audio, rebuilt, atol=2 / 32_768)


def test_what_is_left_out_of_a_recipe_is_plain(notes, classes, tmp_path):
    plain = Mixtures(notes, classes, n=2, size=2, samples=4000)
    card = json.loads(plain.save(tmp_path / "plain").with_suffix(".json").read_text())
    assert [(note["gain"], note["start_sample"]) for note in card["notes"]] == [(1.0, 0)] * 2
    late = Mixtures.from_recipe(notes, classes, [[0, 1], [0, 1]], starts=[[90_000] * 2, [-100, 90_000]], samples=4000)
    assert late.ends(torch.arange(2)).tolist() == [0, 4000], "all of the first's notes are over"
    assert late.audio([0]).abs().max() == 0
    assert repr(late).endswith("seed 0)")


def test_how_many_notes_sound_stays_the_same_for_a_seed(notes, classes):
    made = Mixtures(notes, classes, n=(1, 5), size=50, seed=6)
    counts = torch.randint(1, 6, (50,), generator=torch.Generator().manual_seed(7))
    assert torch.equal(made.present.sum(1), counts)


def test_save_scales_what_would_clip(tmp_path):
    tone = np.sin(np.arange(4410) / 20).astype(np.float32)
    notes = NoteLibrary.from_audio(pd.DataFrame({"instrument": ["Fl", "Ob"], "pitch": ["A4", "A4"]}), [tone, tone])
    mixtures = Mixtures(notes, Classes(notes), n=2, size=1, gain_db=(6, 6.01), samples=4410)
    path = mixtures.save(tmp_path / "loud.v2")
    assert path.name == "loud.v2.wav"
    audio, _ = soundfile.read(path)
    assert np.abs(audio).max() == pytest.approx(1, abs=1e-3)
    assert json.loads((tmp_path / "loud.v2.json").read_text())["scale"] == pytest.approx(0.5 / 10 ** (6 / 20), rel=2e-3)
    with pytest.raises(ValueError, match="There is no mixture 1: the set has 1, numbered from 0"):
        mixtures.save(tmp_path / "none", 1)


# Bad input


def test_one_sentence_for_each_mistake(notes, classes):
    small = small_library({("Picc", "A6"): 2, ("Ob", "A4"): 2})
    for options, sentence in (
        ({"n": 73}, "A mixture of 73 distinct classes cannot be drawn: the pool has 72 classes"),
        ({"n": 7, "per_instrument": 1}, "7 notes cannot be drawn: 6 instruments with at most 1 each allow 6"),
        ({"instruments": ["Flu"]}, "Unknown instrument 'Flu': did you mean 'Fl'"),
        ({"pitch_range": ("C1", "C2")}, r"No note is left to mix: instruments=None, pitch_range=\('C1', 'C2'\)"),
        ({"pool": torch.tensor([], dtype=torch.long)}, "No note is left to mix"),
        ({"n": 0}, r"n must be a number or \(smallest, largest\) with 1 ≤ smallest ≤ largest, but is 0"),
        ({"size": 0}, "needs size and samples ≥ 1.*got size=0"),
        ({"onset": -1.0}, "onset=-1.0"),
        ({"gain_db": (0, -6)}, r"gain_db=\(0, -6\)"),
        ({"window": "rand"}, "Unknown window 'rand': did you mean 'random'"),
        ({"pool": torch.tensor([0, 1, 2]), "n": 2}, "A mixture of 2 distinct classes cannot be drawn: the pool has 1"),
        ({"exclude": Mixtures(small, Classes(small), size=2)}, "of another library .'small'. than these .'tiny'."),
    ):
        with pytest.raises(ValueError, match=sentence):
            Mixtures(notes, classes, **options)
    with pytest.raises(ValueError, match=r"describe 216 notes, but the library 'small' has 4.*classes\.on"):
        Mixtures(small, classes)


def test_mixing_into_silence_gives_the_same_audio(notes, classes):
    mixtures = Mixtures(notes, classes, n=3, size=6, seed=2, gain_db=(-12, 0), onset=0.3)
    out = torch.zeros(4, mixtures.samples + 100)
    mixtures.audio([5, 0, 2, 2], out=out[:, 50 : 50 + mixtures.samples])
    assert torch.equal(out[:, 50:-50], mixtures.audio([5, 0, 2, 2]))
    assert out[:, :50].abs().max() == out[:, -50:].abs().max() == 0


def test_a_recipe_is_the_set_that_it_was_written_from(notes, classes):
    drawn = Mixtures(notes, classes, n=3, size=5, gain_db=(-12, 0), onset=0.3, samples=9000)
    written = Mixtures.from_recipe(notes, classes, drawn.indices, drawn.gains, drawn.starts, samples=9000)
    assert torch.equal(written.audio(range(5)), drawn.audio(range(5)))
    assert torch.equal(written.targets(), drawn.targets())
    alone = Mixtures.from_recipe(notes, None, [[7]], samples=4000).audio([0])[0]
    assert torch.equal(alone, notes.audio[7, :4000].float())
    silent = Mixtures.from_recipe(notes, classes, [[0, 50]], gains=[[1, 0]])
    assert silent.labels(0) == [classes.names[classes.of_note[0]]]
    assert silent.targets().sum() == 1
    twice = Mixtures.from_recipe(notes, classes, [[3, 3]], gains=[[1, 1]])
    assert twice.targets().max() == 1
    for wrong, sentence in (
        ({"indices": [[0, 216]]}, "notes from 0 to 215, but this has 216"),
        ({"indices": [[0, 1]], "gains": [[1.0]]}, "of one shape"),
        ({"indices": [[0]], "gains": [[math.nan]]}, "gains must be finite"),
        ({"indices": []}, "of one shape"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Mixtures.from_recipe(notes, classes, **wrong)


def test_chance():
    assert chance_recall(2, 8) == 0.25
    assert math.isnan(chance_recall(2, 0))


def test_a_library_too_large_for_a_gpu_is_mixed_outside_of_it(tiny_library, monkeypatch):
    device = torch.device("cuda")
    need = tiny_library.audio.numel() * tiny_library.audio.itemsize
    for free, fits in ((2 * need, True), (2 * need - 2, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 80e9))
        assert tiny_library.fits(device) == fits
    mixtures = Mixtures(tiny_library, Classes(tiny_library), n=3, size=4, seed=0)
    expected = mixtures.audio([0, 3])
    monkeypatch.setattr(type(tiny_library), "fits", lambda *_: False)
    monkeypatch.setattr(type(tiny_library), "audio_on", lambda *_: pytest.fail("the library was copied"))
    mixed = mixtures.audio([0, 3], device="meta")  # in place of a GPU
    assert (mixed.device.type, mixed.shape) == ("meta", expected.shape)
