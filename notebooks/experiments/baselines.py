"""What the package's distances and searches are compared with: baselines, and candidates that did not win."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import torch
from scipy.optimize import nnls

from deeporch.notes.instruments import DYNAMICS
from deeporch.orchestration.distances import Distance, attack_and_rest, partials
from deeporch.orchestration.search.local_search import random_assignments, repaired
from deeporch.orchestration.search.problem import SearchProblem
from deeporch.orchestration.search.pursuit import free_players
from deeporch.orchestration.search.state import OutOfBudget, SearchState
from deeporch.orchestration.spectra import Bands, Resolutions

POPULATION, GENERATIONS = 500, 300  # Orchidea's published settings
CROSSOVER, MUTATION = 0.8, 0.01
LOUD, MIDDLE = 0.66, 0.33  # probabilities above which the follow-up plays ff and mf


def multi_resolution(
    target: torch.Tensor, sounds: torch.Tensor, *, of: Resolutions, groups: Sequence[int], weights: Sequence[float]
) -> torch.Tensor:
    """Return the mean, by weight, of `partials` at several resolutions, each with its `group` of bands."""
    views = zip(target.split(of.counts, -1), sounds.split(of.counts, -1), groups, weights, strict=True)
    parts = [weight * partials(one, many, group=group) for one, many, group, weight in views]
    return torch.stack(parts).sum(0) / sum(weights)


_FINE = Resolutions((Bands(), Bands(n_fft=2048, hop=512, per_octave=12, low=110.0, high=10_340.0), Bands(n_fft=16_384)))
_ANGLES = partial(multi_resolution, of=_FINE, groups=(12, 4, 12), weights=(1.0, 0.5, 1.0))
MULTI_RESOLUTION = Distance(
    "multi_resolution",
    _FINE,
    _ANGLES,
    attack_and_rest,
    0.01,
    "`partials` at three resolutions, at three times the cost",
)


def genetic(
    state: SearchState,
    *,
    population: int = POPULATION,
    generations: int = GENERATIONS,
    crossover: float = CROSSOVER,
    mutation: float = MUTATION,
    rest: float = 0.1,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Evolve assignments: tournaments of two, uniform crossover, new notes by mutation, and the best one survives."""
    people = random_assignments(state, population, rest)
    if start is not None:
        people[: len(start)] = start[:population]
    best, best_score = people[0], float("inf")
    with suppress(OutOfBudget):
        for _ in range(generations):
            people = repaired(state, people)
            scores = state.score(state.problem.mixture(people), state.problem.cost(people))
            top = int(scores.argmin())
            if scores[top] < best_score:
                best, best_score = people[top].clone(), float(scores[top])
                state.keep(best, best_score)
            people = _children(state, people, scores, crossover, mutation, rest)
            people[0] = best
    return best


def _children(
    state: SearchState, people: torch.Tensor, scores: torch.Tensor, crossover: float, mutation: float, rest: float
) -> torch.Tensor:
    """Return the next generation."""
    count, players = people.shape
    draws = torch.randint(count, (2, 2, count), generator=state.generator)  # two parents, each the better one of two
    parents = torch.where(scores[draws[:, 0]] <= scores[draws[:, 1]], draws[:, 0], draws[:, 1])
    crossed = torch.rand(count, 1, generator=state.generator) < crossover
    second = (torch.rand(count, players, generator=state.generator) < 0.5) & crossed
    children = torch.where(second, people[parents[1]], people[parents[0]])
    mutated = torch.rand(count, players, generator=state.generator) < mutation
    return torch.where(mutated, random_assignments(state, count, rest), children)


def orthogonal_pursuit(state: SearchState) -> tuple[torch.Tensor, np.ndarray]:
    """Add the note that correlates most with what is missing, then fit all gains: orthogonal matching pursuit."""
    problem = state.problem
    assignment, target = problem.silence, problem.target.flatten().cpu().numpy()
    power, base = np.zeros(len(assignment)), torch.zeros_like(problem.views[0])
    while int((assignment != problem.rest).sum()) < problem.max_notes:
        pairs = [(p, state.options(p, base, assignment, None)) for p in free_players(state, assignment)]
        pairs = [(problem.fit(options, base), p, options) for p, options in pairs if len(options)]
        if not pairs:
            break
        fit, p, options = max(pairs, key=lambda pair: float(pair[0].max()))
        if float(fit.max()) <= 0:
            break
        assignment[p] = options[int(fit.argmax())]
        power, _ = nnls(problem.views[assignment].T.cpu().numpy().astype(np.float64), target.astype(np.float64))
        base = torch.from_numpy(power.astype(np.float32)).to(problem.device) @ problem.views[assignment]
    gains = np.sqrt(power / max(power.max(), 1e-20))
    assignment[power <= 0] = problem.rest
    quantised = _nearest_dynamics(problem, assignment, gains)
    state.keep(quantised, state.score_of(quantised))
    return quantised, gains


def _nearest_dynamics(problem: SearchProblem, assignment: torch.Tensor, gains: np.ndarray) -> torch.Tensor:
    """Return the recordings of the same notes whose loudness, relative to the loudest, is nearest to what is wanted."""
    table = problem.notes.table.iloc[problem.rows]
    names = (table["instrument"] + " " + table["pitch"]).to_numpy()
    loudness = table["loudness"].to_numpy(dtype=float)
    quantised = assignment.clone()
    for p, i in enumerate(assignment.tolist()):
        if i != problem.rest and gains[p] > 0:
            same = np.array([c for c in problem.choices[p].tolist() if names[c] == names[i]])
            wanted = loudness[i] + 20 * np.log10(gains[p])
            free = same[~np.isin(same, quantised[:p].numpy())]
            quantised[p] = int(free[np.abs(loudness[free] - wanted).argmin()]) if len(free) else i
    return quantised


def network_only(state: SearchState, probabilities: torch.Tensor) -> torch.Tensor:
    """Return the orchestration of the follow-up: the likeliest note of each player, loud if it is likely."""
    problem = state.problem
    table = problem.notes.table.iloc[problem.rows]
    level = table["dynamic"].map({name: i for i, name in enumerate(DYNAMICS)}).fillna(3).to_numpy()
    assignment, probabilities = problem.silence, probabilities.nan_to_num(0.0)
    likeliest = [float(probabilities[c].max()) if len(c) else -1.0 for c in problem.choices]
    for p in np.argsort(likeliest)[::-1][: problem.max_notes]:
        choices = problem.choices[p][~torch.isin(problem.choices[p], assignment)]
        if not len(choices):
            continue
        top = probabilities[choices].max()
        wanted = DYNAMICS.index("ff" if top > LOUD else "mf" if top > MIDDLE else "pp")
        same = choices[probabilities[choices] == top].numpy()
        assignment[p] = int(same[np.abs(level[same] - wanted).argmin()])
    state.keep(assignment, state.score_of(assignment))
    return assignment
