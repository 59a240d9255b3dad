"""The stages of the search: they find what is there, count what they compare, and stop when told."""

import itertools

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deeporch.mixtures.classes import Classes
from deeporch.orchestration.distances import DISTANCES, average
from deeporch.orchestration.orchestra import candidates
from deeporch.orchestration.search.genetic import genetic
from deeporch.orchestration.search.local_search import POOL, ROUGHLY, _join, cross, exchanges, explore, refine
from deeporch.orchestration.search.problem import FINALISTS, Budget, OutOfBudget, Screen, Task
from deeporch.orchestration.search.pursuit import additions, ask, network_only, orthogonal_pursuit, propose, pursue

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


def task_of(chord, library, measure="partials", players=PLAYERS, **options):
    choices = candidates(library, players, [])
    return Task(chord[1], library, choices, DISTANCES[measure], seconds=1.2, **options)


def played(task, assignment):
    return sorted(task.rows[assignment[assignment != task.rest].numpy()].tolist())


@pytest.mark.parametrize(
    "measure", ["partials", "asymmetric_excess", "asymmetric_missing", "cosine", "log_spectral", "mel", "framewise"]
)
def test_explore_finds_the_notes_under_every_distance(chord, tiny_library, measure):
    """The target's energy is exactly the sum of the notes': then their distance is nothing, and only theirs."""
    task = task_of(chord, tiny_library, measure, budget=Budget(12_000))
    task.target = task.wanted = task.views[np.searchsorted(task.rows, chord[0])].sum(0).view(task.target.shape)
    explore(task)
    score, assignment = task.ranked()[0]
    assert played(task, assignment) == sorted(chord[0])
    assert score == pytest.approx(0, abs=1e-3)
    assert float(task.measure.compare(task.target, task.views[:1].view(1, *task.shape))[0]) > 0.05


def test_explore_is_never_worse_than_the_truth(chord, tiny_library):
    """Of a real mixture, phases and all."""
    task = task_of(chord, tiny_library, budget=Budget(12_000))
    notes = torch.from_numpy(np.searchsorted(task.rows, chord[0]))
    truth = float(task.score(task.mixture(notes)[None], task.cost(notes))[0])
    explore(task)
    assert task.ranked()[0][0] <= truth + 1e-6


def test_exhaustive_search_agrees(chord, tiny_library):
    """Of all assignments of two players, explore finds the very best."""
    task = task_of(chord, tiny_library, players=("Fl", "Vn"), budget=Budget(5000))
    explore(task)
    pairs = list(itertools.product([*task.choices[0].tolist(), task.rest], [*task.choices[1].tolist(), task.rest]))
    pairs = torch.tensor([pair for pair in pairs if pair != (task.rest, task.rest)])
    task.budget = Budget()
    scores = task.score(task.mixture(pairs), task.cost(pairs))
    best, assignment = task.ranked()[0]
    assert best == pytest.approx(float(scores.min()), abs=1e-6)
    assert assignment.tolist() == pairs[scores.argmin()].tolist()


def test_pursuit_adds_while_it_helps_and_refinement_never_harms(chord, tiny_library):
    task = task_of(chord, tiny_library)
    assignment = pursue(task, screen=None)
    pursued = task.ranked()[0][0]
    refined, score = refine(task, assignment, screen=None)
    assert 1 <= int((assignment != task.rest).sum()) <= len(PLAYERS)
    assert score <= pursued + 1e-6
    for p, choices in enumerate(task.choices):  # no exchange of one player's note helps any more
        for i in choices[~torch.isin(choices, refined)].tolist():
            other = refined.clone()
            other[p] = i
            assert float(task.score(task.mixture(other)[None], task.cost(other))[0]) >= score - 1e-5


def test_nothing_is_compared_twice(chord, tiny_library):
    task = task_of(chord, tiny_library)
    players, options, scores = additions(task, task.silence, screen=Screen(best=3, drawn=2))
    first = task.budget.spent
    assert len(options) == first == 5 * len(set(task.kinds))
    more = additions(task, task.silence, screen=Screen(best=3, drawn=2))
    assert task.budget.spent == 2 * first
    before = dict(zip(zip(players.tolist(), options.tolist(), strict=True), scores.tolist(), strict=True))
    after = dict(zip(zip(more[0].tolist(), more[1].tolist(), strict=True), more[2].tolist(), strict=True))
    assert before.items() <= after.items()
    assert len(after) == 2 * first
    task.budget = Budget()
    _, all_of_them, _ = additions(task, task.silence, screen=None)
    assert len(all_of_them) == task.budget.spent + 2 * first
    _, _, again = additions(task, task.silence, screen=None)
    assert len(again) == len(all_of_them)  # and nothing was spent, as the next lines count
    one = task.silence
    one[0] = options[0]
    exchanges(task, one, 0, screen=None)  # silence without player 0 is silence: known
    assert task.budget.spent == len(all_of_them) - 2 * first
    task.listen(torch.zeros(task.rest), 0.1, 0.1)
    exchanges(task, one, 0, screen=Screen(best=3))  # at new prices nothing is known
    assert task.budget.spent == len(all_of_them) - 2 * first + 3


@pytest.mark.parametrize("measure", ["partials", "asymmetric_excess", "cosine", "log_spectral", "framewise"])
def test_rough_comparisons_are_a_race_and_count_as_parts(chord, tiny_library, measure):
    task = task_of(chord, tiny_library, measure)
    choices, base = task.choices[0], task.views[task.choices[5][3]]
    (coarse, first), (fine, second) = task.measure.rough
    assert coarse > fine

    def compared(bands, compare, notes):
        views = torch.stack([(base + task.views[i]).view(task.shape) for i in notes])
        means = [
            torch.stack([part.mean(-1) for part in x.split(bands, -1)], -1) for x in (task.target, views)
        ]  # fmt: skip
        torch.testing.assert_close(average(views, bands), means[1])
        return compare(*means) * task.costs[notes].exp()

    fit = task.fit(choices, base).argsort(descending=True).argsort()
    rank = compared(coarse, first, choices).argsort().argsort()
    best = choices[torch.minimum(fit, rank).argsort(stable=True)[:FINALISTS]]
    expected = best[compared(fine, second, best).argsort()[:3]]
    assert task.nearest(choices, base, 3).tolist() == expected.tolist()
    parts = len(choices) / coarse + len(best) / fine
    assert parts - 1 < task.budget.spent <= parts
    assert task.budget._part == pytest.approx(parts % 1, abs=1e-6)


@pytest.mark.parametrize("measure", list(DISTANCES))
def test_energies_may_be_on_a_gpu(chord, tiny_library, measure):
    """Whether tensors of both devices ever meet: of a pretended GPU, whose tensors have a device and no numbers."""
    task = task_of(chord, tiny_library, measure)
    with FakeTensorMode(allow_non_fake_inputs=True) as pretended:
        for name in ("views", "_fit", "target", "wanted"):
            setattr(task, name, pretended.from_tensor(getattr(task, name)).to("cuda"))
        task._averaged = [pretended.from_tensor(views).to("cuda") for views in task._averaged]
        task.device = torch.device("cuda")
        base, choices = task.mixture(task.silence), task.choices[0]
        candidates = base + task.views[choices]
        assert candidates.device.type == task.mixture(torch.stack([task.silence] * 2)).device.type == "cuda"
        assert task.measure.compare(task.wanted, candidates.view(-1, *task.shape)).device.type == "cuda"
        assert task.fit(choices, base).device.type == "cpu"
        for level in range(len(task.measure.rough)):
            assert task._roughly(level, choices, base).device.type == "cpu"


def test_rough_comparisons_find_the_missing_note(chord, tiny_library):
    """Beside two of three notes, screened by the averages of bands, the third is among the six that are compared."""
    for measure in ("partials", "asymmetric_missing", "cosine", "log_spectral", "framewise"):
        task = task_of(chord, tiny_library, measure)
        task.target = task.wanted = task.views[np.searchsorted(task.rows, chord[0])].sum(0).view(task.target.shape)
        for missing, player in zip(chord[0], (0, 1, 5), strict=True):
            others = [int(np.searchsorted(task.rows, other)) for other in chord[0] if other != missing]
            best = task.nearest(task.choices[player], task.views[others].sum(0), ROUGHLY.best)
            assert int(np.searchsorted(task.rows, missing)) in best.tolist()


def test_a_screen_leaves_so_many_and_none_twice(chord, tiny_library):
    for measure in ("partials", "mel"):  # mel has no averages: there fit chooses
        task = task_of(chord, tiny_library, measure)
        base, taken = task.views[task.choices[5][3]], task.choices[0][:4]
        options = task.options(0, base, taken, Screen(best=5, drawn=3, rough=True)).tolist()
        assert len(set(options)) == len(options) == Screen(best=5, drawn=3, rough=True).size == 8
        assert not set(options) & set(taken.tolist())
        assert set(options) <= set(task.choices[0].tolist())
        assert (task.budget.spent > 0) == (measure == "partials")
        few = task.options(0, base, task.choices[0][:-8], Screen(best=5, drawn=3, rough=True))
        assert few.tolist() == task.choices[0][-8:].tolist()


def test_children_have_their_notes_from_their_parents(chord, tiny_library):
    task = task_of(chord, tiny_library, players=("Fl", "Fl", "Ob", "Vc"), max_notes=3)
    one, other = (torch.tensor([c[k].item() for k, c in zip(ks, task.choices, strict=True)]) for ks in
                  ((0, 1, 2, 3), (1, 0, 5, 6)))  # fmt: skip
    children = {tuple(cross(task, one, other).tolist()) for _ in range(60)}
    assert len(children) > 5
    for child in children:
        for p, note in enumerate(child):
            assert note in (int(one[p]), int(other[p]), task.rest)
        notes = [note for note in child if note != task.rest]
        assert len(set(notes)) == len(notes) <= 3


def test_the_pool_keeps_the_best_and_nothing_twice():
    pool = []
    for k in (5, 3, 3, 9, 1, 7, 8, 6, 2):
        _join(pool, (torch.tensor([k]), float(k)))
    assert [score for _, score in pool] == [1, 2, 3, 5, 6, 7]
    assert [int(a) for a, _ in pool] == [1, 2, 3, 5, 6, 7]
    assert len(pool) == POOL


def test_orthogonal_pursuit_finds_notes_gains_and_dynamics(chord, tiny_library):
    task = task_of(chord, tiny_library, max_notes=3)
    assignment, gains = orthogonal_pursuit(task)
    assert task.budget.spent == 1
    names = tiny_library.table["instrument"] + " " + tiny_library.table["pitch"]
    assert len(set(names[played(task, assignment)]) & set(names[chord[0]])) >= 2
    assert gains.max() == 1
    assert ((gains > 0) == (assignment != task.rest).numpy()).all()


def test_genetic_algorithm_gets_better_and_counts(chord, tiny_library):
    task = task_of(chord, tiny_library)
    genetic(task, population=40, generations=1)
    first = task.best
    assert task.budget.spent == 40
    best = genetic(task, population=40, generations=25)
    assert task.budget.spent == 40 + 1000
    assert task.ranked()[0][0] < first
    kept = float(task.score(task.mixture(best)[None], task.cost(best))[0])
    assert kept == pytest.approx(task.ranked()[0][0], abs=1e-5)


def test_limits_and_fixed_notes_hold_in_every_stage(chord, tiny_library):
    for search in (explore, lambda task: genetic(task, population=30, generations=5)):
        choices = candidates(tiny_library, PLAYERS, [])
        choices[3] = np.array([row(tiny_library, "Hn", "B4", "ff")])
        task = Task(chord[1], tiny_library, choices, DISTANCES["partials"], seconds=1.2, must_play=[3], min_notes=2,
                    max_notes=4, budget=Budget(3000))  # fmt: skip
        search(task)
        assert task.found
        for _, assignment in task.ranked():
            notes = played(task, assignment)
            assert 2 <= len(notes) <= 4
            assert len(set(notes)) == len(notes)
            assert row(tiny_library, "Hn", "B4", "ff") in notes


def test_a_dearer_note_makes_sparser_solutions(chord, tiny_library):
    counts = []
    for cost in (0.0, 0.5, 100.0):
        task = task_of(chord, tiny_library, note_cost=cost, budget=Budget(4000))
        explore(task)
        counts.append(len(played(task, task.ranked()[0][1])))
    assert counts[0] >= counts[1] >= counts[2] == 1


def test_two_players_never_share_a_recording(chord, tiny_library):
    task = task_of(chord, tiny_library, players=("Fl", "Fl", "Fl"), budget=Budget(2000))
    explore(task)
    for _, assignment in task.ranked():
        assert len(set(played(task, assignment))) == int((assignment != task.rest).sum())


def test_budgets_end_a_search_and_what_was_found_stays(chord, tiny_library):
    task = task_of(chord, tiny_library, budget=Budget(300))
    explore(task)
    assert 300 <= task.budget.spent <= 300 + 216
    assert task.found
    seen = []
    stopped = Budget(stop=lambda: len(seen) >= 5, progress=lambda *now: seen.append(now))
    task = task_of(chord, tiny_library, budget=stopped)
    explore(task)
    assert len(seen) == 5
    assert task.found
    evaluations, best, fractions = zip(*seen, strict=True)
    assert list(evaluations) == sorted(evaluations)
    assert list(best) == sorted(best, reverse=True)
    assert set(fractions) == {0.0}
    with pytest.raises(OutOfBudget):
        task.score(task.views[:1], 0.0)


def test_the_same_seed_finds_the_same(chord, tiny_library):
    found = []
    for seed in (3, 3, 4):
        task = task_of(chord, tiny_library, seed=seed, budget=Budget(12_000))
        explore(task)
        found.append([a.tolist() for _, a in task.ranked()])
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
    task = task_of(chord, tiny_library, max_notes=3)
    probabilities = ask(task, _Oracle(Classes(tiny_library, by="note"), {"Fl E4", "Ob C4", "Vc G4"}))
    assert probabilities[task.choices[0]].max() > 0.9
    notes = tiny_library.table.iloc[played(task, network_only(task, probabilities))]
    assert sorted(notes["instrument"] + " " + notes["pitch"]) == ["Fl E4", "Ob C4", "Vc G4"]
    assert set(notes["dynamic"]) == {"ff"}  # as the follow-up plays what it is sure of
    assert task.budget.spent == 1


def test_evidence_prices_notes_by_their_odds(chord, tiny_library):
    """distance x 1.01 per note x odds ** -0.05; odds below 1 : 49 count as these; another target has no evidence."""
    task = task_of(chord, tiny_library)
    names = (tiny_library.table["instrument"] + " " + tiny_library.table["pitch"]).to_numpy()[task.rows]
    classes = Classes(tiny_library.take(np.flatnonzero(tiny_library.table["instrument"] != "Hn")), by="note")
    propose(task, _Oracle(classes, {"Fl E4"}))
    factors = task.costs.exp()
    odds = np.exp(4.0)
    np.testing.assert_allclose(factors[:-1][names == "Fl E4"], 1.01 * odds**-0.05, rtol=1e-4)
    np.testing.assert_allclose(factors[:-1][names == "Vc G4"], 1.01 * 49**0.05, rtol=1e-4)
    np.testing.assert_allclose(factors[:-1][names == "Hn C4"], 1.01, rtol=1e-5)  # the network has no horn
    assert factors[task.rest] == 1
    assert task.prior[names == "Fl E4"].min() > task.prior[names == "Hn C4"].max() > task.prior[names == "Vc G4"].max()
    task.aim(chord[1])
    np.testing.assert_allclose(task.costs[:-1].exp(), 1.01, rtol=1e-5)
    assert task.prior is None
