"""The stages of the search: they find what is there, count what they compare, and stop when told."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from experiments.baselines import genetic, network_only, orthogonal_pursuit
from torch._subclasses.fake_tensor import FakeTensorMode

from deeporch.mixtures.classes import Classes
from deeporch.orchestration.distances import DISTANCES, average
from deeporch.orchestration.orchestra import candidates
from deeporch.orchestration.search.local_search import POOL, ROUGHLY, _join, cross, exchanges, explore, refine
from deeporch.orchestration.search.prior import ask, propose
from deeporch.orchestration.search.problem import SearchProblem
from deeporch.orchestration.search.pursuit import additions, pursue, sketch
from deeporch.orchestration.search.state import FINALISTS, Budget, OutOfBudget, Screen, SearchState

PLAYERS = ("Fl", "Ob", "ClBb", "Hn", "Vn", "Vc")


def row(library, instrument, pitch, dynamic="mf"):
    table = library.table
    found = (table["instrument"] == instrument) & (table["pitch"] == pitch) & (table["dynamic"] == dynamic)
    return int(np.flatnonzero(found)[0])


@pytest.fixture
def chord(tiny_library, cache):
    """Three notes of the library, and their mixture of 1.2 s."""
    rows = [row(tiny_library, *note) for note in (("Fl", "E4"), ("Ob", "C4", "pp"), ("Vc", "G4", "ff"))]
    return rows, tiny_library.audio[rows].float().sum(0)[:52_920]


def state_of(chord, library, measure="partials", players=PLAYERS, budget=None, seed=0, **options):
    choices = candidates(library, players, [])
    return SearchState(SearchProblem(chord[1], library, choices, DISTANCES[measure], 1.2, **options), budget, seed=seed)


def aimed_at(state, rows):
    """The same search for a target whose energy is exactly the sum of these notes'."""
    problem = state.problem
    energy = problem.views[np.searchsorted(problem.rows, rows)].sum(0).view(problem.shape)
    exact = problem.aimed(problem.sound)
    exact.__dict__.update(target=energy, wanted=energy)
    return SearchState(exact, state.budget)


def played(state, assignment):
    return sorted(state.problem.rows[assignment[assignment != state.problem.rest].numpy()].tolist())


@pytest.mark.parametrize(
    "measure", ["partials", "asymmetric_excess", "asymmetric_missing", "cosine", "log_spectral", "mel", "framewise"]
)
def test_explore_finds_the_notes_under_every_distance(chord, tiny_library, measure):
    """The target's energy is exactly the sum of the notes': then their distance is nothing, and only theirs."""
    state = state_of(chord, tiny_library, measure, budget=Budget(12_000))
    state = aimed_at(state, chord[0])
    explore(state)
    score, assignment = state.ranked()[0]
    assert played(state, assignment) == sorted(chord[0])
    assert score == pytest.approx(0, abs=1e-3)
    problem = state.problem
    assert float(problem.measure.compare(problem.target, problem.views[:1].view(1, *problem.shape))[0]) > 0.05


def test_explore_is_never_worse_than_the_truth(chord, tiny_library):
    """Of a real mixture, phases and all."""
    state = state_of(chord, tiny_library, budget=Budget(12_000))
    notes = torch.from_numpy(np.searchsorted(state.problem.rows, chord[0]))
    truth = float(state.score(state.problem.mixture(notes)[None], state.problem.cost(notes))[0])
    explore(state)
    assert state.ranked()[0][0] <= truth + 1e-6


def test_exhaustive_search_agrees(chord, tiny_library):
    """Of all assignments of two players, explore finds the very best."""
    state = state_of(chord, tiny_library, players=("Fl", "Vn"), budget=Budget(5000))
    explore(state)
    rest, choices = state.problem.rest, state.problem.choices
    pairs = itertools.product([*choices[0].tolist(), rest], [*choices[1].tolist(), rest])
    pairs = torch.tensor([pair for pair in pairs if pair != (rest, rest)])
    state.budget = Budget()
    scores = state.score(state.problem.mixture(pairs), state.problem.cost(pairs))
    best, assignment = state.ranked()[0]
    assert best == pytest.approx(float(scores.min()), abs=1e-6)
    assert assignment.tolist() == pairs[scores.argmin()].tolist()


def test_pursuit_adds_while_it_helps_and_refinement_never_harms(chord, tiny_library):
    state = state_of(chord, tiny_library)
    assignment = pursue(state, screen=None)
    pursued = state.ranked()[0][0]
    refined, score = refine(state, assignment, screen=None)
    assert 1 <= int((assignment != state.problem.rest).sum()) <= len(PLAYERS)
    assert score <= pursued + 1e-6
    for p, choices in enumerate(state.problem.choices):  # no exchange of one player's note helps any more
        for i in choices[~torch.isin(choices, refined)].tolist():
            other = refined.clone()
            other[p] = i
            assert state.score_of(other) >= score - 1e-5


def test_nothing_is_compared_twice(chord, tiny_library):
    state = state_of(chord, tiny_library)
    players, options, scores = additions(state, state.problem.silence, screen=Screen(best=3, drawn=2))
    first = state.budget.spent
    assert len(options) == first == 5 * len(set(state.problem.kinds))
    more = additions(state, state.problem.silence, screen=Screen(best=3, drawn=2))
    assert state.budget.spent == 2 * first
    before = dict(zip(zip(players.tolist(), options.tolist(), strict=True), scores.tolist(), strict=True))
    after = dict(zip(zip(more[0].tolist(), more[1].tolist(), strict=True), more[2].tolist(), strict=True))
    assert before.items() <= after.items()
    assert len(after) == 2 * first
    state.budget = Budget()
    _, all_of_them, _ = additions(state, state.problem.silence, screen=None)
    assert len(all_of_them) == state.budget.spent + 2 * first
    _, _, again = additions(state, state.problem.silence, screen=None)
    assert len(again) == len(all_of_them)  # and nothing was spent, as the next lines count
    one = state.problem.silence
    one[0] = options[0]
    exchanges(state, one, 0, screen=None)  # silence without player 0 is silence: known
    assert state.budget.spent == len(all_of_them) - 2 * first
    other = SearchState(state.problem.informed(torch.zeros(state.problem.rest), 0.1, 0.1))
    exchanges(other, one, 0, screen=Screen(best=3))  # at other costs nothing is known
    assert other.budget.spent == 3


@pytest.mark.parametrize("measure", ["partials", "asymmetric_excess", "cosine", "log_spectral", "framewise"])
def test_rough_comparisons_are_a_race_and_count_as_parts(chord, tiny_library, measure):
    state = state_of(chord, tiny_library, measure)
    choices, base = state.problem.choices[0], state.problem.views[state.problem.choices[5][3]]
    (coarse, first), (fine, second) = state.problem.measure.rough
    assert coarse > fine

    def compared(bands, compare, notes):
        views = torch.stack([(base + state.problem.views[i]).view(state.problem.shape) for i in notes])
        means = [
            torch.stack([part.mean(-1) for part in x.split(bands, -1)], -1) for x in (state.problem.target, views)
        ]  # fmt: skip
        torch.testing.assert_close(average(views, bands), means[1])
        return compare(*means) * state.problem.costs[notes].exp()

    fit = state.problem.fit(choices, base).argsort(descending=True).argsort()
    rank = compared(coarse, first, choices).argsort().argsort()
    best = choices[torch.minimum(fit, rank).argsort(stable=True)[:FINALISTS]]
    expected = best[compared(fine, second, best).argsort()[:3]]
    assert state.nearest(choices, base, 3).tolist() == expected.tolist()
    parts = len(choices) / coarse + len(best) / fine
    assert parts - 1 < state.budget.spent <= parts
    assert state.budget._part == pytest.approx(parts % 1, abs=1e-6)


@pytest.mark.parametrize("measure", list(DISTANCES))
def test_energies_may_be_on_a_gpu(chord, tiny_library, measure):
    """Whether tensors of both devices ever meet: of a pretended GPU, whose tensors have a device and no numbers."""
    state = state_of(chord, tiny_library, measure)
    real = {name: getattr(state.problem, name) for name in ("views", "unit", "target", "wanted", "averaged")}
    with FakeTensorMode(allow_non_fake_inputs=True) as pretended:
        problem = replace(state.problem, device=torch.device("cuda"))
        for name in ("views", "unit", "target", "wanted"):
            problem.__dict__[name] = pretended.from_tensor(real[name]).to("cuda")
        problem.__dict__["averaged"] = [pretended.from_tensor(views).to("cuda") for views in real["averaged"]]
        state = SearchState(problem)
        base, choices = problem.mixture(problem.silence), problem.choices[0]
        candidates = base + problem.views[choices]
        assert candidates.device.type == problem.mixture(torch.stack([problem.silence] * 2)).device.type == "cuda"
        assert problem.measure.compare(problem.wanted, candidates.view(-1, *problem.shape)).device.type == "cuda"
        assert state.problem.fit(choices, base).device.type == "cpu"
        for level in range(len(state.problem.measure.rough)):
            assert state._roughly(level, choices, base).device.type == "cpu"


def test_rough_comparisons_find_the_missing_note(chord, tiny_library):
    """Beside two of three notes, screened by the averages of bands, the third is among the six that are compared."""
    for measure in ("partials", "asymmetric_missing", "cosine", "log_spectral", "framewise"):
        state = state_of(chord, tiny_library, measure)
        state = aimed_at(state, chord[0])
        for missing, player in zip(chord[0], (0, 1, 5), strict=True):
            others = [int(np.searchsorted(state.problem.rows, other)) for other in chord[0] if other != missing]
            best = state.nearest(state.problem.choices[player], state.problem.views[others].sum(0), ROUGHLY.best)
            assert int(np.searchsorted(state.problem.rows, missing)) in best.tolist()


def test_a_screen_leaves_so_many_and_none_twice(chord, tiny_library):
    for measure in ("partials", "mel"):  # mel has no averages: there fit chooses
        state = state_of(chord, tiny_library, measure)
        base, taken = state.problem.views[state.problem.choices[5][3]], state.problem.choices[0][:4]
        options = state.options(0, base, taken, Screen(best=5, drawn=3, rough=True)).tolist()
        assert len(set(options)) == len(options) == Screen(best=5, drawn=3, rough=True).size == 8
        assert not set(options) & set(taken.tolist())
        assert set(options) <= set(state.problem.choices[0].tolist())
        assert (state.budget.spent > 0) == (measure == "partials")
        few = state.options(0, base, state.problem.choices[0][:-8], Screen(best=5, drawn=3, rough=True))
        assert few.tolist() == state.problem.choices[0][-8:].tolist()


def test_children_have_their_notes_from_their_parents(chord, tiny_library):
    state = state_of(chord, tiny_library, players=("Fl", "Fl", "Ob", "Vc"), most=3)
    one, other = (torch.tensor([c[k].item() for k, c in zip(ks, state.problem.choices, strict=True)]) for ks in
                  ((0, 1, 2, 3), (1, 0, 5, 6)))  # fmt: skip
    children = {tuple(cross(state, one, other).tolist()) for _ in range(60)}
    assert len(children) > 5
    for child in children:
        for p, note in enumerate(child):
            assert note in (int(one[p]), int(other[p]), state.problem.rest)
        notes = [note for note in child if note != state.problem.rest]
        assert len(set(notes)) == len(notes) <= 3


def test_the_pool_keeps_the_best_and_nothing_twice():
    pool = []
    for k in (5, 3, 3, 9, 1, 7, 8, 6, 2):
        _join(pool, (torch.tensor([k]), float(k)))
    assert [score for _, score in pool] == [1, 2, 3, 5, 6, 7]
    assert [int(a) for a, _ in pool] == [1, 2, 3, 5, 6, 7]
    assert len(pool) == POOL


def test_orthogonal_pursuit_finds_notes_gains_and_dynamics(chord, tiny_library):
    state = state_of(chord, tiny_library, most=3)
    assignment, gains = orthogonal_pursuit(state)
    assert state.budget.spent == 1
    names = tiny_library.table["instrument"] + " " + tiny_library.table["pitch"]
    assert len(set(names[played(state, assignment)]) & set(names[chord[0]])) >= 2
    assert gains.max() == 1
    assert ((gains > 0) == (assignment != state.problem.rest).numpy()).all()


def test_genetic_algorithm_gets_better_and_counts(chord, tiny_library):
    state = state_of(chord, tiny_library)
    genetic(state, population=40, generations=1)
    first = state.best
    assert state.budget.spent == 40
    best = genetic(state, population=40, generations=25)
    assert state.budget.spent == 40 + 1000
    assert state.ranked()[0][0] < first
    kept = state.score_of(best)
    assert kept == pytest.approx(state.ranked()[0][0], abs=1e-5)


def test_limits_and_fixed_notes_hold_in_every_stage(chord, tiny_library):
    for search in (explore, lambda state: genetic(state, population=30, generations=5)):
        choices = candidates(tiny_library, PLAYERS, [])
        choices[3] = np.array([row(tiny_library, "Hn", "B4", "ff")])
        problem = SearchProblem(
            chord[1], tiny_library, choices, DISTANCES["partials"], 1.2, must_play=frozenset([3]), fewest=2, most=4
        )
        state = SearchState(problem, Budget(3000))
        search(state)
        assert state.found
        for _, assignment in state.ranked():
            notes = played(state, assignment)
            assert 2 <= len(notes) <= 4
            assert len(set(notes)) == len(notes)
            assert row(tiny_library, "Hn", "B4", "ff") in notes


def test_a_higher_note_cost_makes_sparser_solutions(chord, tiny_library):
    counts = []
    for cost in (0.0, 0.5, 100.0):
        state = state_of(chord, tiny_library, note_cost=cost, budget=Budget(4000))
        explore(state)
        counts.append(len(played(state, state.ranked()[0][1])))
    assert counts[0] >= counts[1] >= counts[2] == 1


def test_two_players_never_share_a_recording(chord, tiny_library):
    state = state_of(chord, tiny_library, players=("Fl", "Fl", "Fl"), budget=Budget(2000))
    explore(state)
    for _, assignment in state.ranked():
        assert len(set(played(state, assignment))) == int((assignment != state.problem.rest).sum())


def test_budgets_end_a_search_and_what_was_found_stays(chord, tiny_library):
    state = state_of(chord, tiny_library, budget=Budget(300))
    explore(state)
    assert 300 <= state.budget.spent <= 300 + 216
    assert state.found
    seen = []
    stopped = Budget(stop=lambda: len(seen) >= 5, progress=lambda *now: seen.append(now))
    state = state_of(chord, tiny_library, budget=stopped)
    explore(state)
    assert len(seen) == 5
    assert state.found
    evaluations, best, fractions = zip(*seen, strict=True)
    assert list(evaluations) == sorted(evaluations)
    assert list(best) == sorted(best, reverse=True)
    assert set(fractions) == {0.0}
    with pytest.raises(OutOfBudget):
        state.score(state.problem.views[:1], 0.0)


def test_the_same_seed_finds_the_same(chord, tiny_library):
    found = []
    for seed in (3, 3, 4):
        state = state_of(chord, tiny_library, seed=seed, budget=Budget(12_000))
        explore(state)
        found.append([a.tolist() for _, a in state.ranked()])
    assert found[0] == found[1]
    assert found[0] != found[2]


class _Oracle:
    """A recognizer that is sure of some classes."""

    sample_rate = 44_100

    def __init__(self, classes, sure):
        self.model = type("Model", (), {"classes": classes})
        self.calibration = type("Calibration", (), {"probabilities": staticmethod(torch.sigmoid)})
        self.values = torch.tensor([[4.0 if name in sure else -6.0 for name in classes.names]])

    def logits(self, sounds):
        return self.values


def test_a_network_is_a_baseline_of_its_own(chord, tiny_library):
    state = state_of(chord, tiny_library, most=3)
    probabilities = ask(state.problem, _Oracle(Classes(tiny_library, by="note"), {"Fl E4", "Ob C4", "Vc G4"}))
    assert probabilities[state.problem.choices[0]].max() > 0.9
    notes = tiny_library.table.iloc[played(state, network_only(state, probabilities))]
    assert sorted(notes["instrument"] + " " + notes["pitch"]) == ["Fl E4", "Ob C4", "Vc G4"]
    assert set(notes["dynamic"]) == {"ff"}  # as the follow-up plays what it is sure of
    assert state.budget.spent == 1


def test_evidence_is_a_cost_by_the_odds(chord, tiny_library):
    """distance x 1.01 per note x odds ** -0.05; odds below 1 : 49 count as these; another target has no evidence."""
    state = state_of(chord, tiny_library)
    names = (tiny_library.table["instrument"] + " " + tiny_library.table["pitch"]).to_numpy()[state.problem.rows]
    classes = Classes(tiny_library.take(np.flatnonzero(tiny_library.table["instrument"] != "Hn")), by="note")
    problem = propose(state.problem, _Oracle(classes, {"Fl E4"}))
    factors = problem.costs.exp()
    odds = np.exp(4.0)
    np.testing.assert_allclose(factors[:-1][names == "Fl E4"], 1.01 * odds**-0.05, rtol=1e-4)
    np.testing.assert_allclose(factors[:-1][names == "Vc G4"], 1.01 * 49**0.05, rtol=1e-4)
    np.testing.assert_allclose(factors[:-1][names == "Hn C4"], 1.01, rtol=1e-5)  # the network has no horn
    assert factors[state.problem.rest] == 1
    fit, before = (each.fit(torch.arange(each.rest), each.views[-1]) for each in (problem, state.problem))
    gained = (fit - before).numpy()
    assert gained[names == "Fl E4"].min() > 0 > gained[names == "Vc G4"].max()
    np.testing.assert_allclose(gained[names == "Hn C4"], 0, atol=1e-6)
    np.testing.assert_allclose(problem.aimed(chord[1]).costs[:-1].exp(), 1.01, rtol=1e-5)


def test_a_sketch_is_an_answer_at_the_cost_of_one_evaluation(chord, tiny_library):
    spent = Budget(1)
    state = state_of(chord, tiny_library, budget=spent, fewest=3, must_play=frozenset([5]))
    sketch(state)
    (score, assignment), *others = state.ranked()
    assert not others
    assert int((assignment != state.problem.rest).sum()) == 3
    assert assignment[5] != state.problem.rest
    assert spent.spent == 1
    assert score == pytest.approx(SearchState(state.problem).score_of(assignment))


def test_a_problem_does_not_change(chord, tiny_library):
    state = state_of(chord, tiny_library)
    with pytest.raises(AttributeError, match="cannot assign"):
        state.problem.seconds = 3.0
    other = state.problem.prepared().aimed(0.5 * chord[1].roll(100))
    assert other.views is state.problem.views
    assert not torch.equal(other.target, state.problem.target)
