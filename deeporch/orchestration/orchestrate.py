"""`orchestrate`: from any sound to ranked, distinct orchestrations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..notes.library import NoteLibrary
from ..util.checks import check_range
from ..util.environment import pick_device
from ..util.progress import progress as progress_of
from .distances import DEFAULT, DISTANCES, Distance, get_distance
from .orchestra import ORCHESTRA, as_it_sounds, candidates, fix, note_filters, parse_orchestra, weigh
from .search.local_search import explore
from .search.prior import propose
from .search.problem import SearchProblem
from .search.pursuit import sketch
from .search.rendered import search
from .search.state import Budget, Progress, SearchState
from .selection import choose, pick, rendered_solutions, single_notes
from .solution import Solution, SolutionNote
from .spectra import LONGEST
from .target import cents_off, find_partials, find_segments, read_target

if TYPE_CHECKING:
    from ..recognition.recognizer import Recognizer

EARNED = 0.025  # by which share each note must bring the sound nearer; a search goes on with more notes for less
ALONE = 0.05  # by the default distance: a recording that is so near is the whole target, its attack no change
CLEAR = 0.05  # of the strongest partial: what is weaker is not tuned to


def orchestrate(
    target: str | Path | np.ndarray | torch.Tensor,
    notes: NoteLibrary,
    orchestra: str | Sequence[str] = ORCHESTRA,
    *,
    sample_rate: int | None = None,
    distance: str | Distance = DEFAULT,
    recognizer: Recognizer | None = None,
    solutions: int = 5,
    diversity: float = 0.3,
    min_notes: int = 1,
    max_notes: int | None = None,
    note_cost: float | None = None,
    weights: str | Mapping[str, float] = "",
    pitch_range: tuple[str | int, str | int] | None = None,
    pitches: str | Iterable[str | int] | None = None,
    dynamics: str | Iterable[str] | None = None,
    techniques: str | Iterable[str] | None = None,
    fixed: Iterable[str | SolutionNote] = (),
    partial_filter: float = 0.0,
    retune: bool = False,
    segments: str | Sequence[float] = "auto",
    continuity: float = 0.3,
    evaluations: int | None = 30_000,
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
        What can be played. Recordings shorter than 0.3 s are left out, and Philharmonia's that are misnamed are taken
        as they sound.
    orchestra : str or sequence of str
        The players; the same instrument twice is two players, ``"A|B"`` is one who doubles.
    sample_rate : int, optional
        Of arrays and tensors, in Hz.
    distance : str
        What is minimised, one of `DISTANCES`. With the default, a chord's first second whose level, cepstrum,
        centroid or flatness differs nearly as much as the nearest single note's, or more, counts more.
    recognizer : Recognizer, path or name, optional
        A network whose answer is a prior: notes cost less, the likelier they sound in the target. Default: none.
    solutions : int
        How many to return at most.
    diversity : float
        How much worse a solution may be, relative to the median of what was found, for being wholly different from
        those before it.
    min_notes, max_notes : int
        How many players play.
    note_cost : float, optional
        By which share each note lengthens the distance (within a semitone of another: thrice); more makes sparser
        solutions. Default: 0.025 with distances that have such a cost, else 0.
    weights : str or mapping of str to float
        By how much the notes of an instrument cost more (or less than 1: less) than others: ``"Fl=0.5 Hn=4"``.
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
        ``"auto"``: a new chord wherever something new begins to sound, on a grid of an eighth of a second; a sound that
        is held or dies away is one chord, however long it lasts. ``"one"``: one chord. ``"onsets"``: one from each
        onset to the next. Or the times themselves, in seconds.
    continuity : float
        How much worse a segment's orchestration may be, relative to the median of what was found, to save every player
        a leap of an octave; for a quarter of that, a new note.
    evaluations : int, optional
        Most mixtures that are compared with the target; every segment gets a first answer even beyond them.
    seconds : float, optional
        Longest time of the search, from its first comparison on: to prepare the notes' spectra is not counted.
    stop : callable, optional
        Asked often; True ends the search.
    progress : callable, optional
        Called often with evaluations so far, best distance (with the notes' costs), share of the budget spent (0 to 1).
    seed : int
        Of the search.
    device : {"cpu", "cuda", "auto"}
        Where candidates are compared; rendered sound is compared on the processor.

    Returns
    -------
    list of Solution
        Distinct, the nearest first: their `distance` has the notes' cost in it, as it is minimised. After an
        interruption (`stop`, Ctrl-C, a spent budget): the best that were found.

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
    notes = as_it_sounds(notes)
    players = parse_orchestra(orchestra, notes)
    for name, (value, low, high) in {
        "solutions": (solutions, 1, 1000), "diversity": (diversity, 0, math.inf), "note_cost": (note_cost, 0, 10),
        "partial_filter": (partial_filter, 0, 1), "continuity": (continuity, 0, math.inf),
        "min_notes": (min_notes, 1, len(players)), "max_notes": (max_notes, min_notes, len(players)),
    }.items():  # fmt: skip
        if value is not None:
            check_range(value, low, high, name)
    for name, value in (("evaluations", evaluations), ("seconds", seconds)):
        if value is not None and not value > 0:
            raise ValueError(f"The budget leaves nothing to search with: {name} must be more than 0, but is {value!r}.")
    budget = Budget(evaluations, seconds, stop=stop, progress=progress)
    sound = read_target(target, sample_rate, notes.sample_rate)
    spans = find_segments(sound, notes.sample_rate, segments)
    if segments == "auto" and len(spans) > 1 and _is_one_note(sound, notes, players):
        spans = find_segments(sound, notes.sample_rate, "one")
    factors = weigh(notes, players, weights)
    limits = {"note_cost": note_cost, "weights": factors, "fewest": min_notes, "most": max_notes, "device": compared_on}
    options = {"pitch_range": pitch_range, "pitches": pitches, "dynamics": dynamics, "techniques": techniques}
    problems: list[SearchProblem] = []
    plain = replace(measure, aspects=None)
    for span in progress_of(spans, desc="segments", leave=False):
        part = sound[round(span.begin * notes.sample_rate) : round(span.end * notes.sample_rate)]
        partials, _ = find_partials(part, notes.sample_rate, threshold=partial_filter or CLEAR)
        weighed = plain if len(partials) == 1 else measure  # no orchestra has the colour of a lone partial
        alike = [p for p in problems if abs(p.seconds - span.seconds) < 1e-3 and p.measure is weighed]
        alike = [] if retune or partial_filter else alike
        if alike:
            problem = alike[0].aimed(part)
        else:
            filters = note_filters(notes, partials=partials, partial_filter=partial_filter, **options)
            choices, must_play = fix(notes, players, candidates(notes, players, filters), fixed)
            cents = cents_off(notes.table["midi"].to_numpy(), partials) if retune else None
            problem = SearchProblem(
                part, notes, choices, weighed, span.seconds, cents=cents, must_play=frozenset(must_play), **limits
            )  # fmt: skip
            problem.check()
            problem.prepared()
        problems.append(problem if recognizer is None else propose(problem, recognizer))
    states = [SearchState(problem, budget, seed=seed + k) for k, problem in enumerate(problems)]
    for state in states:  # the clock of the budget starts after these
        sketch(state)
        if not state.found:
            raise ValueError(f"There are not {min_notes} different recordings for the players: lower min_notes.")
    with suppress(KeyboardInterrupt):
        for k, state in enumerate(states):
            budget.share = (k + 1) / len(states)
            (search if len(states) == 1 else explore)(state)
    found = choose(states, spans, count=solutions, diversity=diversity, continuity=continuity)
    cost = note_cost if note_cost is not None else EARNED if measure.note_cost else 0.0
    title = Path(target).stem if isinstance(target, str | Path) else ""
    rest = (spans, players, measure if spans[1:] else problems[0].limited, cost, factors, sound, notes)
    (single,) = rendered_solutions([single_notes(states, spans)], *rest)
    rendered = rendered_solutions(found, *rest, title=title)
    return [replace(each, single=single.distance) for each in pick(rendered, solutions, diversity)]


def _is_one_note(sound: torch.Tensor, notes: NoteLibrary, players: Sequence[str]) -> bool:
    """Return whether a single recording is nearly the whole sound."""
    rows, seconds = candidates(notes, players, note_filters(notes)), len(sound) / notes.sample_rate
    problem = SearchProblem(sound, notes, rows, DISTANCES[DEFAULT], seconds)
    return seconds <= LONGEST and float(SearchState(problem).alone().min()) < ALONE
