"""The plain genetic algorithm of Orchidea, with its published settings: a baseline, and a way to refine."""

from __future__ import annotations

from contextlib import suppress

import torch

from .problem import OutOfBudget, Task

POPULATION, GENERATIONS = 500, 300
CROSSOVER, MUTATION = 0.8, 0.01


def genetic(
    task: Task,
    *,
    population: int = POPULATION,
    generations: int = GENERATIONS,
    crossover: float = CROSSOVER,
    mutation: float = MUTATION,
    rest: float = 0.1,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Evolve assignments: tournaments of two, uniform crossover, new notes by mutation, and the best one survives [1]_.

    A whole generation is compared with the target as one tensor operation; population × generations evaluations.

    Parameters
    ----------
    task : Task
        What is searched; the best of each generation is kept there.
    population, generations : int
        How many, and how often.
    crossover : float
        Share of children that have two parents.
    mutation : float
        Chance that a player of a child gets a note at random.
    rest : float
        Chance that a random note is a rest.
    start : torch.Tensor, optional
        Assignments [any, players] that the first generation begins with.

    Returns
    -------
    torch.Tensor
        The best assignment.

    References
    ----------
    .. [1] C. E. Cella, Orchidea: a comprehensive framework for target-based computer-assisted dynamic orchestration,
       Journal of New Music Research 50, 2021: population 500, 300 generations, crossover 0.8, mutation 0.01.
    """
    people = random_assignments(task, population, rest)
    if start is not None:
        people[: len(start)] = start[:population]
    best, best_score = people[0], float("inf")
    with suppress(OutOfBudget):
        for _ in range(generations):
            people = repaired(task, people)
            scores = task.score(task.mixture(people), task.cost(people))
            top = int(scores.argmin())
            if scores[top] < best_score:
                best, best_score = people[top].clone(), float(scores[top])
                task.keep(best, best_score)
            people = _children(task, people, scores, crossover, mutation, rest)
            people[0] = best
    return best


def random_assignments(task: Task, count: int, rest: float) -> torch.Tensor:
    """Return assignments drawn at random [count, players]: any of each player's notes, or, by chance `rest`, a rest."""
    columns = []
    for p, choices in enumerate(task.choices):
        silent = torch.full((count,), task.rest)
        if not len(choices):
            columns.append(silent)
            continue
        notes = choices[torch.randint(len(choices), (count,), generator=task.generator)]
        rests = torch.rand(count, generator=task.generator) < (0 if p in task.must_play else rest)
        columns.append(torch.where(rests, silent, notes))
    return torch.stack(columns, 1)


def _children(
    task: Task, people: torch.Tensor, scores: torch.Tensor, crossover: float, mutation: float, rest: float
) -> torch.Tensor:
    """Return the next generation."""
    count, players = people.shape
    draws = torch.randint(count, (2, 2, count), generator=task.generator)  # two parents, each the better one of two
    parents = torch.where(scores[draws[:, 0]] <= scores[draws[:, 1]], draws[:, 0], draws[:, 1])
    crossed = torch.rand(count, 1, generator=task.generator) < crossover
    second = (torch.rand(count, players, generator=task.generator) < 0.5) & crossed
    children = torch.where(second, people[parents[1]], people[parents[0]])
    mutated = torch.rand(count, players, generator=task.generator) < mutation
    return torch.where(mutated, random_assignments(task, count, rest), children)


def repaired(task: Task, people: torch.Tensor) -> torch.Tensor:
    """Return people in which no two players have the same recording, and between min_notes and max_notes play."""
    for p in range(1, people.shape[1]):
        twice = (people[:, :p] == people[:, p : p + 1]).any(1)
        people[:, p] = torch.where(twice, task.rest, people[:, p])
    for _ in range(people.shape[1]):
        few = ((people != task.rest).sum(1) < task.min_notes)[:, None]
        if not few.any():
            break
        people = torch.where(few & (people == task.rest), random_assignments(task, len(people), 0.0), people)
    order = torch.rand(people.shape, generator=task.generator) - (people == task.rest).float() * 2
    for p in task.must_play:
        order[:, p] = 2
    ranks = order.argsort(1, descending=True).argsort(1)
    return torch.where(ranks < task.max_notes, people, task.rest)
