"""`orchestrate`: from any sound to ranked, distinct orchestrations; ``python -m deeporch.orchestrate``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .checks import check_range
from .distances import DISTANCES, Distance, get_distance
from .files import write_text
from .hearing import search
from .library import NoteLibrary, load_library
from .orchestra import ORCHESTRA, candidates, fix, note_filters, parse_orchestra
from .partials import cents_off, find_partials
from .progress import progress as progress_bar
from .ranking import choose, exact, pick
from .search import Budget, Progress, Task
from .segments import find_segments
from .solutions import Solution, SolutionNote
from .stages import explore, propose

if TYPE_CHECKING:
    from .recognizer import Recognizer

__path__: list[str] = []  # the package imports this module for `deeporch.orchestrate`; so `python -m` does not warn

SHORTEST, LONGEST = 0.05, 60.0  # seconds of a target
CLEAR = 0.05  # of the strongest partial: what is weaker is not tuned to


def orchestrate(
    target: str | Path | np.ndarray | torch.Tensor,
    notes: NoteLibrary,
    orchestra: str | Sequence[str] = ORCHESTRA,
    *,
    sample_rate: int | None = None,
    distance: str | Distance = "partials",
    recognizer: Recognizer | str | Path | None = None,
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
    from .recognizer import Recognizer  # here, so that `python -m deeporch.recognizer` does not warn
    from .training import pick_device

    measure, compared_on = get_distance(distance), pick_device(device)
    players = parse_orchestra(orchestra, notes)
    _check_options(solutions, diversity, min_notes, max_notes, len(players), partial_filter, evaluations, seconds)
    sound = read_target(target, sample_rate, notes.sample_rate)
    recognizer = Recognizer.load(recognizer) if isinstance(recognizer, str | Path) else recognizer
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


def read_target(target: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None, wanted: int) -> torch.Tensor:
    """Return a target as mono float32 [samples] at the wanted rate, without the silence before it.

    Raises
    ------
    ValueError, FileNotFoundError
        If it is no sound, silent, not finite, or shorter than 0.05 s or longer than 60 s.
    """
    from .recognizer import read_sound

    sound = read_sound(target, sample_rate, wanted)
    check_range(round(len(sound) / wanted, 6), SHORTEST, LONGEST, "The target's duration in seconds")
    return sound


def main(arguments: Sequence[str] | None = None) -> int:
    """Orchestrate a sound file and write its solutions; return 1, after one sentence, if that is impossible."""
    options = _parser().parse_args(arguments)
    try:
        folder = _folder(options.output)
        notes = load_library(options.library, root=options.root)
        found = _search(options, notes)
        for k, solution in enumerate(found, 1):
            name = folder / f"solution_{k}"
            for write, suffix in (("wav", "wav"), ("musicxml", "musicxml"), ("midi", "mid"), ("json", "json")):
                getattr(solution, f"to_{write}")(name.with_suffix(f".{suffix}"))
            solution.to_connection(folder / f"solution_{k}.connection.txt")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    text = "\n".join(line for k, solution in enumerate(found, 1) for line in table_lines(k, solution))
    write_text(folder / "solutions.txt", text + "\n")
    print(text)
    print(f"{len(found)} solutions as WAV, MusicXML, MIDI, JSON and connection lists in {folder}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deeporch.orchestrate", description="Orchestrate a sound.")
    parser.add_argument("target", metavar="TARGET", help="a sound file, 0.05 to 60 s")
    parser.add_argument(
        "--orchestra", default=ORCHESTRA, help="players, e.g. 'Fl Fl Ob ClBb|BClBb Vc' (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", default="orchestration", metavar="DIR", help="folder (default: %(default)s)")
    parser.add_argument("--library", default="default", help="soundfont (default), tinysol, sol or philharmonia")
    parser.add_argument("--root", default=None, help="the library's folder, where it needs one")
    parser.add_argument("--distance", default="partials", help=f"one of {', '.join(DISTANCES)} (default: %(default)s)")
    parser.add_argument("--recognizer", default=None, help="a checkpoint that prices notes by its evidence")
    parser.add_argument("-n", "--solutions", type=int, default=5, help="how many (default: %(default)s)")
    parser.add_argument("--min-notes", type=int, default=1, help="fewest players who play")
    parser.add_argument("--max-notes", type=int, default=None, help="most players who play")
    parser.add_argument("--note-cost", type=float, default=None, help="more makes sparser solutions")
    parser.add_argument("--pitch-range", nargs=2, default=None, metavar=("LOW", "HIGH"), help="e.g. C2 C6")
    parser.add_argument("--pitches", default=None, help="the only pitches, e.g. 'C4 E4 G4'")
    parser.add_argument("--dynamics", default=None, help="the only dynamics, e.g. 'pp mf'")
    parser.add_argument("--techniques", default=None, help="the only techniques, e.g. 'ord'")
    parser.add_argument("--fixed", nargs="+", default=(), metavar="NOTE", help="notes that must sound, e.g. 'Vc C2 ff'")
    parser.add_argument("--partial-filter", type=float, default=0.0, help="only notes on partials so strong, 0 to 1")
    parser.add_argument("--retune", action="store_true", help="retune notes to the target's partials")
    parser.add_argument("--segments", default="auto", choices=("auto", "one", "onsets"), help="of sounds that change")
    parser.add_argument(
        "--evaluations", type=int, default=100_000, help="most mixtures compared (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=None, help="longest time of the search")
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--device", default="cpu", help="where candidates are compared: cpu (default), cuda or auto")
    return parser


def _folder(path: str) -> Path:
    """Return the output folder, made if it is missing; say so if nothing can be written there."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "solutions.txt", "")
    except OSError as error:
        raise OSError(
            f"Nothing can be written into the folder {path!r} ({error.strerror}): give another with -o."
        ) from None
    return folder


def _search(options: argparse.Namespace, notes: NoteLibrary) -> list[Solution]:
    """Return the solutions; a bar shows the share of the budget and the best distance."""
    wanted = {k: v for k, v in vars(options).items() if k not in ("target", "output", "library", "root")}
    with progress_bar(total=100, desc="search", unit=" %", leave=False) as bar:

        def show(evaluations: int, best: float, fraction: float) -> None:
            bar.update(int(100 * fraction) - bar.n)
            bar.set_postfix(evaluations=f"{evaluations:,}", best=f"{best:.4f}", refresh=False)

        return orchestrate(options.target, notes, progress=show, **wanted)


def table_lines(number: int, solution: Solution) -> list[str]:
    """Return the lines that show one solution."""
    lines = [f"Solution {number}: {solution.distance_name} {solution.distance:.4f}, {len(solution.notes)} notes"]
    for row in solution.table.itertuples():
        cents = f" {row.cents:+.0f} cents" if row.cents else ""
        player = solution.orchestra[row.player]
        lines.append(f"  {player:<12} {row.instrument:<7} {row.pitch:<4} {row.dynamic:<4} {row.onset:6.2f} s{cents}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
