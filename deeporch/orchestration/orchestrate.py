"""`orchestrate`: from any sound to ranked, distinct orchestrations; ``deeporch orchestrate``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..notes.library import NoteLibrary
from ..util.checks import check_range
from ..util.environment import pick_device
from .distances import Distance, get_distance
from .orchestra import ORCHESTRA, candidates, fix, note_filters, parse_orchestra
from .search.local_search import explore
from .search.problem import Budget, Progress, Task
from .search.pursuit import propose
from .search.rendered import search
from .selection import choose, exact, pick
from .solution import Solution, SolutionNote
from .target import cents_off, find_partials, find_segments, read_target

if TYPE_CHECKING:
    from ..recognition.recognizer import Recognizer

CLEAR = 0.05  # of the strongest partial: what is weaker is not tuned to


def orchestrate(
    target: str | Path | np.ndarray | torch.Tensor,
    notes: NoteLibrary,
    orchestra: str | Sequence[str] = ORCHESTRA,
    *,
    sample_rate: int | None = None,
    distance: str | Distance = "partials",
    recognizer: Recognizer | None = None,
    solutions: int = 5,
    diversity: float = 0.3,
    min_notes: int = 1,
    max_notes: int | None = None,
    note_cost: float | None = None,
    pitch_range: tuple[str | int, str | int] | None = None,
    pitches: str | Iterable[str | int] | None = None,
    dynamics: str | Iterable[str] | None = None,
    techniques: str | Iterable[str] | None = None,
    fixed: Iterable[str | SolutionNote] = (),
    partial_filter: float = 0.0,
    retune: bool = False,
    segments: str | Sequence[float] = "auto",
    continuity: float = 0.3,
    evaluations: int | None = 100_000,
    seconds: float | None = None,
    stop: Callable[[], bool] | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> list[Solution]:
    """Return orchestrations of a sound: which player plays which note so that together they come close to it.

    Parameters
    ----------
    target : path, array or tensor
        Mono or stereo, at any rate, 0.05 to 60 s. Silence before the sound is left out.
    notes : NoteLibrary
        What can be played.
    orchestra : str or sequence of str
        The players; the same instrument twice is two players, ``"A|B"`` is one who doubles.
    sample_rate : int, optional
        Of arrays and tensors, in Hz.
    distance : str
        What is minimised, one of `deeporch.distances.DISTANCES`.
    recognizer : Recognizer, path or name, optional
        A network that prices notes by the odds that they sound in the target, see `stages.propose`; default none.
    solutions : int
        How many to return at most.
    diversity : float
        How much worse a solution may be, relative to the median of what was found, for being wholly different from
        those before it.
    min_notes, max_notes : int
        How many players play.
    note_cost : float, optional
        By which share each note lengthens the distance; more makes sparser solutions. Default: the distance's own
        (0.01 for ``"partials"``, else 0).
    pitch_range : (str or int, str or int), optional
        Lowest and highest pitch.
    pitches : str or iterable, optional
        The only pitches, as names (``"C4 E4 G4"``) or MIDI numbers.
    dynamics, techniques : str or iterable of str, optional
        The only ones.
    fixed : iterable of str or SolutionNote, optional
        Notes that must sound: ``"Vc C2"``, ``"Vc C2 ff"``, or notes of a solution, which keep their players.
    partial_filter : float
        0 to 1: only notes within a quarter-tone of a partial of the target that is at least so strong, relative to its
        strongest. 0: all notes.
    retune : bool
        Retune notes within a quarter-tone of a partial of the target to lie on it.
    segments : {"auto", "one", "onsets"} or sequence of float
        Whether the target is one sound, or one is orchestrated from each onset to the next; or the times themselves.
        ``"auto"``: at onsets if it is longer than four seconds.
    continuity : float
        How much worse a segment's orchestration may be, relative to the median of what was found, to save every player
        a leap of an octave.
    evaluations : int, optional
        Most mixtures that are compared with the target.
    seconds : float, optional
        Longest time of the search.
    stop : callable, optional
        Asked often; True ends the search.
    progress : callable, optional
        Called often with evaluations so far, best distance (with the notes' costs), share of the budget spent (0 to 1).
    seed : int
        Of the search.
    device : {"cpu", "cuda", "auto"}
        Where candidates are compared; what is heard is compared on the processor.

    Returns
    -------
    list of Solution
        Distinct, the best first. After an interruption (`stop`, Ctrl-C, a spent budget): the best that were found.

    Raises
    ------
    ValueError
        If an option or the target cannot be used, or the filters leave nothing to play.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> solutions = orchestrate("bell.wav", notes, "Fl Ob ClBb Vn Va Vc")  # doctest: +SKIP
    >>> solutions[0].to_musicxml("bell.musicxml")  # doctest: +SKIP
    """
    measure, compared_on = get_distance(distance), pick_device(device)
    players = parse_orchestra(orchestra, notes)
    _check_options(solutions, diversity, min_notes, max_notes, len(players), partial_filter, evaluations, seconds)
    sound = read_target(target, sample_rate, notes.sample_rate)
    spans = find_segments(sound, notes.sample_rate, segments)
    budget = Budget(evaluations, seconds, stop=stop, progress=progress)
    tasks: list[Task] = []
    options = {"pitch_range": pitch_range, "pitches": pitches, "dynamics": dynamics, "techniques": techniques}
    limits = {"note_cost": note_cost, "min_notes": min_notes, "max_notes": max_notes}
    try:
        for k, (begin, end) in enumerate(spans):
            part = sound[round(begin * notes.sample_rate) : round(end * notes.sample_rate)]
            partials, _ = find_partials(part, notes.sample_rate, threshold=partial_filter or CLEAR)
            filters = note_filters(notes, partials=partials, partial_filter=partial_filter, **options)
            choices, must_play = fix(notes, players, candidates(notes, players, filters), fixed)
            cents = cents_off(notes.table["midi"].to_numpy(), partials) if retune else None
            task = Task(
                part, notes, choices, measure, seconds=end - begin, cents=cents, must_play=must_play, budget=budget,
                seed=seed + k, device=compared_on, **limits,
            )  # fmt: skip
            if recognizer is not None:
                propose(task, recognizer)
            tasks.append(task)
            budget.share = (k + 1) / len(spans)
            (explore if len(spans) > 1 else search)(task)
    except KeyboardInterrupt:
        if not any(task.found for task in tasks):
            raise
    found = choose(tasks, spans, count=solutions, diversity=diversity, continuity=continuity)
    heard = exact(found, players, measure, sound, notes)
    return pick(heard, solutions, diversity, measure.note_cost if note_cost is None else note_cost)


def _check_options(
    solutions: int, diversity: float, min_notes: int, max_notes: int | None, players: int, partial_filter: float,
    evaluations: int | None, seconds: float | None,
) -> None:  # fmt: skip
    check_range(solutions, 1, 1000, "solutions")
    check_range(diversity, 0, math.inf, "diversity")
    check_range(partial_filter, 0, 1, "partial_filter")
    check_range(min_notes, 1, players, "min_notes")
    if max_notes is not None:
        check_range(max_notes, min_notes, players, "max_notes")
    for name, value in (("evaluations", evaluations), ("seconds", seconds)):
        if value is not None and not value > 0:
            raise ValueError(f"The budget leaves nothing to search with: {name} must be more than 0, but is {value!r}.")
