"""What a recognizer makes of a sound, as a distance."""

import pytest
import torch
from experiments.distance_validation import ALTERNATIVES, judge, make_cases, verdict
from experiments.embedding import embedding_distance

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.mixtures.splits import split
from deeporch.orchestration.search.problem import Task

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


@pytest.fixture
def case(cache, tiny_library, untrained):
    """A mixture of three notes as a task in which each of them may be played, and the notes' rows."""
    samples = untrained.features.samples
    mixtures = Mixtures(tiny_library, Classes(tiny_library), n=3, size=1, seed=0, samples=samples)
    rows = mixtures.indices[0].long()
    task = Task(
        mixtures.audio([0])[0], tiny_library, [rows.sort().values.numpy()] * 3, embedding_distance(untrained),
        seconds=samples / tiny_library.sample_rate,
    )  # fmt: skip
    return task, rows


def test_a_mixture_is_nearest_to_its_own_notes(case):
    task, _ = case
    whole = float(task.score(task.mixture(torch.arange(3))[None], 0.0)[0])
    assert whole < 1e-3  # constant-Qs add up, but for the halves that they are kept in
    assert (task.score(task.mixture(torch.tensor([[0, 1], [0, 2], [1, 2]])), 0.0) > 2 * whole).all()


def test_as_heard_it_is_what_the_search_computes(case):
    task, rows = case
    sounds = task.notes.audio[rows.sort().values, : len(task.sound)].float()
    heard = task.measure(task.sound, sounds)
    torch.testing.assert_close(heard, task.alone(), atol=1e-3, rtol=0)
    torch.testing.assert_close(task.alone(), task.score(task.views[:-1], 0.0))
    assert task.budget.spent == 3 * 3


def test_it_looks_at_the_network_and_not_at_the_level(case, untrained):
    task, _ = case
    louder = task.measure(task.sound, 0.1 * task.sound[None])
    assert float(louder[0]) == pytest.approx(0, abs=1e-4)
    embedded = untrained.model.embed(untrained.features(task.sound[None]))
    assert embedded.shape == (1, untrained.model.config.width, untrained.model.config.pitches)


def test_it_can_be_judged(cache, tiny_library, untrained):
    classes = Classes(tiny_library)
    parts = split(tiny_library, classes, by="recording", test=0.34, seed=0)
    cases = make_cases(tiny_library, classes, parts, sizes=(2,), count=4)
    shares = verdict(judge(embedding_distance(untrained), cases, parts.train))
    assert list(shares.columns) == [*ALTERNATIVES, "all", "cases"]
    assert shares.loc["all N", "single"] >= 0.5
