"""NoteFrames.window against a slow loop, at every edge: before the lead, at the end of a note, beyond it."""

import pytest
import torch

from deeporch.features.note_frames import ATTACK, NoteFrames, _move, stretched


@pytest.fixture
def frames():
    count = torch.tensor([4, 9, 6])
    values = torch.arange(1, 1 + int(count.sum()) * 2 * 2).view(-1, 2, 2).half()
    return NoteFrames(values, count, torch.ones(3), lead=2)


@pytest.mark.parametrize("start", [-9, -5, -3, -2, -1, 0, 1, 2, 3, 6, 7, 20])
def test_a_window_is_the_notes_own_frames_and_zeros_elsewhere(frames, start):
    rows, length = torch.tensor([2, 0, 1, 1]), 5
    found = frames.window(rows, torch.full((4,), start), length)
    first = [0, 4, 13]
    for out, row in zip(found, rows.tolist(), strict=True):
        for k in range(length):
            place = start + frames.lead + k
            inside = 0 <= place < int(frames.count[row])
            expected = frames.values[first[row] + place] if inside else torch.zeros(2, 2).half()
            assert torch.equal(out[k], expected), (row, k)


def test_without_lead_and_cut_to_the_window_rows_are_whole():
    values = torch.rand(6, 2, 2).half()
    cut = NoteFrames(values, torch.tensor([3, 3]), torch.ones(2), 0)
    assert torch.equal(cut.window(torch.tensor([1, 0]), torch.zeros(2).long(), 3), values.view(2, 3, 2, 2)[[1, 0]])
    lead = NoteFrames(values, torch.tensor([3, 3]), torch.ones(2), 1)  # counts alone do not decide
    assert torch.equal(lead.window(torch.tensor([0]), torch.tensor([0]), 3)[0, :2], values[1:3])


def test_the_attack_keeps_its_pace_and_the_rest_is_drawn_out():
    found = stretched(torch.tensor([1.0, 0.5, 2.0]), 12).tolist()
    assert found[0] == list(range(12))
    for factor, row in zip((1.0, 0.5, 2.0), found, strict=True):
        assert row[:ATTACK] == list(range(6))
        assert row[6:] == [6 + round((k - 6) / factor) for k in range(6, 12)]


@pytest.mark.parametrize("up", [-3, -1, 0, 2, 5])
def test_bins_move_and_silence_comes_in(up):
    window = torch.rand(1, 2, 4, 2)
    moved = _move(window, torch.tensor([up]))
    for place in range(4):
        expected = window[:, :, place - up] if 0 <= place - up < 4 else torch.zeros(1, 2, 2)
        assert torch.equal(moved[:, :, place], expected)
