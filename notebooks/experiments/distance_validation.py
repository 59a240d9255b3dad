"""Does a distance let right answers win? Mixtures of held-out recordings, and the true notes against near misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.mixtures.splits import Split
from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.distances import Distance
from deeporch.orchestration.search.prior import propose
from deeporch.orchestration.search.problem import SearchProblem
from deeporch.orchestration.search.state import SearchState
from deeporch.orchestration.spectra import Bands
from deeporch.util.progress import progress

if TYPE_CHECKING:
    from deeporch.recognition.recognizer import Recognizer

ALTERNATIVES = ("single", "less", "plus", "semitone", "octave")  # each of them must lose against the true notes
INDIFFERENT = Distance("recognizer", Bands(), lambda _, sounds: sounds.new_ones(len(sounds)), about="evidence alone")
SECONDS = 2.0  # of a case's mixture


def make_cases(
    notes: NoteLibrary,
    classes: Classes,
    split: Split,
    *,
    sizes: Sequence[int] = (2, 3, 5, 10),
    count: int = 500,
    seed: int = 0,
) -> list[Mixtures]:
    """Return mixtures of held-out recordings, as many of each size, every instrument playing once at most."""
    samples = round(SECONDS * notes.sample_rate)
    options = {"pool": split.test, "per_instrument": 1, "samples": samples, "size": count // len(sizes)}
    return [Mixtures(notes, classes, n=n, seed=seed + n, **options) for n in sizes]


def judge(
    measure: Distance,
    cases: Sequence[Mixtures],
    library: torch.Tensor,
    *,
    recognizer: Recognizer | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what a distance, with its cost a note, says of the true notes and of near misses.

    The true notes are other recordings of the mixture's classes: those of the library, at the dynamics that the
    distance prefers. Beside them: the best single note of the library; the true notes less one; plus one; and with one
    moved by a semitone or an octave, each of these drawn at random, at the dynamic that the distance prefers.

    Parameters
    ----------
    measure : Distance
        What is judged.
    cases : sequence of Mixtures
        Of held-out recordings; see `make_cases`.
    library : torch.Tensor
        Rows that solutions are made of (a split's ``train``).
    recognizer : Recognizer, optional
        Whose evidence is a prior; see `propose`. One that has seen none of the held-out recordings.
    seed : int
        Of what is drawn.

    Returns
    -------
    pandas.DataFrame
        A row a case: n, true, and one column for each of ALTERNATIVES (NaN where there is none).
    """
    generator = np.random.default_rng(seed)
    rows = []
    for mixtures in cases:
        problem = _problem(measure, mixtures, library)
        for i in progress(range(len(mixtures)), desc=f"{measure.name}, N = {mixtures.n}", unit=" cases", leave=False):
            case = problem.aimed(mixtures.audio([i])[0])
            state = SearchState(case if recognizer is None else propose(case, recognizer))
            rows.append({"n": mixtures.n, **_scores(state, mixtures, i, generator)})
    return pd.DataFrame(rows)


def verdict(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the share of cases in which the true notes beat each alternative, and all of them, by N and over all.

    The last column has the number of cases.
    """
    names = [name for name in ALTERNATIVES if name in judged]
    wins = judged[names].gt(judged["true"], axis=0).where(judged[names].notna())
    wins["all"] = judged[names].isna().to_numpy().__or__(judged[names].gt(judged["true"], axis=0).to_numpy()).all(1)
    wins = wins.astype(float)
    shares = pd.concat([wins.groupby(judged["n"]).mean(), wins.mean().to_frame("all N").T])
    return shares.assign(cases=[*judged.groupby("n").size(), len(judged)])


def _problem(measure: Distance, mixtures: Mixtures, library: torch.Tensor) -> SearchProblem:
    """Return a problem in which every note may be played by any of N + 1 players."""
    return SearchProblem(
        mixtures.audio([0])[0], mixtures.notes, [library.numpy()] * (mixtures.n + 1), measure,
        mixtures.samples / mixtures.notes.sample_rate,
    ).prepared()  # fmt: skip


def _scores(state: SearchState, mixtures: Mixtures, i: int, generator: np.random.Generator) -> dict[str, float]:
    """Return the scores of the true notes and of every alternative of one case."""
    of_row = mixtures.classes.of_note[torch.from_numpy(state.problem.rows)].numpy()
    classes = mixtures.classes.of_note[mixtures.indices[i].long()].tolist()
    true, score = best_recordings(state, of_row, classes)
    found = {"true": score, "single": float(state.alone().min())}
    k = int(generator.integers(len(true)))
    others = true[:k] + true[k + 1 :]
    rest = torch.tensor(others, dtype=torch.long)
    found["less"] = (
        float(state.score(state.problem.mixture(rest)[None], state.problem.cost(rest))[0]) if others else np.nan
    )
    absent = np.setdiff1d(np.unique(of_row), classes)
    found["plus"] = _best(state, true, np.flatnonzero(of_row == generator.choice(absent)))[1]
    for name, steps in (("semitone", (-1, 1)), ("octave", (-12, 12))):
        found[name] = min(
            (_best(state, others, rows)[1] for rows in _moved(mixtures, of_row, classes, k, steps, generator)),
            default=np.nan,
        )
    return found


def best_recordings(state: SearchState, of_row: np.ndarray, classes: Sequence[int]) -> tuple[list[int], float]:
    """Return the candidate of each class that goes best with the others', and their score.

    Parameters
    ----------
    state : SearchState
        Of the target.
    of_row : numpy.ndarray
        The class of each candidate.
    classes : sequence of int
        Those that are wanted.
    """
    true = [int(np.flatnonzero(of_row == c)[0]) for c in classes]
    score = np.inf
    for _ in range(2):
        for k, c in enumerate(classes):
            true[k], score = _best(state, true[:k] + true[k + 1 :], np.flatnonzero(of_row == c))
    return true, score


def _best(state: SearchState, others: Sequence[int], options: np.ndarray) -> tuple[int, float]:
    """Return which of some notes goes best with others, and the score."""
    rest = torch.tensor(others, dtype=torch.long)
    scores = state.score(
        state.problem.mixture(rest) + state.problem.views[options],
        state.problem.cost(rest) + state.problem.costs[options],
    )
    return int(options[int(scores.argmin())]), float(scores.min())


def _moved(
    mixtures: Mixtures, of_row: np.ndarray, classes: Sequence[int], k: int, steps: Sequence[int],
    generator: np.random.Generator,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield the rows of one true note moved by one of `steps` semitones, drawn at random, if the library has it."""
    table = mixtures.classes.table
    here = table.iloc[classes[k]]
    for step in generator.permutation(steps):
        moved = table.index[(table["instrument"] == here["instrument"]) & (table["midi"] == here["midi"] + step)]
        rows = np.flatnonzero(np.isin(of_row, moved))
        if len(rows) and moved[0] not in classes:
            yield rows
            return
