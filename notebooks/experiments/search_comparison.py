"""How well searches do: recovery of known mixtures, methods on targets, and what a search costs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from experiments.baselines import (
    CROSSOVER,
    GENERATIONS,
    MUTATION,
    POPULATION,
    genetic,
    network_only,
    orthogonal_pursuit,
)  # fmt: skip
from experiments.distance_validation import best_recordings

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.distances import Distance
from deeporch.orchestration.orchestra import candidates, parse_orchestra
from deeporch.orchestration.search.local_search import refine
from deeporch.orchestration.search.prior import ask, propose
from deeporch.orchestration.search.problem import SearchProblem
from deeporch.orchestration.search.pursuit import pursue
from deeporch.orchestration.search.rendered import render_best, search
from deeporch.orchestration.search.state import Budget, OutOfBudget, SearchState
from deeporch.orchestration.solution import Solution, SolutionNote
from deeporch.results import COLUMNS
from deeporch.util.progress import progress

if TYPE_CHECKING:
    from deeporch.recognition.recognizer import Recognizer

TENTH = POPULATION * GENERATIONS // 10  # evaluations of ours: a tenth of the genetic algorithm's


def single_note(state: SearchState) -> None:
    """Keep the best single note."""
    scores = state.alone()
    note = int(scores.argmin())
    player = next(p for p, choices in enumerate(state.problem.choices) if note in choices)
    assignment = state.problem.silence
    assignment[player] = note
    state.keep(assignment, float(scores.min()))


def random_search(state: SearchState, evaluations: int = TENTH) -> None:
    """Keep the best of so many assignments drawn at random."""
    genetic(state, population=500, generations=evaluations // 500, crossover=0.0, mutation=1.0)


def plain_genetic(state: SearchState, *, small: bool = False) -> None:
    """Search with Orchidea's published settings; `small` takes a tenth of the generations."""
    generations = GENERATIONS // 10 if small else GENERATIONS
    genetic(state, population=POPULATION, generations=generations, crossover=CROSSOVER, mutation=MUTATION)


def pursue_and_refine(state: SearchState) -> None:
    """Pursue and refine once."""
    refine(state, pursue(state))


METHODS: dict[str, tuple[Callable[[SearchState], object], int | None]] = {  # and how many evaluations each may take
    "best single note": (single_note, None),
    "random": (random_search, None),
    "orthogonal pursuit": (orthogonal_pursuit, None),
    "pursuit": (pursue, None),
    "pursuit + refinement": (pursue_and_refine, TENTH),
    "plain genetic": (plain_genetic, None),
    "ours": (search, TENTH),
}
DETERMINISTIC = ("best single note", "orthogonal pursuit", "network only")  # draw nothing, so that one seed tells all


def compare_methods(
    targets: Mapping[str, torch.Tensor],
    notes: NoteLibrary,
    orchestra: str,
    measures: Sequence[Distance],
    *,
    methods: Sequence[str] = tuple(METHODS),
    recognizer: Recognizer | None = None,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Return what every method finds for every target under every distance.

    Parameters
    ----------
    targets : mapping of str to torch.Tensor
        Sounds [samples] at the library's sample rate.
    notes : NoteLibrary
        The library.
    orchestra : str
        The players.
    measures : sequence of Distance
        What is minimised, and what is reported.
    methods : sequence of str
        Of METHODS.
    recognizer : Recognizer, optional
        Adds the method "network only".
    seeds : sequence of int
        Of the searches, each of which runs once with every one: from seed to seed the genetic algorithm differs by
        some percent. Methods that draw nothing run with the first only.

    Returns
    -------
    pandas.DataFrame
        A row a search: target, measure, method, seed, distance (of the sound; of the best 12 of each method and more,
        see `render_best`), score (the least sum of energies), notes, evaluations, seconds, played (SolutionNotes),
        length (of the target, in seconds). Notes cost nothing here: every method minimises the distance itself.
    """
    players = parse_orchestra(orchestra, notes)
    choices = candidates(notes, players, [])
    rows = []
    jobs = [(name, measure) for measure in measures for name in targets]
    for name, measure in progress(jobs, desc="targets", unit=" searches", leave=False):
        sound = targets[name]
        began = time.perf_counter()
        problem = SearchProblem(
            sound, notes, choices, measure, len(sound) / notes.sample_rate, note_cost=0.0
        ).prepared()
        setup = time.perf_counter() - began
        runs = {method: METHODS[method] for method in methods}
        if recognizer is not None:
            runs["network only"] = (lambda state: network_only(state, ask(state.problem, recognizer)), None)
        for method, (run, limit) in runs.items():
            for seed in seeds[:1] if method in DETERMINISTIC else seeds:
                row = {"target": name, "measure": measure.name, "method": method, "seed": seed, "setup": setup}
                rows.append(row | _search(SearchState(problem, Budget(limit), seed=seed), run))
    return pd.DataFrame(rows)


def _search(state: SearchState, method: Callable[[SearchState], object]) -> dict[str, object]:
    """Run one search and return its row."""
    began = time.perf_counter()
    with suppress(OutOfBudget):
        method(state)
    render_best(state)
    seconds = time.perf_counter() - began
    distance, assignment = min(state.rendered.values(), key=lambda each: each[0])
    notes = to_notes(state.problem, assignment)
    return {
        "distance": distance, "score": state.ranked()[0][0], "notes": len(notes), "evaluations": state.budget.spent,
        "seconds": seconds, "played": notes, "length": state.problem.seconds,
    }  # fmt: skip


def won(methods: pd.DataFrame, *, tolerance: float = 1e-5) -> pd.DataFrame:
    """Return on how many targets ours is nearer than, as near as, or farther than the plain genetic algorithm.

    What is compared is the mean distance over seeds. A row a measure: won, even (within `tolerance` of the distance),
    lost.
    """
    pairs = methods.pivot_table(index=["measure", "target"], columns="method", values="distance", sort=False)
    ahead = 1 - pairs["ours"] / pairs["plain genetic"]
    counts = pd.DataFrame({"won": ahead > tolerance, "even": ahead.abs() <= tolerance, "lost": ahead < -tolerance})
    return counts.groupby(level="measure", sort=False).sum()


def sound_of(
    methods: pd.DataFrame, notes: NoteLibrary, orchestra: str, *, target: str, measure: str, method: str
) -> np.ndarray:
    """Return what a search of `compare_methods` sounds like, with its first seed: float32 [samples]."""
    same = (methods["target"] == target) & (methods["measure"] == measure) & (methods["method"] == method)
    row = next(methods[same].itertuples())
    return Solution(row.played, parse_orchestra(orchestra, notes), notes, row.distance, measure, row.length).render()


def to_notes(problem: SearchProblem, assignment: torch.Tensor) -> list[SolutionNote]:
    """Return the notes of an assignment, all sounding from the start to the target's end."""
    return [
        SolutionNote.of(problem.notes, int(problem.rows[i]), p, duration=problem.seconds)
        for p, i in enumerate(assignment.tolist())
        if i != problem.rest
    ]


def recover(
    notes: NoteLibrary,
    classes: Classes,
    library: torch.Tensor,
    pool: torch.Tensor,
    measure: Distance,
    *,
    recognizer: Recognizer | None = None,
    sizes: Sequence[int] = (1, 2, 3, 5, 10),
    count: int = 50,
    evaluations: int = TENTH,
    seconds: float = 2.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how many notes of known mixtures a search finds again, one player an instrument.

    Parameters
    ----------
    notes, classes
        The library and its classes by note.
    library : torch.Tensor
        Rows that solutions are made of.
    pool : torch.Tensor
        Rows that mixtures are made of: the same, or held-out ones.
    measure : Distance
        What is minimised.
    recognizer : Recognizer, optional
        Whose evidence is a prior; see `propose`.
    sizes, count
        How many notes a mixture has, and how many mixtures of each size.
    evaluations : int
        Of each search.
    seconds : float
        Duration of the mixtures.
    seed : int
        Of mixtures and searches.

    Returns
    -------
    pandas.DataFrame
        A row a mixture: n, recall (share of its notes found), pitch_recall (whatever the instrument), notes (in the
        solution), distance (of what was found), own (that of the true notes, played by the library's recordings that
        come closest), seconds. Distances are of sums of energies.
    """
    instrument = notes.table["instrument"].to_numpy()[library.numpy()]
    choices = [library.numpy()[instrument == name] for name in sorted(set(instrument))]
    names, midi = classes.of_note.numpy(), notes.table["midi"].to_numpy()
    samples = round(seconds * notes.sample_rate)
    rows = []
    for n in sizes:
        mixtures = Mixtures(notes, classes, n=n, size=count, seed=seed, pool=pool, per_instrument=1, samples=samples)
        problem = SearchProblem(mixtures.audio([0])[0], notes, choices, measure, seconds).prepared()
        for i in progress(range(count), desc=f"recovery, N = {n}", unit=" mixtures", leave=False):
            case = problem.aimed(mixtures.audio([i])[0])
            case = case if recognizer is None else propose(case, recognizer)
            state, began = SearchState(case, Budget(evaluations), seed=seed), time.perf_counter()
            search(state)
            seconds_spent = time.perf_counter() - began
            _, assignment = min(state.rendered.values(), key=lambda each: each[0])
            played, true = assignment[assignment != state.problem.rest], mixtures.indices[i].long().numpy()
            found, free = state.problem.rows[played.numpy()], SearchState(case)
            best, _ = best_recordings(free, names[state.problem.rows], names[true])
            rows.append({
                "n": n, "recall": len(set(names[found]) & set(names[true])) / n,
                "pitch_recall": len(set(midi[found]) & set(midi[true])) / len(set(midi[true])), "notes": len(found),
                "distance": _distance(free, played), "own": _distance(free, torch.tensor(best)),
                "seconds": seconds_spent,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _distance(state: SearchState, notes: torch.Tensor) -> float:
    """Return the distance of some candidates from the target, their costs left out."""
    return float(state.score(state.problem.mixture(notes)[None], 0.0)[0])


def compare_budgets(
    targets: Mapping[str, torch.Tensor],
    notes: NoteLibrary,
    orchestra: str,
    measure: Distance,
    *,
    budgets: Sequence[float] = (0.3, 1.0, 3.0),
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Return what ours and the plain genetic algorithm find in so many seconds: a row a search, as `compare_methods`.

    Each runs once with every seed; the genetic algorithm goes on as long as the time lasts. `budget` is a further
    column.
    """
    players = parse_orchestra(orchestra, notes)
    choices, rows = candidates(notes, players, []), []
    methods = {"plain genetic": lambda state: genetic(state, generations=100 * GENERATIONS), "ours": search}
    for name, sound in progress(targets.items(), desc="budgets", unit=" targets", leave=False):
        problem = SearchProblem(
            sound, notes, choices, measure, len(sound) / notes.sample_rate, note_cost=0.0
        ).prepared()
        for seconds in budgets:
            for method, seed in itertools.product(methods, seeds):
                row = {"target": name, "measure": measure.name, "method": method, "seed": seed, "budget": seconds}
                rows.append(row | _search(SearchState(problem, Budget(seconds=seconds), seed=seed), methods[method]))
    return pd.DataFrame(rows)


def cost_of_search(
    notes: NoteLibrary,
    target: torch.Tensor,
    measure: Distance,
    *,
    sizes: Sequence[int],
    orchestras: Sequence[int] = (4, 12, 30),
    evaluations: int = TENTH,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the processor's seconds of a search by size of library and of orchestra, the notes' energies being cached.

    Libraries of other sizes than the given one are made of its notes, drawn without or, where it is too small, with
    replacement; every player may have any of them.

    Returns
    -------
    pandas.DataFrame
        A row a search: library (notes), players, seconds, evaluations, megabytes (of the energies).
    """
    generator, rows = torch.Generator().manual_seed(seed), []
    for size in sizes:
        drawn = torch.randperm(len(notes), generator=generator).repeat(1 + size // len(notes))[:size]
        library = notes.take(drawn)
        for players in (orchestras[0], *orchestras):  # the first time nothing is warm
            began = time.process_time()
            choices = [part.numpy() for part in torch.arange(size).tensor_split(players)]
            problem = SearchProblem(target, library, choices, measure, 2.0)
            state = SearchState(problem, Budget(evaluations), seed=seed)
            search(state)
            rows.append({
                "library": size, "players": players, "seconds": time.process_time() - began,
                "evaluations": state.budget.spent, "megabytes": state.problem.views.nbytes / 1e6,
            })  # fmt: skip
        del rows[-len(orchestras) - 1]
    return pd.DataFrame(rows)


def tidy_trials(
    experiment: str,
    *,
    data: str,
    profile: str,
    device: str,
    methods: pd.DataFrame,
    verdicts: Mapping[str, pd.DataFrame],
    recovery: Mapping[str, pd.DataFrame],
    budgets: pd.DataFrame,
    cost: pd.DataFrame,
    beside: pd.DataFrame,
) -> pd.DataFrame:
    """Return everything that was measured as one table in the form of `Results`: a row a number.

    Parameters
    ----------
    experiment, data, profile, device : str
        Labels of all rows.
    methods : pandas.DataFrame
        From `compare_methods`: quantities distance, evaluations and search_time; setting is the method,
        model the distance, item the target.
    verdicts : mapping of str to pandas.DataFrame
        Distance to `distance_validation.verdict`: true_wins; item is the alternative, n = 0 stands for all N.
    recovery : mapping of str to pandas.DataFrame
        What was held out to `recover`'s table: recall, pitch_recall, notes, distance and own by n.
    budgets : pandas.DataFrame
        From `compare_budgets`: distance_in_time; item is the target, seconds the budget.
    cost : pandas.DataFrame
        From `cost_of_search`: search_seconds; n is the size of the library.
    beside : pandas.DataFrame
        From `independent.compare`: independent; setting is "ours" or "best single note", model the measure.
    """
    rows = [
        {"setting": row["method"], "model": row["measure"], "item": row["target"], "seed": row["seed"],
         "quantity": name, "value": row[column]}
        for _, row in methods.iterrows()
        for name, column in (("distance", "distance"), ("evaluations", "evaluations"), ("search_time", "seconds"))
    ]  # fmt: skip
    for name, table in verdicts.items():
        for n, shares in table.iterrows():
            size = 0 if n == "all N" else int(n)
            rows += [
                {"setting": name, "n": size, "item": item, "test_mixtures": int(shares["cases"]),
                 "quantity": "true_wins", "value": value}
                for item, value in shares.drop("cases").items()
            ]  # fmt: skip
    for name, table in recovery.items():
        for n, part in table.groupby("n"):
            rows += [
                {"setting": name, "n": n, "test_mixtures": len(part), "quantity": quantity,
                 "value": part[quantity].mean()}
                for quantity in ("recall", "pitch_recall", "notes", "distance", "own")
            ]  # fmt: skip
    rows += [
        {"setting": row.method, "model": row.measure, "item": row.target, "seed": row.seed, "seconds": row.budget,
         "quantity": "distance_in_time", "value": row.distance}
        for row in budgets.itertuples()
    ]  # fmt: skip
    rows += [
        {"setting": f"{row.players} players", "n": row.library, "quantity": "search_seconds", "value": row.seconds}
        for row in cost.itertuples()
    ]
    rows += [
        {"setting": name, "model": row["measure"], "item": row["target"], "quantity": "independent",
         "value": row[column]}
        for row in beside.to_dict("records")
        for name, column in (("ours", "ours"), ("best single note", "single"))
    ]  # fmt: skip
    common = {"experiment": experiment, "data": data, "device": device, "profile": profile}
    empty = dict.fromkeys(COLUMNS, "") | {"n": 0, "seed": 0, "n_classes": 0, "train_mixtures": 0, "test_mixtures": 0,
                                          "epochs": 0, "seconds": 0.0}  # fmt: skip
    return pd.DataFrame([empty | common | row | {"value": float(f"{row['value']:.5g}")} for row in rows])[list(COLUMNS)]
