"""Recorded sounds that no orchestra plays: a solution lasts as long as they do, and few play it."""

import numpy as np
import pytest
import torch

import deeporch as do
from deeporch.orchestration.target import find_segments
from deeporch.util.audio import read_sound

RATE, FRAME = 44_100, 2205
ORCHESTRA = "Hn Ob Vn Va Vc Fl Tbn Bn TpC ClBb"


def levels(sound):
    """Return the level of each 50 ms, in dB below the loudest."""
    frames = np.square(sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)).mean(1) ** 0.5
    return 20 * np.log10(np.maximum(frames / frames.max(), 1e-9))


@pytest.mark.slow
def test_a_solution_sounds_wherever_its_target_does(philharmonia, recorded_targets):
    notes = do.load_library("philharmonia", root=philharmonia)
    paths = sorted(recorded_targets.glob("*.mp3"))
    assert len(paths) == 8
    for path in paths:
        (best,) = do.orchestrate(path, notes, ORCHESTRA, evaluations=300, solutions=1)
        assert len(best.notes) <= 10, path.name  # all eight are held or die away: a note a player at most
        target, ours = read_sound(path, None, RATE).numpy(), best.render()
        (span,) = find_segments(torch.from_numpy(target), RATE)  # noise before and after it is no sound
        first, last = (round(time * RATE / FRAME) for time in (span.begin, span.end))
        loud = np.flatnonzero(levels(target) > -12)
        assert first <= loud[0] + 1, path.name
        assert loud[-1] <= last, path.name
        sounding = slice(first + 1, min(last, len(ours) // FRAME) - 1)
        assert levels(ours)[sounding].min() > -60, path.name
