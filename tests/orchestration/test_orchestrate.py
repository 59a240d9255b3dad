"""From a target to solutions: any sound, every option, one sentence for bad input, partial results, files."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

import deeporch as do
from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.distances import DISTANCES
from deeporch.orchestration.orchestra import as_it_sounds
from deeporch.orchestration.orchestrate import EARNED, orchestrate
from deeporch.orchestration.selection import counted
from deeporch.orchestration.solution import SolutionNote
from deeporch.orchestration.target import cents_off, find_partials, find_segments

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
    distances = [each.distance for each in found]
    assert distances == sorted(distances)
    assert len({frozenset(names(each)) for each in found}) == 3
    assert found[0].orchestra == tuple(ORCHESTRA.split())
    assert found[0].seconds == pytest.approx(1.0, abs=0.02)
    for each in found:  # the distance is that of its sound, with what its notes cost
        audio = torch.from_numpy(each.render())[None]
        begin = len(sound) - audio.shape[1]
        expected = float(DISTANCES["combined"](sound[begin:], audio)[0]) * (1 + EARNED) ** counted(
            each.notes, np.ones(len(tiny_library))
        )
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


@pytest.mark.parametrize("weights", [{"Fl": 40}, "Fl=40"])
def test_instruments_that_cost_more_are_played_less(tiny_library, sound, weights):
    common = {"sample_rate": RATE, "evaluations": 3000, "solutions": 1}
    (plain,), (dear,) = (orchestrate(sound, tiny_library, "Fl Vn Hn", weights=w, **common) for w in ("", weights))
    assert {note.instrument for note in plain.notes} >= {"Fl", "Hn"}
    assert "Fl" not in {note.instrument for note in dear.notes}
    assert counted(plain.notes, np.where(tiny_library.table["instrument"] == "Fl", 40.0, 1.0)) >= 41


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("Fo=2", "weighed instrument"),
        ("Fl", "The weight of Fl is a number, e.g. Fl=3, but is ''"),
        ("Fl=-1", "The weight of Fl must lie between 0 and 1000"),
    ],
)
def test_weights_that_are_none_are_refused(tiny_library, sound, weights, words):
    with pytest.raises(ValueError, match=words):
        orchestrate(sound, tiny_library, "Fl Vn", sample_rate=RATE, weights=weights)


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
    assert tuned.distance < 0.9 * as_is.distance


def test_a_target_that_changes_is_orchestrated_segment_by_segment(tiny_library, cache):
    rows = [row(tiny_library, *note) for note in (("Fl", "E4"), ("Hn", "C4"), ("Hn", "A#4"))]
    fl, low, high = (tiny_library.audio[i, : RATE // 2].float() for i in rows)
    sound = torch.cat([fl + low, fl + high])
    (best, *_) = orchestrate(sound, tiny_library, "Fl Hn", sample_rate=RATE, segments=[0.5], **QUICK)
    horn = [(note.pitch, round(note.onset, 2)) for note in best.notes if note.instrument == "Hn"]
    assert horn == [("C4", 0.0), ("A#4", 0.5)]
    assert {note.pitch for note in best.notes if note.instrument == "Fl"} == {"E4"}


def test_a_recording_of_the_library_is_one_note_though_its_attack_seems_a_change(tiny_library, cache, monkeypatch):
    def halves(sound, rate, how):
        return find_segments(sound, rate, [0.4] if how == "auto" else how)

    monkeypatch.setattr("deeporch.orchestration.orchestrate.find_segments", halves)
    one, other = (tiny_library.sound(row(tiny_library, "Vn", pitch)).float() for pitch in ("E4", "A#4"))
    options = {"sample_rate": RATE, "evaluations": 500, "solutions": 1}
    (best,) = orchestrate(one, tiny_library, ORCHESTRA, **options)
    assert [(note.instrument, note.pitch, note.onset) for note in best.notes] == [("Vn", "E4", 0.0)]
    (best,) = orchestrate(torch.cat([one[: int(0.4 * RATE)], other]), tiny_library, ORCHESTRA, **options)
    assert len({note.onset for note in best.notes}) == 2


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
        ({"pitches": "C9"}, "The filters leave the orchestra without notes: the pitches C9 emptied Fl, Ob"),
        ({"evaluations": 0}, "nothing to search with: evaluations must be more than 0, but is 0"),
        ({"seconds": 0.0}, r"nothing to search with: seconds must be more than 0, but is 0\.0"),
        ({"distance": "cosinus"}, "Unknown distance 'cosinus': did you mean 'cosine'"),
        ({"solutions": 0}, "solutions must lie between 1 and"),
        ({"note_cost": float("nan")}, "note_cost must lie between 0 and 10, but is nan"),
        ({"note_cost": -5.0}, "note_cost must lie between 0 and 10, but is -5"),
        ({"min_notes": 5, "pitches": "C4", "fixed": ["Vc C9"]}, "The fixed note 'Vc C9'"),
        ({"min_notes": 7}, "min_notes must lie between 1 and 6"),
        ({"max_notes": 0}, "max_notes must lie between 1 and 6"),
        ({"partial_filter": 1.5}, "partial_filter must lie between 0 and 1"),
        ({"segments": "beats"}, "Unknown way to find segments 'beats'"),
        ({"segments": [0.7, 0.2]}, "Segments begin at ascending times between 0 and"),
        ({"fixed": ["Vc C9"]}, "The fixed note 'Vc C9' is not in the library"),
        ({"device": "gpu7"}, "Unknown device 'gpu7': use 'auto', 'cpu', 'cuda' or 'mps'"),
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


@pytest.mark.parametrize("options", [{"seconds": 0.05}, {"evaluations": 1}, {"evaluations": 10, "max_notes": 3}])
def test_a_small_budget_keeps_the_fewest_notes(tiny_library, sound, options):
    for each in orchestrate(sound, tiny_library, ORCHESTRA, sample_rate=RATE, min_notes=3, **options):
        assert len(each.notes) >= 3


def test_every_segment_gets_an_answer_before_any_gets_its_second(tiny_library, cache):
    pitches = ("C4", "E4", "G4", "B4")
    parts = [tiny_library.audio[row(tiny_library, "Vn", pitch), : RATE // 2].float() for pitch in pitches * 3]
    begins = [0.5 * k for k in range(1, 12)]
    (best,) = orchestrate(
        torch.cat(parts), tiny_library, "Fl Vn", sample_rate=RATE, segments=begins, evaluations=12, solutions=1
    )
    covered = [any(n.onset <= t + 0.1 < n.onset + n.duration for n in best.notes) for t in (0.0, *begins)]
    assert all(covered)
    counts = []
    orchestrate(
        torch.cat(parts), tiny_library, "Fl Vn", sample_rate=RATE, segments=begins, evaluations=400, solutions=1,
        progress=lambda evaluations, best, fraction: counts.append(evaluations),
    )  # fmt: skip
    assert counts[:12] == list(range(1, 13))  # a sketch of each, at the cost of one evaluation


def test_a_held_sound_is_one_chord_however_long(tiny_library, cache):
    time = np.arange(6 * RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 261.6 * k * time) / k for k in range(1, 6)).astype(np.float32)
    for solution in orchestrate(sound, tiny_library, ORCHESTRA, sample_rate=RATE, **QUICK):
        assert len(solution.notes) <= len(ORCHESTRA.split())
        assert {(note.onset, round(note.duration, 1)) for note in solution.notes} == {(0.0, 6.0)}


def test_dynamics_follow_the_level_of_a_target_that_changes(tiny_library, cache):
    loud, soft = (
        tiny_library.audio[row(tiny_library, "Vn", pitch, "ff"), : RATE // 2].float() for pitch in ("C4", "G4")
    )
    sound = torch.cat([loud, 0.05 * soft])
    (best,) = orchestrate(sound, tiny_library, "Vn", sample_rate=RATE, segments=[0.5], **QUICK | {"solutions": 1})
    first, second = sorted(best.notes, key=lambda note: note.onset)
    assert (first.pitch, second.pitch) == ("C4", "G4")
    stem = best.render()
    levels = [float(np.square(part).mean()) for part in (stem[2000:20_000], stem[24_000:42_000])]
    assert 10 * np.log10(levels[0] / levels[1]) > 15


def test_a_lone_partial_is_one_note(tiny_library):
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    sampled = do.load_library("soundfont").select(instruments=["Hn", "Fl", "Bn", "Vc"], pitch_range=("A2", "E5"))
    for notes, players in ((tiny_library, ORCHESTRA), (sampled, "Hn Fl Bn Vc")):  # a bassoon's D3 has its colour
        best = orchestrate(sine, notes, players, sample_rate=RATE, **QUICK)[0]
        assert [note.pitch for note in best.notes] == ["A4"]


def test_a_note_beside_another_counts_as_three(tiny_library):
    def note(midi, onset=0.0):
        return SolutionNote(0, 0, "Fl", "?", midi, "mf", onset=onset, duration=1.0)

    one, half = np.ones(1), np.full(1, 0.5)
    assert counted([note(60), note(62), note(74)], one) == 3
    assert counted([note(60), note(60), note(61)], one) == 7
    assert counted([note(60), note(60), note(61)], half) == 3.5
    assert counted([note(60), note(60, 1.0)], one) == 2  # one after the other


def test_a_note_of_the_library_is_that_note(tiny_library, cache):
    for instrument, pitch in (("Ob", "D4"), ("Hn", "G4")):
        sound = tiny_library.sound(row(tiny_library, instrument, pitch)).float()
        best = orchestrate(sound, tiny_library, ORCHESTRA, sample_rate=RATE, **QUICK)[0]
        assert names(best) == {f"{instrument} {pitch}"}
        assert len(best.notes) == 1


def test_misnamed_recordings_are_taken_as_they_sound(tiny_library):
    table = tiny_library.table.assign(
        instrument="Tbn", dynamic="f", length="1", take="1", named=tiny_library.table["pitch"]
    )
    named = NoteLibrary(table, tiny_library.audio, name="philharmonia", key="named")
    heard = as_it_sounds(named)  # a trombone's f from E3 on is named an octave too high
    assert (heard.table["midi"] == table["midi"] - 12).all()
    assert (heard.table["take"] == "1 (" + table["named"] + ")").all()
    assert as_it_sounds(heard) is heard
    assert as_it_sounds(tiny_library) is tiny_library


def test_the_package_offers_it():
    assert do.orchestrate is orchestrate
    assert "partials" in do.DISTANCES
