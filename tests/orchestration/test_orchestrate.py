"""From a target to solutions: any sound, every option, one sentence for bad input, partial results, files."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

import deeporch as do
from deeporch.orchestration.distances import DISTANCES
from deeporch.orchestration.orchestrate import orchestrate
from deeporch.orchestration.target import cents_off, find_partials

RATE = 44_100
ORCHESTRA = "Fl Ob ClBb Hn Vn Vc"
QUICK = {"evaluations": 3000, "solutions": 3}


def row(library, instrument, pitch, dynamic="mf"):
    table = library.table
    found = (table["instrument"] == instrument) & (table["pitch"] == pitch) & (table["dynamic"] == dynamic)
    return int(np.flatnonzero(found)[0])


@pytest.fixture
def sound(tiny_library, cache):
    """Flute E4 and horn A#4, 1 s."""
    rows = [row(tiny_library, "Fl", "E4"), row(tiny_library, "Hn", "A#4", "ff")]
    return tiny_library.audio[rows].float().sum(0)[:RATE]


def names(solution):
    return {f"{note.instrument} {note.pitch}" for note in solution.notes}


def test_solutions_are_ranked_distinct_and_what_was_played_wins(tiny_library, sound):
    found = orchestrate(sound, tiny_library, ORCHESTRA, sample_rate=RATE, **QUICK)
    assert len(found) == 3
    assert names(found[0]) >= {"Fl E4", "Hn A#4"}
    costs = [each.distance * 1.01 ** len(each.notes) for each in found]
    assert costs == sorted(costs)
    assert len({frozenset(names(each)) for each in found}) == 3
    assert found[0].orchestra == tuple(ORCHESTRA.split())
    assert found[0].seconds == pytest.approx(1.0, abs=0.02)
    for each in found:  # the distance is that of what is heard
        heard = torch.from_numpy(each.render())[None]
        begin = len(sound) - heard.shape[1]
        expected = float(DISTANCES["partials"](sound[begin:], heard)[0])
        assert each.distance == pytest.approx(expected, abs=0.02)


def test_any_form_of_the_same_sound_gives_the_same(tiny_library, sound, tmp_path):
    soundfile.write(tmp_path / "target.wav", np.stack([sound, sound], 1), RATE, subtype="FLOAT")
    forms = [
        {"target": tmp_path / "target.wav"},
        {"target": str(tmp_path / "target.wav")},
        {"target": sound.numpy(), "sample_rate": RATE},
        {"target": torch.stack([sound, sound]), "sample_rate": RATE},
    ]
    found = [orchestrate(notes=tiny_library, orchestra=ORCHESTRA, **form, **QUICK)[0] for form in forms]
    assert all(names(each) == names(found[0]) for each in found)
    half = orchestrate(sound.numpy()[::2], tiny_library, ORCHESTRA, sample_rate=RATE // 2, **QUICK)
    assert names(half[0]) >= {"Fl E4", "Hn A#4"}


def test_options_restrict_what_is_played(tiny_library, sound):
    common = {"sample_rate": RATE, **QUICK}
    for each in orchestrate(
        sound, tiny_library, ORCHESTRA, max_notes=2, pitch_range=("D4", "A#4"), dynamics="pp mf", **common
    ):
        assert len(each.notes) <= 2
        assert all(62 <= note.midi <= 70 and note.dynamic in ("pp", "mf") for note in each.notes)
    for each in orchestrate(sound, tiny_library, ORCHESTRA, min_notes=5, fixed=["Vc C4 ff"], **common):
        assert len(each.notes) >= 5
        assert ("Vc", "C4", "ff") in {(note.instrument, note.pitch, note.dynamic) for note in each.notes}
    for each in orchestrate(sound, tiny_library, ORCHESTRA, partial_filter=0.3, **common):
        assert {note.pitch for note in each.notes} <= {"E4", "A#4"}
    locked = orchestrate(sound, tiny_library, "Fl Fl Hn", **common)[0].notes[:1]
    for each in orchestrate(sound, tiny_library, "Fl Fl Hn", fixed=locked, **common):
        assert (locked[0].note, locked[0].player) in {(note.note, note.player) for note in each.notes}


def test_diversity_makes_solutions_differ_more(tiny_library, sound):
    alike = []
    for diversity in (0.0, 3.0):
        found = orchestrate(
            sound, tiny_library, ORCHESTRA, sample_rate=RATE, diversity=diversity, **QUICK | {"evaluations": 20_000}
        )
        pairs = itertools.combinations([names(each) for each in found], 2)
        alike.append(np.mean([len(a & b) / len(a | b) for a, b in pairs]))
    assert alike[1] < alike[0] - 0.1


def test_retuning_follows_the_partials(tiny_library, cache):
    time = np.arange(RATE) / RATE
    hertz = 440 * 2 ** ((64.3 - 69) / 12)  # 30 cents above E4
    sound = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 5)).astype(np.float32)
    pitches, strengths = find_partials(torch.from_numpy(sound), RATE, threshold=0.2)
    np.testing.assert_allclose(pitches, 64.3 + 12 * np.log2([1, 2, 3, 4]), atol=0.02)
    np.testing.assert_allclose(strengths, [1, 1 / 2, 1 / 3, 1 / 4], rtol=0.05)
    np.testing.assert_allclose(cents_off(np.array([64, 65, 76, 40]), pitches), [30, 0, 30, 0], atol=2)
    as_is, tuned = (
        orchestrate(sound, tiny_library, "Fl", sample_rate=RATE, retune=retune, **QUICK)[0] for retune in (False, True)
    )
    assert names(tuned) == {"Fl E4"}
    assert tuned.notes[0].cents == pytest.approx(30, abs=2)
    assert tuned.distance < 0.8 * as_is.distance


def test_a_target_that_changes_is_orchestrated_segment_by_segment(tiny_library, cache):
    rows = [row(tiny_library, *note) for note in (("Fl", "E4"), ("Hn", "C4"), ("Hn", "A#4"))]
    fl, low, high = (tiny_library.audio[i, : RATE // 2].float() for i in rows)
    sound = torch.cat([fl + low, fl + high])
    (best, *_) = orchestrate(sound, tiny_library, "Fl Hn", sample_rate=RATE, segments=[0.5], **QUICK)
    horn = [(note.pitch, round(note.onset, 2)) for note in best.notes if note.instrument == "Hn"]
    assert horn == [("C4", 0.0), ("A#4", 0.5)]
    assert {note.pitch for note in best.notes if note.instrument == "Fl"} == {"E4"}


def test_silent_or_broken_targets_are_told_apart(tiny_library, cache, tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all")
    broken = np.ones(RATE, dtype=np.float32)
    broken[7] = np.nan
    for target, sentence in (
        (np.zeros(RATE), "is silent"),
        (tmp_path / "text.wav", r"text.wav' is no sound that can be read"),
        (tmp_path / "none.wav", r"There is no sound file .*none.wav"),
        (broken, "not finite"),
        (np.ones((3, 3, 3)), r"must be \[samples\] or \[samples, channels\]"),
        (np.sin(np.arange(1000)), r"duration in seconds must lie between 0\.05 and 60"),
        (np.sin(np.arange(61 * 1000)), r"duration in seconds must lie between 0\.05 and 60"),
    ):
        rate = None if not isinstance(target, np.ndarray) else 1000 if len(target) == 61_000 else RATE
        with pytest.raises((ValueError, FileNotFoundError), match=sentence) as caught:
            orchestrate(target, tiny_library, ORCHESTRA, sample_rate=rate)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"orchestra": "Fl Obo"}, "Unknown instrument 'Obo' in the orchestra: did you mean 'Ob'"),
        ({"pitches": "C9"}, "The filters leave the orchestra without notes: pitches C9 emptied Fl, Ob"),
        ({"evaluations": 0}, "nothing to search with: evaluations must be more than 0, but is 0"),
        ({"seconds": 0.0}, r"nothing to search with: seconds must be more than 0, but is 0\.0"),
        ({"distance": "cosinus"}, "Unknown distance 'cosinus': did you mean 'cosine'"),
        ({"solutions": 0}, "solutions must lie between 1 and"),
        ({"min_notes": 7}, "min_notes must lie between 1 and 6"),
        ({"max_notes": 0}, "max_notes must lie between 1 and 6"),
        ({"partial_filter": 1.5}, "partial_filter must lie between 0 and 1"),
        ({"segments": "beats"}, "Unknown way to find segments 'beats'"),
        ({"segments": [0.7, 0.2]}, "Segments begin at ascending times between 0 and"),
        ({"fixed": ["Vc C9"]}, "The fixed note 'Vc C9' is not in the library"),
        ({"device": "gpu7"}, "Unknown device 'gpu7': use 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_options_that_cannot_be_used(tiny_library, sound, options, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as caught:
        orchestrate(sound, tiny_library, **{"orchestra": ORCHESTRA, "sample_rate": RATE, **options})
    assert "\n" not in str(caught.value)


def test_an_interrupted_search_returns_what_it_found(tiny_library, sound):
    def interrupt(evaluations, best, fraction):
        if evaluations > 500:
            raise KeyboardInterrupt

    for options in ({"progress": interrupt}, {"stop": lambda: True}, {"seconds": 1e-6}, {"evaluations": 1}):
        found = orchestrate(sound, tiny_library, ORCHESTRA, sample_rate=RATE, **options)
        assert 1 <= len(found) <= 5
        assert all(np.isfinite(each.distance) and each.notes for each in found)


def test_the_package_offers_it():
    assert do.orchestrate is orchestrate
    assert "partials" in do.DISTANCES
