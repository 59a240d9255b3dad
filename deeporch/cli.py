"""The command ``deeporch``: run the notebooks, train, recognize, orchestrate, draw the figures.

Exit codes: 0 well, 1 something failed, 2 bad input (one sentence says what was wrong and what to do), 130 interrupted.
Modules are imported by the command that needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .orchestration.solution import Solution
    from .recognition.recognizer import Heard

ORCHESTRA = "Fl Fl Ob ClBb|BClBb Bn Hn TpC Tbn Vn Va Vc Cb"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(arguments)
    words = [Path(word).name if Path(word).is_absolute() else word for word in arguments]
    options.arguments = arguments
    options.command_line = " ".join(["deeporch", *words])
    try:
        return options.command(options)
    except (OSError, ValueError) as error:
        print(f"deeporch {options.name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="deeporch", description="Deep learning to help orchestration.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, (about, example, add_options, command) in COMMANDS.items():
        one = commands.add_parser(
            name, help=about, description=about, epilog=f"example: {example}", formatter_class=_Help
        )
        add_options(one.add_argument)
        one.set_defaults(command=command)
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Show the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        plain = action.default in (None, False, (), "") or "default" in (action.help or "")
        return action.help or "" if plain else super()._get_help_string(action)


# ---- run: the notebooks ----------------------------------------------------------------------------------------------


def _run_options(add: Callable) -> None:
    add("notebooks", nargs="*", help="02, 02_cnn, a full name or a path (default: every numbered notebook)")
    add("--profile", default="quick", metavar="NAME", help="quick, or a file of notebooks/profiles/: laptop, gpu")
    add("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="change a parameter")
    add("--out", metavar="DIR", help="an empty folder for the results (default: runs/<time>-<profile>)")
    add("--timeout", type=float, metavar="S", help="most seconds a notebook, instead of the profile's limits")
    add("--patience", type=float, metavar="S", help="seconds without progress after which a notebook is stopped (600)")
    add(
        "--minutes",
        type=float,
        metavar="M",
        help="the profile's steps, most valuable first; stop then, go on next time",
    )
    add("--commit", action="store_true", help="write the results back into the notebooks, cleaned")
    add("--grid", nargs="+", metavar="NAME=VALUE,…", help="run every combination, many at a time: SEED=0,1 SIZES=2,3")
    add("--workers", type=int, metavar="W", help="of a grid on this machine (default: one a GPU, or a core)")
    add("--scheduler", metavar="tcp://…", help="run the grid on the workers of this Dask scheduler")
    add("--tensorboard", metavar="DIR", help="write the curves of all trainings there, live: tensorboard --logdir DIR")
    add("--list", action="store_true", help="show the notebooks and their parameters, and run nothing")
    add("--folder", default="notebooks", metavar="DIR", help="where the notebooks and their profiles/ are")


def _run(options: argparse.Namespace) -> int:
    _track(options.tensorboard)
    if options.grid:
        from .runner import grid

        return grid.command(options)
    from .runner import run

    return run.command(options)


# ---- train: a recognizer ---------------------------------------------------------------------------------------------


def _train_options(add: Callable) -> None:
    add("--library", default="default", help="soundfont, philharmonia, … (default: $DEEPORCH_LIBRARY, or soundfont)")
    add("--root", help="folder of its recordings")
    add("--also", metavar="LIBRARY", help="a second library to train on, where $DEEPORCH_…_ROOT says")
    add("--pitches", help="philharmonia: named or sounding")
    add("--other", help="folder of other takes, only to test on")
    add("--minutes", type=float, default=5.0, help="of training")
    add("--epochs", type=int, help="of 4,096 mixtures each; given, it decides how long, and not the minutes")
    add("--features", default="cqt24", choices=("cqt24", "cqt36"), help="what the network sees")
    add("--network", default="", metavar="NAME=NUMBER,…", help="its sizes: width=128,blocks=4; see PitchNetConfig")
    add("--recolour", default="", metavar="NAME=VALUE,…", help="change training notes: level=6,equalizer=5,detune=0.3")
    add("--split", default="mixture", choices=("mixture", "recording"), help="recording: hold recordings out")
    add("--audit", action="store_true", help="also test without the recordings that the audit finds suspicious")
    add("--test", type=int, default=1000, help="mixtures of each test")
    add("--seed", type=int, default=0, help="of the draw and the network")
    add("--device", default="auto", help="cpu, cuda or auto")
    add("--start", metavar="CHECKPOINT", help="go on with a network that was trained before")
    add("--processes", type=int, default=1, help="that train together, a GPU or a core each; --folder lets them go on")
    add("--tensorboard", metavar="DIR", help="write the curves there, live: tensorboard --logdir DIR")
    add("--folder", help="keep the training's state here, so that the same command resumes it")
    add("--checkpoint", help="write the network here (.safetensors)")
    add("--figures", action="store_true", help="write the scores to figures/NAME.csv")
    add("--name", dest="experiment", default="five_minutes", help="of the scores' file")


def _train(options: argparse.Namespace) -> int:
    from .parallel import check_processes, is_loss_of_another, launch
    from .recognition import train

    _track(options.tensorboard)
    if options.processes != 1 and "RANK" not in os.environ:
        check_processes(options.processes, options.device)
        return launch(["-m", "deeporch", *options.arguments], options.processes, options.device)
    try:
        return train.command(options)
    except RuntimeError as error:
        if is_loss_of_another(error):
            return 3  # the process that started both tells
        raise


def _track(folder: str | None) -> None:
    """Let trainings write their curves below a folder."""
    if folder:
        os.environ["DEEPORCH_TENSORBOARD"] = str(Path(folder).expanduser().resolve())


# ---- recognize: the notes of sounds ----------------------------------------------------------------------------------


def _recognize_options(add: Callable) -> None:
    add("files", nargs="+", metavar="FILE", help="sound files of any length")
    add("-n", type=int, help="how many notes there are (default: it decides)")
    add("--checkpoint", default="philharmonia", help="a .safetensors file, or the name of a network that ships")
    add("--json", action="store_true", help="print JSON")


def _recognize(options: argparse.Namespace) -> int:
    from .recognition.recognizer import Recognizer

    recognizer, found, failed = Recognizer.load(options.checkpoint), {}, 0
    for file in options.files:
        try:
            found[file] = recognizer.predict(file, n=options.n)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            failed = 1
    if options.json:
        print(json.dumps({file: [note._asdict() for note in notes] for file, notes in found.items()}, indent=1))
    elif found:
        print("\n".join(line for file, notes in found.items() for line in answer_lines(file, notes)))
    return failed


def answer_lines(file: str, notes: Sequence[Heard]) -> list[str]:
    """Return the lines that show the notes of one file."""
    return [file, *(f"  {note.instrument:<6} {note.pitch:<4} {note.probability:6.1%}" for note in notes)]


# ---- orchestrate: a sound --------------------------------------------------------------------------------------------


def _orchestrate_options(add: Callable) -> None:
    add("target", metavar="TARGET", help="a sound file, 0.05 to 60 s")
    add("--orchestra", default=ORCHESTRA, help="players, e.g. 'Fl Fl Ob ClBb|BClBb Vc'")
    add("-o", "--output", default="orchestration", metavar="DIR", help="folder of the results")
    add("--library", default="default", help="soundfont (default), tinysol, sol or philharmonia")
    add("--root", help="the library's folder, where it needs one")
    add("--distance", default="partials", help="partials, mel, log_spectral, framewise, …")
    add("--recognizer", help="a network whose evidence is a prior: a .safetensors file or a name")
    add("-n", "--solutions", type=int, default=5, help="how many")
    add("--min-notes", type=int, default=1, help="fewest players who play")
    add("--max-notes", type=int, help="most players who play")
    add("--note-cost", type=float, help="more makes sparser solutions")
    add("--pitch-range", nargs=2, metavar=("LOW", "HIGH"), help="e.g. C2 C6")
    add("--pitches", help="the only pitches, e.g. 'C4 E4 G4'")
    add("--dynamics", help="the only dynamics, e.g. 'pp mf'")
    add("--techniques", help="the only techniques, e.g. 'ord'")
    add("--fixed", nargs="+", default=(), metavar="NOTE", help="notes that must sound, e.g. 'Vc C2 ff'")
    add("--partial-filter", type=float, default=0.0, help="only notes on partials so strong, 0 to 1")
    add("--retune", action="store_true", help="retune notes to the target's partials")
    add("--segments", default="auto", choices=("auto", "one", "onsets"), help="of sounds that change")
    add("--evaluations", type=int, default=100_000, help="most mixtures compared")
    add("--seconds", type=float, help="longest time of the search")
    add("--seed", type=int, default=0, help="of the search")
    add("--device", default="cpu", help="where candidates are compared: cpu, cuda or auto")


SETTINGS = [
    "target",
    "output",
    "library",
    "root",
    "recognizer",
    "name",
    "command",
    "command_line",
]  # not of the search itself


def _orchestrate(options: argparse.Namespace) -> int:
    from .notes.library import load_library
    from .orchestration.orchestrate import orchestrate
    from .recognition.recognizer import Recognizer
    from .util.files import write_text
    from .util.progress import progress

    folder = _writable(options.output)
    notes = load_library(options.library, root=options.root)
    prior = Recognizer.load(options.recognizer) if options.recognizer else None
    wanted = {name: value for name, value in vars(options).items() if name not in SETTINGS}
    with progress(total=100, desc="search", unit=" %", leave=False) as bar:

        def show(evaluations: int, best: float, fraction: float) -> None:
            bar.update(int(100 * fraction) - bar.n)
            bar.set_postfix(evaluations=f"{evaluations:,}", best=f"{best:.4f}", refresh=False)

        found = orchestrate(options.target, notes, progress=show, recognizer=prior, **wanted)
    for k, solution in enumerate(found, 1):
        for write, suffix in FORMATS.items():
            getattr(solution, f"to_{write}")(folder / f"solution_{k}.{suffix}")
    text = "\n".join(line for k, solution in enumerate(found, 1) for line in solution_lines(k, solution))
    write_text(folder / "solutions.txt", text + "\n")
    print(text)
    print(f"{len(found)} solutions as WAV, MusicXML, MIDI, JSON and connection lists in {folder}")
    return 0


FORMATS = {"wav": "wav", "musicxml": "musicxml", "midi": "mid", "json": "json", "connection": "connection.txt"}


def _writable(path: str) -> Path:
    """Return the output folder, made if it is missing; say so if nothing can be written there."""
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{path!r} cannot be a folder ({error.strerror}): give another with -o.") from None
    if not os.access(folder, os.W_OK):
        raise OSError(f"Nothing can be written into the folder {path!r}: give another with -o.")
    return folder


def solution_lines(number: int, solution: Solution) -> list[str]:
    """Return the lines that show one solution."""
    lines = [f"Solution {number}: {solution.distance_name} {solution.distance:.4f}, {len(solution.notes)} notes"]
    for row in solution.table.itertuples():
        cents = f" {row.cents:+.0f} cents" if row.cents else ""
        player = solution.orchestra[row.player]
        lines.append(f"  {player:<12} {row.instrument:<7} {row.pitch:<4} {row.dynamic:<4} {row.onset:6.2f} s{cents}")
    return lines


# ---- figures: from the committed tables ------------------------------------------------------------------------------


def _figures_options(add: Callable) -> None:
    add("names", nargs="*", metavar="NAME", help="experiments, e.g. 02_cnn_one_class_per_file (default: all)")


def _figures(options: argparse.Namespace) -> int:
    from .plots import gallery, tables

    for path in gallery.redraw(options.names):
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    if not options.names:
        print(gallery.write_gallery())
        print(tables.write_readme())
    return 0


COMMANDS = {
    "run": ("Run the notebooks without a browser.", "deeporch run 01 02 --profile laptop", _run_options, _run),
    "train": ("Train a recognizer.", "deeporch train --minutes 5 --checkpoint mine", _train_options, _train),
    "recognize": ("Name the notes of sounds.", "deeporch recognize chord.wav", _recognize_options, _recognize),
    "orchestrate": (
        "Find the notes of an orchestra that come closest to a sound.",
        "deeporch orchestrate bell.wav --orchestra 'Fl Ob|EH ClBb Bn' -o bell",
        _orchestrate_options,
        _orchestrate,
    ),
    "figures": ("Redraw every figure and table from figures/*.csv.", "deeporch figures", _figures_options, _figures),
}
