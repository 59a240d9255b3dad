"""From what a search found to solutions: good, different, and compared with the target as they sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch

from ..notes.library import NoteLibrary
from ..util.audio import loudness
from .distances import Distance
from .search.rendered import between
from .search.state import SearchState
from .solution import Solution, SolutionNote
from .spectra import LONGEST, Spectrum
from .target import STRUCK, Segment, movement, smoothest_path, struck, swells, tie

DEEP = 400  # of what was found for a segment, how many are looked at
SPARE = 2  # times as many different solutions are rendered as are returned,
NEAREST = 8  # and so many that may differ little
PASSED_ON = 10  # of what was found for a segment, how many are compared with its neighbours
REPEATED = 0.1  # of the median distance: what a segment pays for each time its notes were chosen before
CROWDED = 3  # notes for which one counts that is within a semitone of another
STRAIGHT = 3.0  # decibels: a level that is off by less from begin to end is left as it is
GAINED = 6.0  # decibels by which a note may be played louder or softer than it was recorded


def choose(
    states: Sequence[SearchState], spans: Sequence[Segment], *, count: int, diversity: float, continuity: float
) -> list[list[SolutionNote]]:
    """Return the notes of solutions that deserve to be rendered: the best, and good ones unlike those before them."""
    _pass_on(states)
    ranked = [state.ranked()[:DEEP] for state in states]
    costs = [np.array([score for score, _ in each]) for each in ranked]
    plays = [torch.stack([assignment for _, assignment in each]) for each in ranked]
    scale = float(np.mean([np.median(cost) for cost in costs]))
    moves = []
    for a, b in pairwise(zip(states, plays, strict=True)):
        (midi, rows), (next_midi, next_rows) = _midi_and_rows(*a), _midi_and_rows(*b)
        moves.append(continuity * scale * (movement(midi, next_midi) + STRUCK * struck(rows, next_rows)))
    sets = [_memberships(state, play) for state, play in zip(states, plays, strict=True)]
    many = 1 if len(states) == 1 else 4  # long solutions take long to render
    paths = _paths(costs, moves, sets, NEAREST // many, 0.0, scale)
    paths += _paths(costs, moves, sets, SPARE * count // many, diversity * scale, scale)
    chosen = [[play[i] for play, i in zip(plays, path, strict=True)] for path in paths]
    if len(states) == 1:
        rendered = sorted(states[0].rendered.values(), key=lambda each: each[0])
        chosen += [[assignment] for _, assignment in rendered[:NEAREST]]
        sizes = {int((a != states[0].problem.rest).sum()): a for _, a in reversed(rendered)}
        chosen += [[assignment] for assignment in sizes.values()]
    unique = {tuple(i for play in each for i in play.tolist()): each for each in chosen}
    return [_notes(states, spans, each) for each in unique.values()]


def single_notes(states: Sequence[SearchState], spans: Sequence[Segment]) -> list[SolutionNote]:
    """Return the best single note of each segment, with which a solution may be compared."""
    plays = []
    for problem in (state.problem for state in states):
        best = int(SearchState(problem).alone().argmin())
        play = problem.silence
        play[next(p for p, choices in enumerate(problem.choices) if best in choices)] = best
        plays.append(play)
    return _notes(states, spans, plays)


def _pass_on(states: Sequence[SearchState]) -> None:
    """Compare what was found for each segment with its neighbours too, so that notes may be held."""
    plays = [torch.stack([assignment for _, assignment in state.ranked()[:PASSED_ON]]) for state in states]
    found = [_midi_and_rows(state, play)[1] for state, play in zip(states, plays, strict=True)]
    for (here, given), (there, received) in pairwise(zip(states, found, strict=True)):
        for state, others in ((here, received), (there, given)):
            problem, free = state.problem, SearchState(state.problem)  # no budget ends it
            for rows in others:
                places = np.searchsorted(problem.rows, rows).clip(0, problem.rest - 1)
                assignment = torch.from_numpy(np.where(problem.rows[places] == rows, places, problem.rest))
                state.keep(assignment, free.score_of(assignment))


def _paths(
    costs: Sequence[np.ndarray], moves: Sequence[np.ndarray], sets: Sequence[np.ndarray], count: int, diversity: float,
    scale: float,
) -> list[tuple[int, ...]]:  # fmt: skip
    """Return one choice a segment, `count` times: the least costly, then others that pay for being alike."""
    paid = [cost.copy() for cost in costs]
    alike = [np.zeros(len(cost)) for cost in costs]
    paths = {}
    for _ in range(2 * count):
        path = smoothest_path([c + diversity * a for c, a in zip(paid, alike, strict=True)], moves)
        paths[tuple(path)] = None
        if len(paths) == count:
            break
        for k, i in enumerate(path):
            paid[k][i] += REPEATED * scale
            alike[k] = np.maximum(alike[k], jaccard(sets[k], sets[k][i]))
    return list(paths)


def jaccard(sets: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Return how much of two sets is common to both, 0 to 1: of each row of `sets` [sets, members] and `one`."""
    shared = sets @ one
    return shared / np.maximum(sets.sum(1) + one.sum() - shared, 1)


def _midi_and_rows(state: SearchState, plays: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return MIDI numbers [assignments, players], NaN for rests, and rows of the library, −1 for rests."""
    problem = state.problem
    midi = np.append(problem.notes.table["midi"].to_numpy(dtype=float)[problem.rows], np.nan)
    return midi[plays.numpy()], np.append(problem.rows, -1)[plays.numpy()]


def _memberships(state: SearchState, plays: torch.Tensor) -> np.ndarray:
    """Return float [assignments, classes]: which instruments play which pitches, whatever the dynamic."""
    table = state.problem.notes.table.iloc[state.problem.rows]
    classes = (table["instrument"] + " " + table["pitch"]).factorize()[0]
    member = np.zeros((len(plays), classes.max() + 2))
    member[np.arange(len(plays))[:, None], np.append(classes, classes.max() + 1)[plays.numpy()]] = 1
    return member[:, :-1]


def _notes(
    states: Sequence[SearchState], spans: Sequence[Segment], plays: Sequence[torch.Tensor]
) -> list[SolutionNote]:
    """Return the notes of one assignment a segment, those that go on tied, as loud as the target's segments."""
    notes, wanted = [], []
    table, loudness_of = states[0].problem.notes.table, states[0].problem.notes.table["loudness"].to_numpy(dtype=float)
    for state, play, span in zip(states, plays, spans, strict=True):
        problem, playing = state.problem, play != state.problem.rest
        rows = problem.rows[play[playing].numpy()]
        wanted.append(span.level - 10 * np.log10((10 ** (loudness_of[rows] / 10)).sum()))
        for p, row in zip(playing.nonzero().flatten().tolist(), rows.tolist(), strict=True):
            notes.append(SolutionNote.of(
                problem.notes, row, p, cents=problem.cents_of[row], onset=span.begin, duration=span.seconds
            ))  # fmt: skip
    change = {span.begin: x for span, x in zip(spans, np.array(wanted) - np.median(wanted), strict=True)}
    given = states[0].problem.given
    return [_as_loud(note, change[note.onset], given[note.player], table, loudness_of) for note in tie(notes)]


def _as_loud(
    note: SolutionNote, change: float, given: np.ndarray, table: pd.DataFrame, loudness_of: np.ndarray
) -> SolutionNote:
    """Return a note louder by so many decibels: at another dynamic that its player may be given, and by its gain."""
    alike = [(table[name] == getattr(note, name)).to_numpy()[given] for name in ("instrument", "midi", "technique")]
    same = given[np.logical_and.reduce(alike)]
    if abs(change) < STRAIGHT or not len(same):
        return note
    missing = loudness_of[note.note] + change - loudness_of[same]
    best = int(np.abs(missing).argmin())
    gain = 10 ** (float(missing[best].clip(-GAINED, GAINED)) / 20)
    row = table.iloc[same[best]]
    return replace(note, note=int(same[best]), dynamic=str(row["dynamic"]), file=str(row["file"]), gain=round(gain, 3))


def rendered_solutions(
    found: Sequence[Sequence[SolutionNote]], spans: Sequence[Segment], players: Sequence[str], measure: Distance,
    note_cost: float, weights: np.ndarray, sound: torch.Tensor, notes: NoteLibrary, *, title: str = "",
) -> list[Solution]:  # fmt: skip
    """Return solutions, the nearest first, with the distance of their sound from the target and their notes' cost."""
    seconds, rate = len(sound) / notes.sample_rate, notes.sample_rate
    begin, end = (round(time * rate) for time in (spans[0].begin, spans[-1].end))
    if len(spans) == 1 and not isinstance(measure.energy, Spectrum):
        end = min(end, begin + round(LONGEST * rate))
    solutions, loud = [], loudness(sound.numpy())
    for each in found:
        draft = Solution(tuple(each), tuple(players), notes, 0.0, measure.name, seconds, title=title, loudness=loud)
        draft, audio = _swelling(draft, spans)
        audio = torch.from_numpy(audio)[None, begin:end]
        distance = max(0.0, float(between(measure, sound[begin:end], audio)[0]))
        solutions.append(replace(draft, distance=distance * (1 + note_cost) ** counted(each, weights)))
    return sorted(solutions, key=lambda solution: solution.distance)


def counted(notes: Sequence[SolutionNote], weights: np.ndarray) -> float:
    """Return how many notes a solution pays for: one within a semitone of another at the same time counts more."""
    count = 0
    for k, note in enumerate(notes):
        near = (other for other in notes[:k] if abs(other.midi - note.midi) <= 1)
        beside = any(min(a.onset + a.duration, note.onset + note.duration) > max(a.onset, note.onset) for a in near)
        count += weights[note.note] * (CROWDED if beside else 1)
    return float(count)


def _swelling(draft: Solution, spans: Sequence[Segment]) -> tuple[Solution, np.ndarray]:
    """Return a solution whose notes grow and fade with the target if they do not by themselves, and its sound."""
    rate, audio = draft.library.sample_rate, draft.render()
    own = swells(torch.from_numpy(audio), rate, spans)
    lacking = [span.swell - swell for span, swell in zip(spans, own, strict=True)]
    notes = []
    for note in draft.notes:
        end = note.onset + note.duration
        pairs = zip(lacking, spans, strict=True)
        swell = sum(x for x, span in pairs if span.begin < end - 0.01 and span.end > note.onset + 0.01)
        notes.append(replace(note, swell=round(swell, 1)) if abs(swell) >= STRAIGHT else note)
    changed = replace(draft, notes=tuple(notes))
    if notes == list(draft.notes):
        return draft, audio
    if len(spans) > 1:
        return changed, changed.render()
    begin, end = (round(time * rate) for time in (spans[0].begin, spans[0].end))  # all notes have the same swell
    audio[begin:end] *= np.geomspace(1, 10 ** (notes[0].swell / 20), len(audio[begin:end]), dtype=np.float32)
    return changed, audio


def pick(solutions: Sequence[Solution], count: int, diversity: float) -> list[Solution]:
    """Return the best of solutions, the nearest of which comes first, that are unlike each other, in their order."""
    seen: dict[frozenset, Solution] = {}  # the first of those that differ in nothing but dynamics or players
    for each in solutions:
        seen.setdefault(frozenset((note.instrument, note.midi, round(note.onset, 3)) for note in each.notes), each)
    if not (solutions := list(seen.values())):
        return []
    names = [{(note.player, note.instrument, note.midi, round(note.onset, 3)) for note in s.notes} for s in solutions]
    members = {name: i for i, name in enumerate(sorted(set().union(*names)))}
    sets = np.array([[name in each for name in members] for each in names], dtype=float)
    scores = np.array([s.distance for s in solutions])
    alike, chosen = np.zeros(len(solutions)), []
    while len(chosen) < min(count, len(solutions)):
        total = scores + diversity * np.median(scores) * alike
        total[chosen] = np.inf
        chosen.append(int(total.argmin()))
        alike = np.maximum(alike, jaccard(sets, sets[chosen[-1]]))
    return [solutions[i] for i in sorted(chosen)]
