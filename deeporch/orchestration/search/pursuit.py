"""Pursuit: notes added one after the other, and the recognizer's prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import nnls

from ...notes.instruments import DYNAMICS
from ...util.audio import read_sound
from .problem import Screen, Task

if TYPE_CHECKING:
    from ...recognition.recognizer import Recognizer

BY_FIT = Screen(best=6, drawn=6)  # which of a player's notes are compared with the target
PURSUED = 0.5  # share of what is disturbed that is filled up before it is refined: what is best differs by distance
RUNNERS_UP = 3  # of each exchange, so many are remembered, so that there is something to choose from
GAIN = 1e-6  # what a move must gain
TRUST = 0.05  # of the network's log-odds in what a note costs
PREFERENCE = 0.02  # of the same beside a spectral correlation of 0 to 1, where notes are screened
UNHEARD, HEARD = 0.02, 0.9999  # probabilities below and above these count as these: soft notes are often not heard
LOUD, MIDDLE = 0.66, 0.33  # probabilities above which the follow-up plays ff and mf


def ask(task: Task, recognizer: Recognizer) -> torch.Tensor:
    """Return the probability of each candidate's class in the target, float32 [candidates]; NaN where it has none.

    Parameters
    ----------
    task : Task
        Its target and its candidates.
    recognizer : Recognizer
        Whose classes are instruments or notes.
    """
    sound = read_sound(task.sound, task.notes.sample_rate, recognizer.sample_rate)
    probabilities = recognizer.calibration.probabilities(recognizer.logits([sound]))[0]
    classes = recognizer.model.classes.match(task.notes)[torch.from_numpy(task.rows)]
    return torch.where(classes >= 0, probabilities[classes.clamp(min=0)], torch.nan)


def propose(task: Task, recognizer: Recognizer) -> torch.Tensor:
    """Ask a network which notes it hears; in the task's later stages they cost less, and others more.

    A note is thereby priced by its odds: what is minimised is the distance times the product of odds ** −TRUST. It
    weighs what the spectrum says against what the network says, and neither decides alone. Returns what `ask` does.
    """
    probabilities = ask(task, recognizer)
    task.listen(probabilities.clamp(UNHEARD, HEARD).logit().nan_to_num(0.0), TRUST, PREFERENCE)
    return probabilities


def network_only(task: Task, probabilities: torch.Tensor) -> torch.Tensor:
    """Return the orchestration of the follow-up [1]_: the likeliest note of each player, loud if it is likely.

    Players choose in the order of their likeliest notes; a probability above 0.66 plays ff, above 0.33 mf, else pp, or
    the dynamic of the library that is nearest to it. One evaluation.

    References
    ----------
    .. [1] C. E. Cella et al., A study on neural models for target-based computer-assisted musical orchestration,
       CSMC + MuMe 2020.
    """
    table = task.notes.table.iloc[task.rows]
    level = table["dynamic"].map({name: i for i, name in enumerate(DYNAMICS)}).fillna(3).to_numpy()
    assignment, probabilities = task.silence, probabilities.nan_to_num(0.0)
    likeliest = [float(probabilities[c].max()) if len(c) else -1.0 for c in task.choices]
    for p in np.argsort(likeliest)[::-1][: task.max_notes]:
        choices = task.choices[p][~torch.isin(task.choices[p], assignment)]
        if not len(choices):
            continue
        top = probabilities[choices].max()
        wanted = DYNAMICS.index("ff" if top > LOUD else "mf" if top > MIDDLE else "pp")
        same = choices[probabilities[choices] == top].numpy()
        assignment[p] = int(same[np.abs(level[same] - wanted).argmin()])
    task.keep(assignment, float(task.score(task.mixture(assignment)[None], task.cost(assignment))[0]))
    return assignment


def pursue(task: Task, start: torch.Tensor | None = None, *, screen: Screen | None = BY_FIT) -> torch.Tensor:
    """Add the note that helps most, of any player who rests, until none helps: matching pursuit [1]_.

    Parameters
    ----------
    task : Task
        What is searched; the result is kept there.
    start : torch.Tensor, optional
        An assignment to go on from. Default: silence.
    screen : Screen, optional
        Which notes of a player are compared; None: all.

    Returns
    -------
    torch.Tensor
        The assignment.

    References
    ----------
    .. [1] S. Mallat, Z. Zhang, Matching pursuits with time-frequency dictionaries, IEEE Trans. Signal Processing, 1993.
    """
    assignment = task.silence if start is None else start.clone()
    score = float("inf")
    if (assignment != task.rest).any():
        score = float(task.score(task.mixture(assignment)[None], task.cost(assignment))[0])
    while True:
        players, options, scores = additions(task, assignment, screen=screen)
        if not len(options):
            break
        count, best = int((assignment != task.rest).sum()), int(scores.argmin())
        if scores[best] > score - GAIN and count >= task.min_notes and players[best].item() not in task.must_play:
            break
        for i in scores.topk(min(RUNNERS_UP, len(scores)), largest=False).indices.tolist():
            other = assignment.clone()
            other[players[i]] = options[i]
            task.keep(other, float(scores[i]))
        assignment[players[best]], score = options[best], float(scores[best])
    return assignment


def additions(
    task: Task, assignment: torch.Tensor, *, screen: Screen | None = BY_FIT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare what those who rest might play with the target.

    Returns
    -------
    players, options : torch.Tensor
        int64 [options]: who, and which note; none if as many play as may.
    scores : torch.Tensor
        [options]
    """
    if int((assignment != task.rest).sum()) >= task.max_notes:
        return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), torch.empty(0)
    return _compare(task, assignment, _free_players(task, assignment), screen)


def _compare(
    task: Task, others: torch.Tensor, players: Sequence[int], screen: Screen | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare notes of some players beside the others' with the target: new ones, and at no cost those known before.

    Returns players, options and scores as `additions` does.
    """
    base = task.mixture(others)
    known = [task.tried(others, p) for p in players]
    taken = [torch.cat([others, torch.tensor([*tried], dtype=torch.long)]) for tried in known]
    new = [task.options(p, base, each, screen) for p, each in zip(players, taken, strict=True)]
    options = torch.cat([torch.empty(0, dtype=torch.long), *new])
    if len(options):
        scores = task.score(base + task.views[options], task.cost(others) + task.costs[options])
        for tried, each, part in zip(known, new, scores.split([len(each) for each in new]), strict=True):
            tried.update(zip(each.tolist(), part.tolist(), strict=True))
    who = [torch.full((len(tried),), p) for p, tried in zip(players, known, strict=True)]
    none = torch.empty(0, dtype=torch.long)
    options = torch.tensor([i for tried in known for i in tried], dtype=torch.long)
    return torch.cat([none, *who]), options, torch.tensor([x for tried in known for x in tried.values()])


def _free_players(task: Task, assignment: torch.Tensor) -> list[int]:
    """Return players who rest and have notes, one of each kind; those who must play come first."""
    resting = [p for p in range(len(task.choices)) if assignment[p] == task.rest and len(task.choices[p])]
    resting = [p for p in resting if p in task.must_play] or resting
    return list({task.kinds[p]: p for p in reversed(resting)}.values())[::-1]


def orthogonal_pursuit(task: Task) -> tuple[torch.Tensor, np.ndarray]:
    """Add the note that correlates most with what is missing, then fit all gains: orthogonal matching pursuit [1]_.

    No candidate mixture is compared with the target: each step is one product with the dictionary and one non-negative
    least squares. At the end gains are quantised: each note becomes the recording of the same pitch and instrument
    whose loudness is nearest to what its gain asks for. One evaluation.

    Parameters
    ----------
    task : Task
        What is searched; the result is kept there.

    Returns
    -------
    assignment : torch.Tensor
        [players], quantised.
    gains : numpy.ndarray
        Linear gains [players] before that, relative to the loudest; 0 for who rests.

    References
    ----------
    .. [1] Y. C. Pati, R. Rezaiifar, P. S. Krishnaprasad, Orthogonal matching pursuit, Asilomar 1993.
    """
    assignment, target = task.silence, task.target.flatten().cpu().numpy()
    power, base = np.zeros(len(assignment)), torch.zeros_like(task.views[0])
    while int((assignment != task.rest).sum()) < task.max_notes:
        pairs = [(p, task.options(p, base, assignment, None)) for p in _free_players(task, assignment)]
        pairs = [(task.fit(options, base), p, options) for p, options in pairs if len(options)]
        if not pairs:
            break
        fit, p, options = max(pairs, key=lambda pair: float(pair[0].max()))
        if float(fit.max()) <= 0:
            break
        assignment[p] = options[int(fit.argmax())]
        power, _ = nnls(task.views[assignment].T.cpu().numpy().astype(np.float64), target.astype(np.float64))
        base = torch.from_numpy(power.astype(np.float32)).to(task.device) @ task.views[assignment]
    gains = np.sqrt(power / max(power.max(), 1e-20))
    assignment[power <= 0] = task.rest
    quantised = _nearest_dynamics(task, assignment, gains)
    task.keep(quantised, float(task.score(task.mixture(quantised)[None], task.cost(quantised))[0]))
    return quantised, gains


def _nearest_dynamics(task: Task, assignment: torch.Tensor, gains: np.ndarray) -> torch.Tensor:
    """Return the recordings of the same notes whose loudness, relative to the loudest, is nearest to what is wanted."""
    table = task.notes.table.iloc[task.rows]
    names = (table["instrument"] + " " + table["pitch"]).to_numpy()
    loudness = table["loudness"].to_numpy(dtype=float)
    quantised = assignment.clone()
    for p, i in enumerate(assignment.tolist()):
        if i != task.rest and gains[p] > 0:
            same = np.array([c for c in task.choices[p].tolist() if names[c] == names[i]])
            wanted = loudness[i] + 20 * np.log10(gains[p])
            free = same[~np.isin(same, quantised[:p].numpy())]
            quantised[p] = int(free[np.abs(loudness[free] - wanted).argmin()]) if len(free) else i
    return quantised
