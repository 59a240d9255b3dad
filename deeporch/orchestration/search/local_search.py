"""Local search: exchanges, disturbances and crossings of solutions."""

from __future__ import annotations

import torch

from .pursuit import BY_FIT, GAIN, NONE, PURSUED, RUNNERS_UP, compare, pursue
from .state import OutOfBudget, Screen, SearchState

ROUGHLY = Screen(best=6, drawn=4, rough=True)  # which of a player's notes are compared, beside those that were before
STARTS = 3  # assignments drawn at random that a search begins with, beside what it pursues
POOL = 6  # solutions that it goes on from
CROSSED = 0.3  # share of the times in which two of them are crossed, and not the best one disturbed
PATIENCE = 60  # times without a gain after which the search ends


def refine(
    state: SearchState, assignment: torch.Tensor, *, screen: Screen | None = BY_FIT
) -> tuple[torch.Tensor, float]:
    """Give one player after the other his best note, or a rest, until no exchange helps: coordinate descent."""
    assignment = assignment.clone()
    score = state.score_of(assignment)
    state.keep(assignment, score)
    players = [p for p, choices in enumerate(state.problem.choices) if len(choices)]
    idle, turn = 0, 0
    order = [players[i] for i in torch.randperm(len(players), generator=state.generator).tolist()]
    while idle < len(players):
        p = order[turn % len(order)]
        turn, idle = turn + 1, idle + 1
        options, others, scores = exchanges(state, assignment, p, screen=screen)
        if not len(options):
            continue
        best = int(scores.argmin())
        for i in scores.topk(min(RUNNERS_UP, len(scores)), largest=False).indices.tolist():
            others[p] = options[i]
            state.keep(others, float(scores[i]))
        if scores[best] < score - GAIN and options[best] != assignment[p]:
            assignment[p], score, idle = options[best], float(scores[best]), 1
    return assignment, score


def exchanges(
    state: SearchState, assignment: torch.Tensor, player: int, *, screen: Screen | None = BY_FIT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare what a player might play instead, or (if that is allowed) rest, with the target."""
    others = assignment.clone()
    others[player] = state.problem.rest
    count = int((others != state.problem.rest).sum())
    options, scores = NONE, torch.empty(0)
    if count < state.problem.max_notes:
        _, options, scores = compare(state, others, [player], screen)
    if player not in state.problem.must_play and count and count >= state.problem.min_notes:
        options = torch.cat([options, torch.tensor([state.problem.rest])])
        scores = torch.cat([scores, _known_or_scored(state, others)])
    return options, others, scores


def _known_or_scored(state: SearchState, others: torch.Tensor) -> torch.Tensor:
    """Return the score [1] of an assignment, looked up if it is known."""
    known = state.tried(others)
    if not known:
        known[state.problem.rest] = state.score_of(others)
    return torch.tensor([known[state.problem.rest]])


def disturb(state: SearchState, assignment: torch.Tensor, notes: int) -> torch.Tensor:
    """Return an assignment in which some players rest, and one of them has another note, drawn at random."""
    playing = (assignment != state.problem.rest).nonzero().flatten()
    drop = playing[torch.randperm(len(playing), generator=state.generator)[:notes]]
    others = assignment.clone()
    others[drop] = state.problem.rest
    able = [p for p, choices in enumerate(state.problem.choices) if len(choices) and others[p] == state.problem.rest]
    if able and int((others != state.problem.rest).sum()) < state.problem.max_notes:
        p = able[int(torch.randint(len(able), (1,), generator=state.generator))]
        options = state.problem.choices[p][
            ~torch.isin(state.problem.choices[p], torch.cat([others, assignment[p : p + 1]]))
        ]
        if len(options):
            others[p] = options[int(torch.randint(len(options), (1,), generator=state.generator))]
    return others


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


def cross(state: SearchState, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return an assignment in which each player has what he has in one or in the other, as chance decides."""
    first = torch.rand(len(one), generator=state.generator) < 0.5
    return repaired(state, torch.where(first, one, other)[None])[0]


def explore(state: SearchState, *, patience: int = PATIENCE) -> None:
    """Refine several starts, then cross or disturb the best and refine again, until the budget is spent."""
    pool: list[tuple[torch.Tensor, float]] = []
    try:
        drawn = (repaired(state, random_assignments(state, 1, 0.5))[0] for _ in range(STARTS))
        for start in (pursue(state), *drawn):
            _join(pool, refine(state, start, screen=_screen(state)))
        idle, thorough = 0, False
        while idle < patience or not thorough:
            best = pool[0][1]
            if idle >= patience:
                thorough = True
                _join(pool, refine(state, pool[0][0], screen=None))
            else:
                _join(pool, _child(state, pool))
            idle = 0 if pool[0][1] < best - GAIN else idle + 1
    except OutOfBudget:
        return


def _screen(state: SearchState) -> Screen:
    """Return one of two, drawn."""
    return ROUGHLY if torch.rand(1, generator=state.generator) < 0.5 else BY_FIT


def _child(state: SearchState, pool: list[tuple[torch.Tensor, float]]) -> tuple[torch.Tensor, float]:
    """Cross two of the pool or disturb its best, and refine what that gives."""
    screen = _screen(state)
    if len(pool) > 1 and torch.rand(1, generator=state.generator) < CROSSED:
        one, other = torch.randperm(len(pool), generator=state.generator)[:2].tolist()
        child = cross(state, pool[one][0], pool[other][0])
    else:
        child = disturb(state, pool[0][0], 1 + int(torch.randint(3, (1,), generator=state.generator)))
        if torch.rand(1, generator=state.generator) < PURSUED:
            child = pursue(state, child, screen=screen)
    return refine(state, child, screen=screen)


def _join(pool: list[tuple[torch.Tensor, float]], found: tuple[torch.Tensor, float]) -> None:
    """Add a solution to the pool unless it is there; keep the best ones, in their order."""
    if all(abs(found[1] - score) >= GAIN for _, score in pool):
        pool.append(found)
        pool.sort(key=lambda each: each[1])
        del pool[POOL:]
