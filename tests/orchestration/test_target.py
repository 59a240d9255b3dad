"""Onsets, the smoothest path, and ties."""

import itertools

import numpy as np
import pytest
import torch
from tones import harmonic_tone

from deeporch.orchestration.solution import SolutionNote
from deeporch.orchestration.target import find_segments, movement, smoothest_path, tie

RATE = 44_100


def test_onsets_are_where_notes_begin():
    tones = [harmonic_tone(m, [1, 0.5, 0.3], 0.8) for m in (60, 67, 64)]
    sound = torch.from_numpy(np.concatenate(tones))
    found = find_segments(sound, RATE, "onsets")
    assert [b for _, b in found[:-1]] == [a for a, _ in found[1:]]
    np.testing.assert_allclose([a for a, _ in found], [0, 0.8, 1.6], atol=0.06)
    assert found[-1][1] == pytest.approx(2.4, abs=1e-3)
    assert find_segments(sound, RATE, "one") == [(0.0, pytest.approx(2.4, abs=1e-3))]
    assert len(find_segments(sound, RATE, "auto")) == 1
    assert find_segments(sound, RATE, [0.0, 1.0]) == [(0.0, 1.0), (1.0, pytest.approx(2.4, abs=1e-3))]


def test_no_segment_is_longer_than_a_note():
    found = find_segments(torch.randn(9 * RATE) * 0.1, RATE, "one")
    np.testing.assert_allclose(found, [(0, 3), (3, 6), (6, 9)])


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


def test_notes_that_go_on_are_tied():
    def note(row, onset, player=0, duration=1.0):
        return SolutionNote(row, player, "Fl", "C4", 60, "mf", onset=onset, duration=duration)

    notes = [note(0, 0.0), note(1, 0.0, 1), note(0, 1.0), note(1, 1.5, 1), note(0, 2.0), note(2, 3.0)]
    tied = tie(notes, [2.0, 4.0, 1.0])
    assert [(n.note, n.onset, n.duration) for n in tied] == [
        (0, 0.0, 2.0), (1, 0.0, 1.0), (1, 1.5, 1.0), (0, 2.0, 1.0), (2, 3.0, 1.0),
    ]  # fmt: skip
