"""Run the notebooks without a browser: ``deeporch run [--profile quick|laptop|gpu] [notebooks …]``.

Each notebook runs in its own papermill process with its own time limit. A failure does not stop the others; all are
listed at the end. A run folder keeps what was computed, from what, with what, on what:

    runs/2026-01-31T12-00-00Z-quick/
        01_cnn_instruments.ipynb    the executed notebook
        metrics.csv                 notebook, name, value: what the notebooks recorded
        parameters.json             every parameter of every notebook
        environment.json            versions, git revision, device, seconds a notebook
        failures.json               which notebooks failed, and why
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import psutil
import yaml

from ..util.environment import environment
from ..util.files import user_path, write_text
from .estimate import announce, slowness
from .notebooks import check_notebook, clean_notebook, read_metrics, read_notebook
from .profiles import Job, find_notebooks, load_profile, parse_assignments, plan, plan_steps

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """How one notebook went."""

    notebook: str
    seconds: float
    error: str | None = None  # one line; None if all went well


# ---- Running one notebook --------------------------------------------------------------------------------------------


class Watcher(threading.Thread):
    """Reads what papermill and the notebook print, and keeps where it is."""

    _CLOCK = re.compile(r"\d+:\d\d(:\d\d)?")  # in a bar, moves by itself
    _NOISE = re.compile(r"^(Ending Cell|(In|Out)put Notebook:|Executing notebook with|\s*$)")

    def __init__(self, stream: io.BufferedReader, cells: int) -> None:
        super().__init__(daemon=True)
        self.stream, self.cells = stream, cells
        self.cell = 0
        self.moved = time.monotonic()  # when a cell began or a bar moved
        self.lines: deque[str] = deque(maxlen=50)

    def run(self) -> None:
        """Read until the process closes its end."""
        rest = ""
        while chunk := os.read(self.stream.fileno(), 1 << 16):
            *lines, rest = re.split(r"[\r\n]", rest + chunk.decode("utf-8", "replace"))
            for line in lines:
                if started := re.match(r"Executing Cell (\d+)-", line):
                    self.cell, self.moved = int(started.group(1)), time.monotonic()
                    self.lines.clear()
                elif not self._NOISE.match(line):
                    if not self.lines or self._CLOCK.sub("", self.lines[-1]) != self._CLOCK.sub("", line.strip()):
                        self.moved = time.monotonic()
                    self.lines.append(line.strip())

    def status(self) -> str:
        """Where the notebook is, in one line."""
        if not self.cell:
            return "starting"
        return " · ".join([f"cell {self.cell}/{self.cells}", *list(self.lines)[-1:]])


class Display:
    """One line a notebook: rewritten in a terminal, a new one every ten seconds in a log."""

    def __init__(self, title: str) -> None:
        self.title, self.started, self.last = title, time.monotonic(), time.monotonic()
        self.live = sys.stdout.isatty()

    def update(self, status: str) -> None:
        """Show `status`, if it is time."""
        if not self.live and time.monotonic() - self.last < 10:
            return
        self.last = time.monotonic()
        text = f"{self.title} · {_clock(self.last - self.started)} · {status}"
        if self.live:
            text = text[: shutil.get_terminal_size().columns - 1]
        print(f"\r\x1b[2K{text}" if self.live else text, end="" if self.live else "\n", flush=True)

    def finish(self, text: str) -> None:
        """Replace the status by what came of it."""
        print(f"{chr(13)}\x1b[2K" * self.live + f"{self.title} · {text}", flush=True)


def execute(job: Job, folder: Path, title: str) -> Result:
    """Run one notebook in a papermill process of its own and write the executed notebook into `folder`."""
    partial = folder / f".{job.name}.part.ipynb"  # papermill rewrites it after every cell
    cells = len(read_notebook(job.path).cells) + bool(job.overrides)
    display, started = Display(title), time.monotonic()
    display.update("starting")
    process = subprocess.Popen(
        _command(job, partial), env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,  # Ctrl-C comes to us alone, and we stop it
    )  # fmt: skip
    watcher = Watcher(process.stdout, cells)
    watcher.start()
    late = ""
    try:
        while process.poll() is None and not late:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.3)
            display.update(watcher.status())
            late = _late(job, watcher, started)
    finally:
        stop(process)
        watcher.join(2)
        process.stdout.close() if not watcher.is_alive() else None
        with suppress(OSError, ValueError):
            read_notebook(partial)  # a half-written one stays where it is
            os.replace(partial, folder / f"{job.name}.ipynb")
    seconds = round(time.monotonic() - started, 1)
    error = f"stopped in cell {watcher.cell} of {cells}: {late}" if late else None
    if process.returncode and not late:
        error = _reason(folder / f"{job.name}.ipynb", list(watcher.lines))
    display.finish(f"failed after {_clock(seconds)}: {error}" if error else f"done in {_clock(seconds)}")
    return Result(job.name, seconds, error)


def _late(job: Job, watcher: Watcher, started: float) -> str:
    """Return why a notebook is to be stopped, and how to give it more time; empty if it is not."""
    now = time.monotonic()
    if now - watcher.moved > job.patience:
        return f"no cell ended and no bar moved for {job.patience:g} s (--patience allows more)"
    return f"its time limit of {job.limit:g} s is over (--timeout allows more)" if now - started > job.limit else ""


def stop(process: subprocess.Popen) -> None:
    """End a process and all it started (papermill's kernel lives in a session of its own), and wait for it."""
    try:
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)] if process.poll() is None else []
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    _, stubborn = psutil.wait_procs(family, timeout=3)
    for member in stubborn:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def _command(job: Job, output: Path) -> list[str]:
    parameters = base64.b64encode(yaml.safe_dump(job.overrides).encode()).decode()
    die_with_us = ["setpriv", "--pdeathsig", "TERM"] * bool(shutil.which("setpriv"))  # on Linux; also if we are killed
    return [
        *(*die_with_us, sys.executable, "-m", "papermill", str(job.path), str(output)),
        *("--kernel", "python3", "--language", "python", "--cwd", str(job.path.parent)),
        *("--parameters_base64", parameters) * bool(job.overrides),
        *("--log-output", "--no-progress-bar"),
    ]


def _environment() -> dict[str, str]:
    """Return the environment of a notebook: this interpreter's kernel and package come before any other."""
    mine = {"JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")), "PYTHONPATH": str(_ROOT)}
    paths = {name: os.pathsep.join(filter(None, [path, os.environ.get(name)])) for name, path in mine.items()}
    folders = {k: v for k, v in os.environ.items() if v and re.fullmatch(r"DEEPORCH_(CACHE|\w+_ROOT)", k)}
    paths |= {name: str(user_path(folder).absolute()) for name, folder in folders.items()}
    paths["DEEPORCH_COMMAND"] = shlex.join(["deeporch", *sys.argv[1:]])  # for what the notebooks write
    return os.environ | paths | {"DEEPORCH_HEADLESS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def _reason(executed: Path, lines: list[str]) -> str:
    """Return in one line why a notebook failed: its last error, or the last thing papermill said."""
    with suppress(OSError, ValueError):
        for cell in reversed(read_notebook(executed).cells):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    message = next(iter(output.evalue.splitlines()), "")
                    return f"cell [{cell.execution_count}]: {output.ename}: {message}".rstrip(": ")
    return lines[-1] if lines else "papermill ended without a word"


# ---- The run folder --------------------------------------------------------------------------------------------------


def new_folder(parent: Path, profile: str) -> Path:
    """Make and return ``<parent>/<UTC time>-<profile>``."""
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-{profile}"
    for count in range(1, 1000):
        folder = parent / (stamp if count == 1 else f"{stamp}-{count}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise FileExistsError(f"{parent} already has a thousand runs of this second.")


def write_results(folder: Path, about: dict[str, Any], results: Sequence[Result], *, finished: bool) -> None:
    """Write metrics, seconds and failures as far as they are known; called after every notebook."""
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["notebook", "name", "value"])
    for result in results:
        with suppress(OSError, ValueError):
            metrics = read_metrics(folder / f"{result.notebook}.ipynb")
            table.writerows([result.notebook, name, value] for name, value in metrics.items())
    write_text(folder / "metrics.csv", rows.getvalue())
    about = about | {"seconds": {r.notebook: r.seconds for r in results}, "finished": _now() if finished else None}
    write_text(folder / "environment.json", json.dumps(about, indent=2) + "\n")
    failures = [asdict(result) for result in results if result.error]
    write_text(folder / "failures.json", json.dumps(failures, indent=2) + "\n")


def commit(job: Job, folder: Path) -> None:
    """Write the executed notebook, cleaned, over its source."""
    cleaned = clean_notebook(read_notebook(folder / f"{job.name}.ipynb"))
    problems = check_notebook(cleaned)
    if [cell.source for cell in cleaned.cells] != [cell.source for cell in read_notebook(job.path).cells]:
        problems.append("The source was edited during the run.")
    if problems:
        raise ValueError(f"not committed: {' '.join(problems)}")
    write_text(job.path, nbformat.writes(cleaned) + "\n")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


# ---- The command -----------------------------------------------------------------------------------------------------


def run(jobs: Sequence[Job], folder: Path, *, commit_them: bool = False, minutes: float | None = None) -> list[Result]:
    """Run every job, one after the other, and keep the run folder up to date."""
    deadline = time.monotonic() + 60 * minutes if minutes else math.inf
    results = earlier_results(folder, jobs) if minutes else []
    done = {result.notebook for result in results}
    write_text(folder / "parameters.json", json.dumps({job.name: job.parameters for job in jobs}, indent=2) + "\n")
    about = {"started": _now(), "limits": {job.name: job.limit for job in jobs}, **environment()}
    write_results(folder, about, results, finished=len(done) == len(jobs))
    for number, job in enumerate(jobs, 1):
        left = deadline - time.monotonic()
        if job.name in done or left <= 0:
            continue
        result = execute(replace(job, limit=min(job.limit, left)), folder, f"[{number}/{len(jobs)}] {job.name}")
        if result.error and time.monotonic() >= deadline:
            continue
        if commit_them and not result.error:
            try:
                commit(job, folder)
            except ValueError as error:
                result = replace(result, error=str(error))
        results.append(result)
        write_results(folder, about, results, finished=len(results) == len(jobs))
    return results


def earlier_results(folder: Path, jobs: Sequence[Job]) -> list[Result]:
    """Return what a run folder has of these jobs, done well with the same parameters."""
    with suppress(OSError, ValueError, KeyError):
        seconds = json.loads((folder / "environment.json").read_text())["seconds"]
        parameters = json.loads((folder / "parameters.json").read_text())
        failed = {failure["notebook"] for failure in json.loads((folder / "failures.json").read_text())}
        names = [job.name for job in jobs if parameters.get(job.name) == job.parameters and job.name not in failed]
        return [Result(name, seconds[name]) for name in names if name in seconds]
    return []


def report(results: Sequence[Result], folder: Path, *, total: int, started: float) -> int:
    """Print what was made and where it is, what failed and how to go on; return the exit status."""
    failed = [result for result in results if result.error]
    seconds = sum(result.seconds for result in results)
    print(f"\n{len(results) - len(failed)} of {total} notebooks done in {_clock(seconds)}. Results: {folder}")
    with suppress(OSError):
        count = len((folder / "metrics.csv").read_text().splitlines()) - 1
        print(f"  the executed notebooks, and metrics.csv: the {count} numbers that they recorded")
    drawn = sorted(p.name for p in (_ROOT / "figures").glob("*.csv") if p.stat().st_mtime >= started)
    if drawn:
        print(f"  written to figures/: {', '.join(drawn)}, and the figures drawn from them")
    for result in failed:
        print(f"FAILED {result.notebook}: {result.error}")
    if len(results) < total:
        print("The time is over. What was trained is kept: the same command goes on from there.")
    return 1 if failed else 0


def _given_folder(text: str) -> Path:
    folder = Path(text).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{text} is not an empty folder: name a new one for this run.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _list(jobs: Sequence[Job]) -> int:
    for job in jobs:
        print(f"{job.name}  (at most {_clock(job.limit)})")
        for name, value in job.parameters.items():
            print(f"    {name} = {value!r}")
    return 0


def command(options: argparse.Namespace) -> int:
    """Run the notebooks as the command line says: 0 well, 1 a notebook failed, 130 interrupted."""
    folder = Path(options.folder).resolve()
    profile, given = load_profile(options.profile, folder), parse_assignments(options.parameters)
    if options.minutes:
        if options.notebooks or options.commit:
            raise ValueError("--minutes takes the profile's steps, without names of notebooks and --commit.")
        jobs = plan_steps(profile, folder, given)
    else:
        jobs = plan(find_notebooks(options.notebooks, folder), profile, given, options.timeout, options.patience)
    if options.list:
        return _list(jobs)
    changed = {name for job in jobs for name in job.overrides}
    if options.commit and changed:
        differ = ", ".join(sorted(changed))
        raise ValueError(f"--commit keeps the results of the notebooks' own defaults, and {differ} differ.")
    runs, started = Path("runs"), time.time()
    if options.minutes:
        out = Path(options.out or runs / profile.name).resolve()
        (out / "state").mkdir(parents=True, exist_ok=True)
        os.environ["DEEPORCH_STATE"] = str(out / "state")
    else:
        out = _given_folder(options.out) if options.out else new_folder(runs, options.profile)
    limit = f" It stops after {options.minutes:g} minutes." if options.minutes else ""
    print(announce(jobs, profile, runs, slowness()) + limit, flush=True)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        results = run(jobs, out, commit_them=options.commit, minutes=options.minutes)
        return report(results, out, total=len(jobs), started=started)
    except KeyboardInterrupt:
        print(f"\nStopped. What was done is in {out}", file=sys.stderr)
        return 130
