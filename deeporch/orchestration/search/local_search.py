"""Local search: exchanges, disturbances and crossings of solutions."""

from __future__ import annotations

import torch

from .genetic import random_assignments, repaired
from .problem import OutOfBudget, Screen, Task
from .pursuit import BY_FIT, GAIN, PURSUED, RUNNERS_UP, _compare, pursue

ROUGHLY = Screen(best=6, drawn=4, rough=True)  # which of a player's notes are compared, beside those that were before
STARTS = 3  # assignments drawn at random that a search begins with, beside what it pursues
POOL = 6  # solutions that it goes on from
CROSSED = 0.3  # share of the times in which two of them are crossed, and not the best one disturbed
PATIENCE = 60  # times without a gain after which the search ends


def refine(task: Task, assignment: torch.Tensor, *, screen: Screen | None = BY_FIT) -> tuple[torch.Tensor, float]:
    """Give one player after the other his best note, or a rest, until no exchange helps: coordinate descent.

    Parameters
    ----------
    task : Task
        What is searched; the result is kept there.
    assignment : torch.Tensor
        Where to begin.
    screen : Screen, optional
        Which notes of a player are compared at each step; None: all.

    Returns
    -------
    assignment : torch.Tensor
    score : float
        Distance with the cost of its notes.
    """
    assignment = assignment.clone()
    score = float(task.score(task.mixture(assignment)[None], task.cost(assignment))[0])
    task.keep(assignment, score)
    players = [p for p, choices in enumerate(task.choices) if len(choices)]
    idle, turn = 0, 0
    order = [players[i] for i in torch.randperm(len(players), generator=task.generator).tolist()]
    while idle < len(players):
        p = order[turn % len(order)]
        turn, idle = turn + 1, idle + 1
        options, others, scores = exchanges(task, assignment, p, screen=screen)
        if not len(options):
            continue
        best = int(scores.argmin())
        for i in scores.topk(min(RUNNERS_UP, len(scores)), largest=False).indices.tolist():
            others[p] = options[i]
            task.keep(others, float(scores[i]))
        if scores[best] < score - GAIN and options[best] != assignment[p]:
            assignment[p], score, idle = options[best], float(scores[best]), 1
    return assignment, score


def exchanges(
    task: Task, assignment: torch.Tensor, player: int, *, screen: Screen | None = BY_FIT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare what a player might play instead, or rest, with the target.

    Returns
    -------
    options : torch.Tensor
        [options]: notes, and `rest` if that is allowed.
    others : torch.Tensor
        The assignment without the player.
    scores : torch.Tensor
        [options]
    """
    others = assignment.clone()
    others[player] = task.rest
    count = int((others != task.rest).sum())
    options, scores = torch.empty(0, dtype=torch.long), torch.empty(0)
    if count < task.max_notes:
        _, options, scores = _compare(task, others, [player], screen)
    if player not in task.must_play and count and count >= task.min_notes:
        options = torch.cat([options, torch.tensor([task.rest])])
        scores = torch.cat([scores, _known_or_scored(task, others)])
    return options, others, scores


def _known_or_scored(task: Task, others: torch.Tensor) -> torch.Tensor:
    """Return the score [1] of an assignment, looked up if it is known."""
    known = task.tried(others)
    if not known:
        known[task.rest] = float(task.score(task.mixture(others)[None], task.cost(others))[0])
    return torch.tensor([known[task.rest]])


def disturb(task: Task, assignment: torch.Tensor, notes: int) -> torch.Tensor:
    """Return an assignment in which some players rest, and one of them has another note, drawn at random."""
    playing = (assignment != task.rest).nonzero().flatten()
    drop = playing[torch.randperm(len(playing), generator=task.generator)[:notes]]
    others = assignment.clone()
    others[drop] = task.rest
    able = [p for p, choices in enumerate(task.choices) if len(choices) and others[p] == task.rest]
    if able and int((others != task.rest).sum()) < task.max_notes:
        p = able[int(torch.randint(len(able), (1,), generator=task.generator))]
        options = task.choices[p][~torch.isin(task.choices[p], torch.cat([others, assignment[p : p + 1]]))]
        if len(options):
            others[p] = options[int(torch.randint(len(options), (1,), generator=task.generator))]
    return others


def cross(task: Task, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return an assignment in which each player has what he has in one or in the other, as chance decides."""
    first = torch.rand(len(one), generator=task.generator) < 0.5
    return repaired(task, torch.where(first, one, other)[None])[0]


def explore(task: Task, *, patience: int = PATIENCE) -> None:
    """Refine several starts, then cross or disturb the best and refine again, until the budget is spent.

    A memetic algorithm [1]_ of few solutions, most of whose children are those of an iterated local search [2]_: the
    best one, disturbed. It starts from what pursuit finds and from notes drawn at random, since pursuit leads into the
    same dead end every time. Each refinement screens notes by their fit or by rough comparisons, as chance decides:
    one wanders, the other descends. After `patience` children in a row that gained nothing all notes of all players
    are compared, once. All that was found is kept in the task.

    References
    ----------
    .. [1] P. Moscato, On evolution, search, optimization, genetic algorithms and martial arts: towards memetic
       algorithms, Caltech Concurrent Computation Program, 1989.
    .. [2] H. R. Lourenço, O. C. Martin, T. Stützle, Iterated local search, in Handbook of Metaheuristics, 2003.
    """
    pool: list[tuple[torch.Tensor, float]] = []
    try:
        drawn = (repaired(task, random_assignments(task, 1, 0.5))[0] for _ in range(STARTS))
        for start in (pursue(task), *drawn):
            _join(pool, refine(task, start, screen=_screen(task)))
        idle, thorough = 0, False
        while idle < patience or not thorough:
            best = pool[0][1]
            if idle >= patience:
                thorough = True
                _join(pool, refine(task, pool[0][0], screen=None))
            else:
                _join(pool, _child(task, pool))
            idle = 0 if pool[0][1] < best - GAIN else idle + 1
    except OutOfBudget:
        return


def _screen(task: Task) -> Screen:
    """Return one of two, drawn."""
    return ROUGHLY if torch.rand(1, generator=task.generator) < 0.5 else BY_FIT


def _child(task: Task, pool: list[tuple[torch.Tensor, float]]) -> tuple[torch.Tensor, float]:
    """Cross two of the pool or disturb its best, and refine what that gives."""
    screen = _screen(task)
    if len(pool) > 1 and torch.rand(1, generator=task.generator) < CROSSED:
        one, other = torch.randperm(len(pool), generator=task.generator)[:2].tolist()
        child = cross(task, pool[one][0], pool[other][0])
    else:
        child = disturb(task, pool[0][0], 1 + int(torch.randint(3, (1,), generator=task.generator)))
        if torch.rand(1, generator=task.generator) < PURSUED:
            child = pursue(task, child, screen=screen)
    return refine(task, child, screen=screen)


def _join(pool: list[tuple[torch.Tensor, float]], found: tuple[torch.Tensor, float]) -> None:
    """Add a solution to the pool unless it is there; keep the best ones, in their order."""
    if all(abs(found[1] - score) >= GAIN for _, score in pool):
        pool.append(found)
        pool.sort(key=lambda each: each[1])
        del pool[POOL:]
