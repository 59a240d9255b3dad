"""What becomes of the notes that a search found: each step of the selection against what it must give."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.distances import DISTANCES
from deeporch.orchestration.orchestra import candidates
from deeporch.orchestration.search.problem import SearchProblem
from deeporch.orchestration.search.state import SearchState
from deeporch.orchestration.selection import _as_loud, _memberships, _notes, _pass_on, _paths, _swelling, jaccard, pick
from deeporch.orchestration.solution import Solution, SolutionNote
from deeporch.orchestration.target import Segment, swells

RATE = 44_100


def test_what_sets_have_in_common():
    sets = np.array([[1.0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert jaccard(sets, np.array([1.0, 0, 0])).tolist() == [0.5, 1, 0, 0]
    assert jaccard(sets, np.zeros(3)).tolist() == [0, 0, 0, 0]


def test_members_are_instruments_and_pitches_whatever_the_dynamic_and_rests_are_none():
    table = pd.DataFrame({"instrument": ["Fl", "Fl", "Fl", "Ob"], "pitch": ["C4", "C4", "D4", "C4"]})
    problem = SimpleNamespace(notes=SimpleNamespace(table=table), rows=np.array([0, 1, 3]))
    found = _memberships(SimpleNamespace(problem=problem), torch.tensor([[0, 3], [1, 2], [3, 3]]))
    assert found.tolist() == [[1, 0], [1, 1], [0, 0]]


def test_a_path_pays_for_what_was_chosen_before_and_for_being_alike():
    costs, sets = [np.array([1.0, 1.5, 2.4])], [np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])]
    assert _paths(costs, [], sets, 1, 0.0, 10) == [(0,)]
    assert _paths(costs, [], sets, 2, 0.0, 10) == [(0,), (1,)], "the first pays 1 from now on"
    assert _paths(costs, [], sets, 2, 1.0, 10) == [(0,), (2,)], "the second is the first's notes again"
    assert _paths(costs, [], sets, 3, 0.0, 1e-6) == [(0,)], "tried six times"
    assert costs[0].tolist() == [1.0, 1.5, 2.4]


def test_notes_are_passed_on_to_segments_that_may_have_them(tiny_library, cache):
    sound, table = tiny_library.sound(0).float()[:RATE], tiny_library.table
    players = candidates(tiny_library, ["Fl"], []), candidates(tiny_library, ["Hn"], [])
    given = players[0], [players[0][0][:1]], players[1]
    states = [SearchState(SearchProblem(sound, tiny_library, each, DISTANCES["partials"], 1.0)) for each in given]
    for state in states:
        state.keep(torch.tensor([0]), 1.0)
    states[0].keep(torch.tensor([2]), 2.0)
    _pass_on(states)
    assert [len(state.found) for state in states] == [2, 1, 1], "of others it has no recordings"
    assert table["instrument"].iloc[states[2].problem.rows[0]] == "Hn"
    same = [SearchState(states[0].problem) for _ in range(2)]
    for state, note in zip(same, (0, 35), strict=True):
        state.keep(torch.tensor([note]), 1.0)
    _pass_on(same)
    assert [set(state.found) for state in same] == [{(0,), (35,)}] * 2


@pytest.mark.parametrize(
    ("change", "row", "gain"),
    [(2.9, 1, 1), (-2.9, 1, 1), (3, 1, 1.413), (9, 2, 0.891), (30, 2, 1.995), (-9, 0, 1.122), (-30, 0, 0.501)],
)
def test_a_note_is_louder_at_another_dynamic_and_by_its_gain(change, row, gain):
    table = pd.DataFrame({
        "instrument": ["Fl"] * 5, "midi": [60, 60, 60, 61, 60], "technique": ["ord"] * 4 + ["flz"],
        "dynamic": ["pp", "mf", "ff", "ff", "ff"], "file": list("abcde"),
    })  # fmt: skip
    loud, note = np.array([-30.0, -20, -10, -11, -11]), SolutionNote(1, 0, "Fl", "C4", 60, "mf", file="b")
    found = _as_loud(note, change, np.arange(5), table, loud)
    assert (found.note, found.gain) == (row, gain)
    assert (found.dynamic, found.file) == (table["dynamic"][row], table["file"][row])
    assert _as_loud(note, change, np.array([3, 4]), table, loud) is note, "its player may be given no other"


def test_segments_are_as_loud_beside_each_other_as_the_targets(tiny_library):
    """Three notes together, then one: their powers are added."""
    table = tiny_library.table
    loud, count = table["loudness"].to_numpy(dtype=float), len(table)
    mf = [int(np.flatnonzero((table["instrument"] == name) & (table["dynamic"] == "mf"))[0]) for name in ("Fl", "Ob")]
    problem = SimpleNamespace(
        notes=tiny_library, rows=np.arange(count), rest=count, cents_of=np.zeros(count), given=[np.arange(count)] * 3
    )
    plays = torch.tensor([mf[0], mf[0] + 3, mf[0] + 6]), torch.tensor([count, mf[1], count])
    for level in (12.0, -12.0, -20.0):
        spans = [Segment(0, 1), Segment(1, 2, level=level)]
        notes = _notes([SimpleNamespace(problem=problem)] * 2, spans, plays)
        powers = [
            sum(10 ** (loud[note.note] / 10) * note.gain**2 for note in notes if note.onset == each.begin)
            for each in spans
        ]
        assert [note.player for note in notes] == [0, 1, 2, 1]
        assert 10 * np.log10(powers[1] / powers[0]) == pytest.approx(level, abs=0.1)


def test_notes_grow_with_the_target_if_they_do_not_by_themselves():
    """A recording that fades by 12 dB in 2 s."""
    sound = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE) * np.geomspace(1, 0.25, 2 * RATE)
    library = NoteLibrary.from_audio(pd.DataFrame({"instrument": ["Fl"], "pitch": ["A4"]}), [sound])
    notes = [SolutionNote.of(library, 0, 0, onset=onset, duration=1.0) for onset in (0.0, 1.2)]
    for swell in (0.0, 9.0):
        spans = [Segment(0, 1, swell=swell), Segment(1.2, 2.2, swell=-6.0)]
        alone, audio = _swelling(Solution(notes[:1], ("Fl",), library, 0.0, "partials", 1.0), spans[:1])
        assert alone.notes[0].swell == pytest.approx(swell + 6, abs=1)
        assert swells(torch.from_numpy(audio), RATE, spans[:1]) == pytest.approx([swell], abs=1)
        np.testing.assert_allclose(audio, alone.render(), atol=0.02)
        both, audio = _swelling(Solution(notes, ("Fl",), library, 0.0, "partials", 2.2), spans)
        assert [note.swell for note in both.notes] == [pytest.approx(swell + 6, abs=1), 0]
        assert swells(torch.from_numpy(audio), RATE, spans) == pytest.approx([swell, -6], abs=1)


def test_of_solutions_the_near_ones_that_are_unlike_are_picked():
    def solution(distance, *notes, onset=0.0):
        notes = [SimpleNamespace(instrument=i, midi=m, player=p, onset=onset) for i, m, p in notes]
        return SimpleNamespace(distance=distance, notes=notes)

    a, again = solution(1.0, ("Fl", 60, 0)), solution(1.1, ("Fl", 60, 1), onset=0.0001)
    b, c = solution(1.2, ("Fl", 60, 0), ("Ob", 64, 1)), solution(1.5, ("Vn", 70, 2))
    found = [a, again, b, c]
    assert pick(found, 2, 0.0) == [a, b]
    assert pick(found, 2, 0.4) == [a, b], "it pays for half its notes: 1.44"
    assert pick(found, 2, 0.6) == [a, c], "1.56"
    assert pick(found, 3, 3.0) == pick(found, 9, 0.0) == [a, b, c]
    assert pick([], 3, 0.1) == []
