"""What a recognizer makes of a sound, as a distance."""

import pytest
import torch
from experiments.distance_validation import ALTERNATIVES, judge, make_cases, verdict
from experiments.embedding import embedding_distance

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.mixtures.splits import split
from deeporch.orchestration.search.problem import SearchProblem
from deeporch.orchestration.search.state import SearchState

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


@pytest.fixture
def case(cache, tiny_library, untrained):
    """A search for a mixture of three notes in which each of them may be played, and the notes' rows."""
    samples = untrained.features.samples
    mixtures = Mixtures(tiny_library, Classes(tiny_library), n=3, size=1, seed=0, samples=samples)
    rows = mixtures.indices[0].long()
    problem = SearchProblem(
        mixtures.audio([0])[0], tiny_library, [rows.sort().values.numpy()] * 3, embedding_distance(untrained),
        seconds=samples / tiny_library.sample_rate,
    )  # fmt: skip
    return SearchState(problem), rows


def test_a_mixture_is_nearest_to_its_own_notes(case):
    state, _ = case
    whole = float(state.score(state.problem.mixture(torch.arange(3))[None], 0.0)[0])
    assert whole < 1e-3  # constant-Qs add up, but for the halves that they are kept in
    assert (state.score(state.problem.mixture(torch.tensor([[0, 1], [0, 2], [1, 2]])), 0.0) > 2 * whole).all()


def test_as_heard_it_is_what_the_search_computes(case):
    state, rows = case
    sounds = state.problem.notes.audio[rows.sort().values, : len(state.problem.sound)].float()
    heard = state.problem.measure(state.problem.sound, sounds)
    torch.testing.assert_close(heard, state.alone(), atol=1e-3, rtol=0)
    torch.testing.assert_close(state.alone(), state.score(state.problem.views[:-1], 0.0))
    assert state.budget.spent == 3 * 3


def test_it_looks_at_the_network_and_not_at_the_level(case, untrained):
    state, _ = case
    louder = state.problem.measure(state.problem.sound, 0.1 * state.problem.sound[None])
    assert float(louder[0]) == pytest.approx(0, abs=1e-4)
    embedded = untrained.model.embed(untrained.features(state.problem.sound[None]))
    assert embedded.shape == (1, untrained.model.config.width, untrained.model.config.pitches)


def test_it_can_be_judged(cache, tiny_library, untrained):
    classes = Classes(tiny_library)
    parts = split(tiny_library, classes, by="recording", test=0.34, seed=0)
    cases = make_cases(tiny_library, classes, parts, sizes=(2,), count=4)
    shares = verdict(judge(embedding_distance(untrained), cases, parts.train))
    assert list(shares.columns) == [*ALTERNATIVES, "all", "cases"]
    assert shares.loc["all N", "single"] >= 0.5
