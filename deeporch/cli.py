"""The command ``deeporch``: run the notebooks, train, recognize, orchestrate, draw the figures.

Modules are imported by the command that needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from .util.checks import check_range, sentence

STATUS = (
    "exit status, of every command: 0 done; 1 something failed on the way; 2 an input was wrong, and a sentence says "
    "which; 130 interrupted; 141 whoever read the output went away"
)
ORCHESTRA = "Fl Fl Ob ClBb|BClBb Bn Hn TpC Tbn Vn Va Vc Cb"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        try:
            return _command(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head -1`: what is still to be written would fail at exit again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _command(arguments: list[str]) -> int:
    """Run one command; whatever is wrong with its inputs is one sentence."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    words = [Path(word).name if Path(word).is_absolute() else word for word in arguments]
    options.arguments = arguments
    options.command_line = " ".join(["deeporch", *words])
    try:
        if getattr(options, "config", None):
            from .export.folder import read_options

            read_options(options.parser, options.config)
            options = argparse.Namespace(**{**vars(options), **vars(parser.parse_args(arguments))})
        return options.command(options)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        typed = {action.dest: action.option_strings[-1] for action in options.parser._actions if action.option_strings}
        print(f"deeporch {options.name}: {sentence(error, typed)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="deeporch", description="Deep learning to help orchestration.", epilog=STATUS)
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, (about, example, add_options, command) in COMMANDS.items():
        one = commands.add_parser(
            name, help=about, description=about, epilog=f"example: deeporch {example}", formatter_class=_Help
        )
        add_options(one.add_argument)
        one.set_defaults(command=command, parser=one)
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Show the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        plain = action.default in (None, False, (), "") or "default" in (action.help or "")
        return action.help or "" if plain else super()._get_help_string(action)


def number(text: str) -> float:
    """Return a number above zero."""
    if not 0 < (value := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"must be more than 0, but is {text}")
    return value


def whole(text: str) -> int:
    """Return a whole number above zero."""
    if (value := number(text)) != int(value):
        raise argparse.ArgumentTypeError(f"must be a whole number, but is {text}")
    return int(value)


def _check_writable(folder: Path) -> None:
    """Make a folder; say now, and not after hours, if it cannot be made or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{str(folder)!r} cannot be a folder ({error.strerror}): choose another.") from None
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"Nothing can be written in the folder {str(folder)!r}: choose another.")


# ---- run: the notebooks ----------------------------------------------------------------------------------------------


def _run_options(add: Callable) -> None:
    add("notebooks", nargs="*", help="02, 02_cnn, a full name or a path (default: every numbered notebook)")
    add("--profile", default="quick", metavar="NAME", help="quick, or a file of notebooks/profiles/: laptop, gpu")
    add("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="change a parameter")
    add("--out", metavar="DIR", help="an empty folder for the results (default: runs/<time>-<profile>)")
    add("--timeout", type=number, metavar="S", help="most seconds a notebook, instead of the profile's limits")
    add("--patience", type=number, metavar="S", help="seconds without progress until a notebook is stopped (600)")
    add("--minutes", type=number, metavar="M", help="the profile's steps, best first; stop then, go on next time")
    add("--commit", action="store_true", help="write the results back into the notebooks, cleaned")
    add("--grid", nargs="+", metavar="NAME=VALUE,…", help="run every combination, many at a time: SEED=0,1 SIZES=2,3")
    add("--workers", type=int, metavar="W", help="of a grid on this machine (default: one a GPU, or a core)")
    add("--scheduler", metavar="tcp://…", help="run the grid on the workers of this Dask scheduler")
    add("--repeat", metavar="RUN", help="a run folder: run the same again, and say which numbers differ")
    add("--tensorboard", metavar="DIR", help="write the curves of all trainings there, live: tensorboard --logdir DIR")
    add("--list", action="store_true", help="show the notebooks and their parameters, and run nothing")
    add("--folder", default="notebooks", metavar="DIR", help="where the notebooks and their profiles/ are")


def _run(options: argparse.Namespace) -> int:
    _track(options.tensorboard)
    what = "grid" if options.grid else "repeat" if options.repeat else "run"
    return import_module(f"{__package__}.runner.{what}").command(options)


# ---- train: a recognizer ---------------------------------------------------------------------------------------------


def _train_options(add: Callable) -> None:
    add("--libraries", nargs="+", metavar="LABEL[:WEIGHT]=SOURCE:ROOT", help="several: one network for all of them")
    add("--leave-out", nargs="+", default=(), metavar="LABEL", help="of --libraries: only to test on")
    add("--library", default="default", help="soundfont, philharmonia, … (default: $DEEPORCH_LIBRARY, or soundfont)")
    add("--root", help="folder of its recordings")
    add("--also", metavar="LIBRARY", help="a second library to train on, where $DEEPORCH_…_ROOT says")
    add("--pitches", help="philharmonia: named or sounding")
    add("--other", help="folder of other takes, only to test on")
    add("--minutes", type=number, default=5.0, help="of training")
    add("--epochs", type=whole, help="of 4,096 mixtures each; given, it decides how long, and not the minutes")
    add("--features", default="cqt24", choices=("cqt24", "cqt36"), help="what the network sees")
    add("--network", default="", metavar="NAME=NUMBER,…", help="its sizes: width=128,blocks=4; see PitchNetConfig")
    add("--recolour", default="", metavar="NAME=VALUE,…", help="change training notes: level=6,equalizer=5,detune=0.3")
    add("--split", default="mixture", choices=("mixture", "recording"), help="recording: hold recordings out")
    add("--audit", action="store_true", help="also test without the recordings that the audit finds suspicious")
    add("--test", type=whole, default=1000, help="mixtures of each test")
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
    from .recognition import train
    from .training.launch import together

    _track(options.tensorboard)
    if options.folder:
        _check_writable(Path(options.folder).expanduser())
    if options.checkpoint:
        _check_writable(Path(options.checkpoint).expanduser().parent)
    return together(train.command, options)


def _track(folder: str | None) -> None:
    """Let trainings write their curves below a folder."""
    if folder:
        path = Path(folder).expanduser().resolve()
        _check_writable(path)
        os.environ["DEEPORCH_TENSORBOARD"] = str(path)


# ---- recognize: the notes of sounds ----------------------------------------------------------------------------------


def _recognize_options(add: Callable) -> None:
    add("files", nargs="+", metavar="FILE", help="sound files of any length")
    add("-n", type=whole, help="how many notes there are (default: it decides)")
    add("--checkpoint", default="orchestra", help="a .safetensors file, or the name of a network that ships")
    add("--explain", action="store_true", help="by pitch: the group of instruments, and the instruments")
    add("--over-time", action="store_true", help="notes with begin and end, of recordings longer than a note")
    add("-o", "--output", metavar="DIR", help="with --over-time: write each table there as CSV and MIDI")
    add("--json", action="store_true", help="print JSON")


def _recognize(options: argparse.Namespace) -> int:
    from .recognition import answers, transcription
    from .recognition.recognizer import Recognizer

    way = transcription if options.over_time else answers
    return way.command(Recognizer.load(options.checkpoint), options)


def _export_options(add: Callable) -> None:
    add("output", metavar="FILE", help="the .onnx file to write; a .json beside it says what goes in and out")
    add("--checkpoint", default="orchestra", help="a .safetensors file, or the name of a network that ships")


def _export(options: argparse.Namespace) -> int:
    from .models.checkpoints import export_onnx
    from .recognition.recognizer import Recognizer

    recognizer = Recognizer.load(options.checkpoint)
    print(f"written: {export_onnx(options.output, recognizer.model, recognizer.calibration.to_dict())}")
    return 0


# ---- orchestrate: a sound --------------------------------------------------------------------------------------------


def _library_options(add: Callable) -> None:
    add("--library", default="default", help="soundfont (default), tinysol, sol or philharmonia")
    add("--root", help="the library's folder, where it needs one")


def _output_options(add: Callable) -> None:
    add("-o", "--output", metavar="DIR", help="a new folder for the results (default: named after the target)")
    add("--room", type=float, default=0.0, metavar="S", help="reverberation time of the sounds, 0 to 10 s")
    add("--tempo", type=float, metavar="BPM", help="of the scores (default: 60, or what suits the onsets)")


def _new_folder(options: argparse.Namespace, name: str) -> Path:
    """Return where results will be; say now what is wrong with that, or with the other options of output."""
    check_range(options.room, 0, 10, "--room")
    if options.tempo is not None:
        check_range(options.tempo, 20, 400, "--tempo")
    folder = Path(options.output or name).expanduser()
    _check_writable(folder.parent)
    return folder


def _orchestrate_options(add: Callable) -> None:
    add("target", metavar="TARGET", nargs="?", help="a sound file, a MIDI file, or a chord such as 'C4 E4 G4 Bb4'")
    add("-c", "--config", metavar="FILE", help="options.toml of an earlier run; what is given here goes first")
    add("--from", dest="begin", type=float, metavar="S", help="where in the file the target begins")
    add("--to", dest="end", type=float, metavar="S", help="and where it ends")
    add("--orchestra", default=ORCHESTRA, help="players, e.g. 'Fl Fl Ob ClBb|BClBb Vc'")
    _output_options(add)
    _library_options(add)
    add("--distance", help="combined (default), partials, mel, log_spectral, framewise, …")
    add("--recognizer", help="a network whose evidence is a prior: a .safetensors file or a name")
    add("-n", "--solutions", type=int, default=5, help="how many")
    add("--min-notes", type=int, default=1, help="fewest players who play")
    add("--max-notes", type=int, help="most players who play")
    add("--note-cost", type=float, help="more makes sparser solutions")
    add("--weights", default="", help="by how much an instrument's notes cost more or less, e.g. 'Fl=0.5 Hn=4'")
    add("--pitch-range", nargs=2, metavar=("LOW", "HIGH"), help="e.g. C2 C6")
    add("--pitches", help="the only pitches, e.g. 'C4 E4 G4'")
    add("--dynamics", help="the only dynamics, e.g. 'pp mf'")
    add("--techniques", help="the only techniques, e.g. 'ord'")
    add("--fixed", action="append", metavar="NOTE", help="a note that must sound, e.g. 'Vc C2 ff'; may be repeated")
    add("--partial-filter", type=float, default=0.0, help="only notes on partials so strong, 0 to 1")
    add("--retune", action="store_true", help="retune notes to the target's partials")
    add("--segments", default="auto", metavar="HOW", help="when they change: auto, one, onsets, or '0 1.2 2.5' (s)")
    add("--continuity", type=float, default=0.3, help="more keeps players on their notes from segment to segment")
    add("--evaluations", type=int, default=30_000, help="most mixtures compared")
    add("--seconds", type=float, help="longest time of the search")
    add("--seed", type=int, default=0, help="of the search")
    add("--device", default="cpu", help="where candidates are compared: cpu, cuda or auto")


NOT_OF_THE_RUN = ("name", "command", "command_line", "arguments", "config", "parser")
NOT_OF_THE_SEARCH = (
    *NOT_OF_THE_RUN, "target", "output", "library", "root", "recognizer", "begin", "end", "room", "tempo", "segments",
)  # fmt: skip


def _orchestrate(options: argparse.Namespace) -> int:
    from .notes.library import load_library
    from .notes.tones import part_of, segments
    from .orchestration.orchestrate import orchestrate
    from .orchestration.target import read_target
    from .recognition.recognizer import Recognizer
    from .util.progress import progress

    if options.target is None:
        raise ValueError("Name the sound to orchestrate: deeporch orchestrate bell.wav.")
    title = "chord" if not Path(options.target).suffix else Path(options.target).stem
    folder = _new_folder(options, title)
    notes = load_library(options.library, root=options.root)
    sound, rate, chord = part_of(options.target, options.begin, options.end, notes.sample_rate)
    prior = Recognizer.load(options.recognizer) if options.recognizer else None
    wanted = {name: value for name, value in vars(options).items() if name not in NOT_OF_THE_SEARCH}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    wanted["segments"] = segments(options.segments)
    wanted = {"pitches": chord, **wanted} if chord else wanted
    form = "{desc}: {percentage:.0f}%|{bar}| {remaining} left{postfix}"
    with progress(total=100, desc="search", bar_format=form, leave=False) as bar:

        def show(evaluations: int, best: float, fraction: float) -> None:
            bar.update(int(100 * fraction) - bar.n)
            bar.set_postfix_str(f"{evaluations:,} mixtures compared, distance {best:.4f}", refresh=False)

        found = orchestrate(sound, notes, sample_rate=rate, progress=show, recognizer=prior, **wanted)
    kept = {name: value for name, value in vars(options).items() if name not in NOT_OF_THE_RUN}
    found = [replace(solution, title=" ".join(title.replace("_", " ").split())) for solution in found]
    return _write(folder, found, read_target(sound, rate, notes.sample_rate).numpy(), kept, options)


def _write(folder: Path, found: list, target: Any, kept: dict[str, Any], options: argparse.Namespace) -> int:
    """Write solutions into their folder, print a screen of their table, and say where it is, and what is missing."""
    from .export.folder import a_screen, write_folder

    folder, failed = write_folder(folder, found, target, kept, room=options.room, tempo=options.tempo)
    print("\n".join(a_screen(found, folder)))
    print(f"{len(found)} solution{'s' * (len(found) != 1)} to hear and to read: {folder / 'index.html'}")
    if failed:
        print(f"deeporch {options.name}: all but these were written: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


# ---- render: saved solutions -----------------------------------------------------------------------------------------


def _render_options(add: Callable) -> None:
    add("solution", metavar="FILE", help="solution.json or connection.txt, ours or Orchidea's")
    _output_options(add)
    _library_options(add)


def _render(options: argparse.Namespace) -> int:
    from .notes.library import load_library
    from .orchestration.saved import from_json, read_connection

    path = Path(options.solution).expanduser()
    title = path.parent.resolve().name if path.stem in ("solution", "connection") else path.stem
    folder = _new_folder(options, f"{title}-rendered")
    read = from_json if path.suffix.lower() == ".json" else read_connection
    solution = read(path, load_library(options.library, root=options.root))
    solution = solution if solution.title else replace(solution, title=title)
    kept = {name: value for name, value in vars(options).items() if name not in NOT_OF_THE_RUN}
    return _write(folder, [solution], None, kept, options)


# ---- instruments, techniques: what there is --------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    from .export.folder import instrument_lines, technique_lines
    from .notes.library import load_library

    lines = instrument_lines if options.name == "instruments" else technique_lines
    print("\n".join(lines(load_library(options.library, root=options.root))))
    return 0


# ---- figures: from the committed tables ------------------------------------------------------------------------------


def _figures_options(add: Callable) -> None:
    add("names", nargs="*", metavar="NAME", help="experiments, e.g. 02_cnn_one_class_per_file (default: all)")


def _figures(options: argparse.Namespace) -> int:
    notebooks = Path(__file__).parents[1] / "notebooks"
    if not (notebooks / "experiments" / "figures").is_dir():
        raise FileNotFoundError("Figures are drawn in a checkout of the project: no notebooks are here.")
    sys.path.insert(0, str(notebooks))
    return import_module("experiments.figures.gallery").command(options.names)


COMMANDS = {
    "run": ("Run the notebooks without a browser.", "run 01 02 --profile laptop", _run_options, _run),
    "train": ("Train a recognizer.", "train --minutes 5 --checkpoint mine", _train_options, _train),
    "recognize": ("Name the notes of sounds.", "recognize chord.wav", _recognize_options, _recognize),
    "export-onnx": ("Write a recognizer's network as ONNX.", "export-onnx orchestra.onnx", _export_options, _export),
    "orchestrate": (
        "Find the notes of an orchestra that come closest to a sound.",
        "orchestrate bell.wav --orchestra 'Fl Ob|EH ClBb Bn' -o bell", _orchestrate_options, _orchestrate,
    ),
    "render": (
        "Render a saved solution again: sound, scores, table.",
        "render bell/solution_1/solution.json --room 2 --tempo 72", _render_options, _render,
    ),
    "instruments": (
        "List the instruments, and what a library has of them.", "instruments --library sol",
        _library_options, _list),
    "techniques": (
        "List a library's techniques, and how scores write them.", "techniques --library sol",
        _library_options, _list),
    "figures": ("Redraw every figure and table from figures/*.csv.", "figures", _figures_options, _figures),
}  # fmt: skip
