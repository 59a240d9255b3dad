"""The plain genetic algorithm of Orchidea, with its published settings: a baseline, and a way to refine."""

from __future__ import annotations

from contextlib import suppress

import torch

from .state import OutOfBudget, SearchState

POPULATION, GENERATIONS = 500, 300
CROSSOVER, MUTATION = 0.8, 0.01


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


def random_assignments(state: SearchState, count: int, rest: float) -> torch.Tensor:
    """Return assignments drawn at random [count, players]: any of each player's notes, or, by chance `rest`, a rest."""
    columns = []
    for p, choices in enumerate(state.problem.choices):
        silent = torch.full((count,), state.problem.rest)
        if not len(choices):
            columns.append(silent)
            continue
        notes = choices[torch.randint(len(choices), (count,), generator=state.generator)]
        rests = torch.rand(count, generator=state.generator) < (0 if p in state.problem.must_play else rest)
        columns.append(torch.where(rests, silent, notes))
    return torch.stack(columns, 1)


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


def repaired(state: SearchState, people: torch.Tensor) -> torch.Tensor:
    """Return people in which no two players have the same recording, and between min_notes and max_notes play."""
    for p in range(1, people.shape[1]):
        twice = (people[:, :p] == people[:, p : p + 1]).any(1)
        people[:, p] = torch.where(twice, state.problem.rest, people[:, p])
    for _ in range(people.shape[1]):
        few = ((people != state.problem.rest).sum(1) < state.problem.min_notes)[:, None]
        if not few.any():
            break
        people = torch.where(few & (people == state.problem.rest), random_assignments(state, len(people), 0.0), people)
    order = torch.rand(people.shape, generator=state.generator) - (people == state.problem.rest).float() * 2
    for p in state.problem.must_play:
        order[:, p] = 2
    ranks = order.argsort(1, descending=True).argsort(1)
    return torch.where(ranks < state.problem.max_notes, people, state.problem.rest)
