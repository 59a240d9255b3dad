"""Onsets, the smoothest path, and ties."""

import itertools

import numpy as np
import pytest
import torch
from tones import harmonic_tone

from deeporch.orchestration.solution import SolutionNote
from deeporch.orchestration.target import GRID, find_segments, movement, smoothest_path, struck, tie

RATE = 44_100


def spans(segments):
    return [(segment.begin, segment.end) for segment in segments]


def test_onsets_are_where_notes_begin():
    tones = [harmonic_tone(m, [1, 0.5, 0.3], 0.8) for m in (60, 67, 64)]
    sound = torch.from_numpy(np.concatenate(tones))
    found = spans(find_segments(sound, RATE, "onsets"))
    assert [b for _, b in found[:-1]] == [a for a, _ in found[1:]]
    np.testing.assert_allclose([a for a, _ in found], [0, 0.8, 1.6], atol=0.06)
    assert found[-1][1] == pytest.approx(2.4, abs=0.1)
    assert len(find_segments(sound, RATE, "one")) == 1
    changes = spans(find_segments(sound, RATE, "auto"))
    np.testing.assert_allclose([a for a, _ in changes], [0, 0.75, 1.625], atol=0.13)
    assert all(begin % GRID == 0 for begin, _ in changes[1:])
    assert spans(find_segments(sound, RATE, [0.0, 1.0])) == [(0.0, 1.0), (1.0, pytest.approx(2.4, abs=1e-3))]


def tone(hertz, seconds, decay=np.inf):
    time = np.arange(round(seconds * RATE)) / RATE
    partials = [np.exp(-time * k / decay) * np.sin(2 * np.pi * hertz * k * time + k) / k for k in range(1, 12)]
    return 0.1 * np.sum(partials, 0)


@pytest.mark.parametrize("seconds", [1.0, 4.3, 9.0])
def test_what_is_held_or_dies_away_is_one_segment(seconds):
    """However long it lasts, and whatever its partials do; vibrato is no change either."""
    time = np.arange(round(seconds * RATE)) / RATE
    vibrato = np.sin(2 * np.pi * (220 * time - 0.5 * np.cos(2 * np.pi * 5.5 * time)))
    noise = np.random.default_rng(0).normal(size=len(time)) * 0.05
    bell = sum(tone(hertz, seconds, decay) for hertz, decay in ((220, 2.0), (262, 1.0), (583, 0.4)))
    for sound in (tone(220, seconds) + tone(311, seconds), vibrato, noise, bell):
        (one,) = find_segments(torch.from_numpy(sound.astype(np.float32)), RATE)
        assert one.begin == pytest.approx(0, abs=0.05)
        assert one.seconds > 0.4 * seconds


def test_a_glissando_changes():
    time = np.arange(4 * RATE) / RATE
    sound = np.sin(2 * np.pi * np.cumsum(220 * 2 ** (time / 2)) / RATE)
    assert 4 <= len(find_segments(torch.from_numpy(sound.astype(np.float32)), RATE)) <= 12


def test_noise_before_a_sound_and_silence_after_it_are_rests():
    hiss = 0.004 * np.random.default_rng(0).normal(size=round(1.5 * RATE))
    sound = torch.from_numpy(np.concatenate([hiss, tone(220, 1.0), np.zeros(RATE)]).astype(np.float32))
    for how in ("auto", "one"):
        segments = find_segments(sound, RATE, how)
        assert segments[0].begin == pytest.approx(1.5, abs=0.15)
        assert segments[-1].end == pytest.approx(2.5, abs=0.1)
        assert len(segments) == 1


def test_levels_follow_the_target():
    sound = torch.from_numpy(np.concatenate([tone(220, 1.0), 0.1 * tone(220, 1.0)]).astype(np.float32))
    loud, soft = find_segments(sound, RATE, [1.0])
    assert loud.level == 0
    assert soft.level == pytest.approx(-20, abs=1)
    (falling,) = find_segments(torch.from_numpy(tone(220, 2.0, 2.0).astype(np.float32)), RATE)
    assert falling.swell == pytest.approx(-20 * 2 / 2 / np.log(10), abs=1.5)  # of the fundamental


def test_the_smoothest_path_is_that_of_all_paths():
    generator = np.random.default_rng(0)
    costs = [generator.random(n) for n in (4, 3, 5)]
    moves = [generator.random((4, 3)), generator.random((3, 5))]
    paths = itertools.product(range(4), range(3), range(5))

    def total(path):
        return sum(c[i] for c, i in zip(costs, path, strict=True)) + sum(
            m[i, j] for m, i, j in zip(moves, path, path[1:], strict=False)
        )

    assert smoothest_path(costs, moves) == list(min(paths, key=total))


def test_movement_is_the_mean_interval():
    before, after = np.array([[60.0, 64.0]]), np.array([[60.0, 64.0], [62.0, np.nan], [90.0, 65.0]])
    np.testing.assert_allclose(movement(before, after), [[0, 1 / 12, (1 + 1 / 12) / 2]])


def test_new_notes_are_counted():
    before, after = np.array([[5, 7]]), np.array([[5, 7], [6, -1], [8, 9]])
    np.testing.assert_allclose(struck(before, after), [[0, 0.5, 1]])


def test_notes_that_go_on_are_tied():
    def note(row, onset, player=0, duration=1.0):
        return SolutionNote(row, player, "Fl", "C4", 60, "mf", onset=onset, duration=duration)

    notes = [note(0, 0.0), note(1, 0.0, 1), note(0, 1.0), note(1, 1.5, 1), note(0, 2.0), note(2, 3.0)]
    tied = tie(notes)
    assert [(n.note, n.onset, n.duration) for n in tied] == [
        (0, 0.0, 3.0), (1, 0.0, 1.0), (1, 1.5, 1.0), (2, 3.0, 1.0),
    ]  # fmt: skip
