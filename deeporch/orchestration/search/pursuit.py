"""Pursuit: notes added one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .state import Screen, SearchState

BY_FIT = Screen(best=6, drawn=6)  # which of a player's notes are compared with the target
PURSUED = 0.5  # share of what is disturbed that is filled up before it is refined: what is best differs by distance
RUNNERS_UP = 3  # of each exchange, so many are remembered, so that there is something to choose from
GAIN = 1e-6  # what a move must gain
NONE = torch.empty(0, dtype=torch.long)


def sketch(state: SearchState) -> None:
    """Keep a first answer at the cost of one evaluation, budget or not: the notes that fit best, as few as may be."""
    problem, assignment = state.problem, state.problem.silence
    while True:
        count = int((assignment != problem.rest).sum())
        waiting = [p for p in problem.must_play if assignment[p] == problem.rest and len(problem.choices[p])]
        if count >= max(problem.min_notes, 1) and not waiting:
            break
        base = problem.mixture(assignment)
        pairs = [(p, problem.choices[p]) for p in free_players(state, assignment)]
        pairs = [(p, options[~torch.isin(options, assignment)]) for p, options in pairs]
        pairs = [(problem.fit(options, base), p, options) for p, options in pairs if len(options)]
        if not pairs:
            return
        fit, p, options = max(pairs, key=lambda each: float(each[0].max()))
        assignment[p] = options[int(fit.argmax())]
    state.keep(assignment, float(state.compared(problem.mixture(assignment)[None], problem.cost(assignment))[0]))


def pursue(state: SearchState, start: torch.Tensor | None = None, *, screen: Screen | None = BY_FIT) -> torch.Tensor:
    """Add the note that helps most, of any player who rests, until none helps, and return the assignment."""
    problem = state.problem
    assignment = problem.silence if start is None else start.clone()
    score = state.score_of(assignment) if (assignment != problem.rest).any() else float("inf")
    while True:
        players, options, scores = additions(state, assignment, screen=screen)
        if not len(options):
            break
        count, best = int((assignment != problem.rest).sum()), int(scores.argmin())
        if scores[best] > score - GAIN and count >= problem.min_notes and int(players[best]) not in problem.must_play:
            break
        for i in scores.topk(min(RUNNERS_UP, len(scores)), largest=False).indices.tolist():
            other = assignment.clone()
            other[players[i]] = options[i]
            state.keep(other, float(scores[i]))
        assignment[players[best]], score = options[best], float(scores[best])
    return assignment


def additions(
    state: SearchState, assignment: torch.Tensor, *, screen: Screen | None = BY_FIT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare what those who rest might play with the target: players, options and scores [options]."""
    if int((assignment != state.problem.rest).sum()) >= state.problem.max_notes:
        return NONE, NONE, torch.empty(0)
    return compare(state, assignment, free_players(state, assignment), screen)


def compare(
    state: SearchState, others: torch.Tensor, players: Sequence[int], screen: Screen | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare notes of some players beside the others' with the target: new ones, and at no cost those known before."""
    problem, base = state.problem, state.problem.mixture(others)
    known = [state.tried(others, p) for p in players]
    taken = [torch.cat([others, torch.tensor([*tried], dtype=torch.long)]) for tried in known]
    new = [state.options(p, base, each, screen) for p, each in zip(players, taken, strict=True)]
    options = torch.cat([NONE, *new])
    if len(options):
        scores = state.score(base + problem.views[options], problem.cost(others) + problem.costs[options])
        for tried, each, part in zip(known, new, scores.split([len(each) for each in new]), strict=True):
            tried.update(zip(each.tolist(), part.tolist(), strict=True))
    who = [torch.full((len(tried),), p) for p, tried in zip(players, known, strict=True)]
    options = torch.tensor([i for tried in known for i in tried], dtype=torch.long)
    return torch.cat([NONE, *who]), options, torch.tensor([x for tried in known for x in tried.values()])


def free_players(state: SearchState, assignment: torch.Tensor) -> list[int]:
    """Return players who rest and have notes, one of each kind; those who must play come first."""
    problem = state.problem
    resting = [p for p, choices in enumerate(problem.choices) if assignment[p] == problem.rest and len(choices)]
    resting = [p for p in resting if p in problem.must_play] or resting
    return list({problem.kinds[p]: p for p in reversed(resting)}.values())[::-1]
