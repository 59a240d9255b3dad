"""The last stage: what is compared is the sound of the recordings, and exchanging notes by it brings them nearer."""

import numpy as np
import pytest
import torch
from experiments.search_comparison import to_notes

from deeporch.orchestration.distances import DISTANCES
from deeporch.orchestration.orchestra import candidates
from deeporch.orchestration.search.problem import SearchProblem
from deeporch.orchestration.search.rendered import Renderer, between, polish, render_best, search
from deeporch.orchestration.search.state import Budget, SearchState
from deeporch.orchestration.solution import Solution, SolutionNote, note_audio

PLAYERS = ("Fl", "Ob", "ClBb", "Hn", "Vn", "Vc")
RATE = 44_100


@pytest.fixture
def sound(tiny_library, cache):
    """Flute E4 pp, oboe C4 ff and cello G4 mf, 1.2 s."""
    table = tiny_library.table
    names = (table["instrument"] + " " + table["pitch"] + " " + table["dynamic"]).tolist()
    rows = [names.index(name) for name in ("Fl E4 pp", "Ob C4 ff", "Vc G4 mf")]
    notes = [SolutionNote.of(tiny_library, row, 0, duration=1.2) for row in rows]
    return torch.from_numpy(sum(note_audio(tiny_library, note)[: round(1.2 * RATE)] for note in notes))


def state_of(sound, library, measure="partials", budget=None, **options):
    problem = SearchProblem(sound, library, candidates(library, PLAYERS, []), DISTANCES[measure], 1.2, **options)
    return SearchState(problem, budget)


def names(state, assignment):
    table = state.problem.notes.table.iloc[state.problem.rows[assignment[assignment != state.problem.rest].numpy()]]
    return sorted(table["instrument"] + " " + table["pitch"] + " " + table["dynamic"])


@pytest.mark.parametrize("measure", ["partials", "asymmetric_excess", "framewise"])
def test_what_is_compared_is_the_rendered_solution(sound, tiny_library, measure):
    state = state_of(sound, tiny_library, measure, note_cost=0.1)
    assignments = torch.stack([state.problem.silence, state.problem.silence])
    assignments[0, 0], assignments[1, 3], assignments[1, 5] = (
        state.problem.choices[0][4],
        state.problem.choices[3][9],
        state.problem.choices[5][2],
    )
    heard = Renderer(state)(assignments)
    for assignment, score in zip(assignments, heard.tolist(), strict=True):
        notes = to_notes(state.problem, assignment)
        audio = Solution(tuple(notes), PLAYERS, tiny_library, 0.0, measure, 1.2).render()
        expected = float(DISTANCES[measure](sound, torch.from_numpy(audio)[None])[0]) * 1.1 ** len(notes)
        assert score == pytest.approx(expected, rel=1e-4)
    assert state.budget.spent == 2
    assert sorted(score for score, _ in state.rendered.values()) == pytest.approx(sorted(heard.tolist()))


@pytest.mark.parametrize("measure", ["partials", "asymmetric_excess", "cosine"])
def test_polishing_brings_the_sound_nearer(sound, tiny_library, measure):
    state = state_of(sound, tiny_library, measure, note_cost=0.0)
    truth = state.problem.silence
    table = tiny_library.table.iloc[state.problem.rows]
    labels = (table["instrument"] + " " + table["pitch"] + " " + table["dynamic"]).tolist()
    for p, name in ((0, "Fl E4 pp"), (1, "Ob C4 ff"), (5, "Vc G4 mf")):
        truth[p] = labels.index(name)
    wrong = truth.clone()
    wrong[0], wrong[5] = labels.index("Fl A#4 mf"), state.problem.rest
    state.keep(wrong, 1.0)
    render_best(state)
    before = min(score for score, _ in state.rendered.values())
    polish(state)
    after, assignment = min(state.rendered.values(), key=lambda each: each[0])
    assert after < 0.5 * before
    assert after <= float(Renderer(state)(truth[None])[0]) + 1e-6
    assert {"Fl E4 pp", "Ob C4 ff", "Vc G4 mf"} <= set(names(state, assignment))
    assert len(names(state, assignment)) <= 4  # notes are free here, and a soft one may bring it nearer still


def test_limits_hold_for_what_is_rendered_and_budgets_end_it(sound, tiny_library):
    state = state_of(sound, tiny_library, must_play=frozenset([3]), fewest=2, most=4, budget=Budget(2500))
    search(state)
    assert state.rendered
    for _, assignment in state.rendered.values():
        playing = assignment != state.problem.rest
        assert 2 <= int(playing.sum()) <= 4
        assert playing[3]
        assert len(set(assignment[playing].tolist())) == int(playing.sum())
    assert state.budget.spent <= 2500 + 216
    spent = state_of(sound, tiny_library, budget=Budget(1))
    search(spent)
    assert spent.rendered, "something is rendered even if nothing is left"


def test_long_sounds_are_compared_in_parts(tiny_library):
    generator = np.random.default_rng(0)
    target, other = (torch.from_numpy(generator.normal(size=9 * RATE).astype(np.float32)) for _ in range(2))
    other[: 3 * RATE] *= 4
    measure = DISTANCES["framewise"]
    parts = [float(measure(a, b[None])[0]) for a, b in zip(target.chunk(3), other.chunk(3), strict=True)]
    assert float(between(measure, target, other[None])[0]) == pytest.approx(np.mean(parts), rel=1e-5)
