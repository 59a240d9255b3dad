"""Grids of notebooks on many cores, GPUs or machines: ``deeporch run 05 --grid SIZES=2,3 SEED=0,1 [--scheduler …]``.

Every combination is a job, a papermill process on a worker of a Dask cluster: by default on this machine, with a
worker a core or GPU. One folder keeps the grid, and the same command with the same ``--out`` goes on where it stopped:

    jobs/       <job>.ipynb, executed, and <job>.json: what it recorded (there only once the job has finished)
    grid.csv    notebook, the grid's parameters, name, value: the same whichever worker did what, and when
    table.txt   the same with a column a metric, as mean ± standard deviation over SEED
    jobs.csv    seconds, worker and failure of every job that ended in this session or before
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import itertools
import json
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker

from ..util.environment import PACKAGES, environment
from ..util.files import atomic_path, write_text
from ..util.progress import progress
from .notebooks import read_metrics, read_notebook
from .profiles import Job, convert, find_notebooks, load_profile, parse_assignments, plan
from .run import execute, new_folder

_ROOT = Path(__file__).resolve().parents[2]
CONNECT_SECONDS, POLL = 10, 0.1
LOST = "lost its worker again and again: is there enough memory?"


# ---- Which jobs ------------------------------------------------------------------------------------------------------


def parse_grid(axes: Sequence[str]) -> dict[str, list[str]]:
    """Return ``NAME=VALUE,VALUE,…`` texts as lists; a value with commas stands in single quotes."""
    grid: dict[str, list[str]] = {}
    for axis in axes:
        name, _, text = axis.partition("=")
        values = [v.strip() for v in next(csv.reader([text], quotechar="'", skipinitialspace=True), [])]
        if not name.isidentifier() or not all(values) or not values:
            raise ValueError(f"--grid takes NAME=VALUE,VALUE, for example --grid SEED=0,1,2, and not {axis!r}.")
        if name in grid or len(set(values)) < len(values):
            raise ValueError(f"--grid names {name if name in grid else f'a value of {name}'} twice.")
        grid[name] = values
    return grid


def plan_grid(jobs: Sequence[Job], grid: dict[str, list[str]]) -> dict[str, Job]:
    """Return every combination of the grid for every job by its name, which tells its code and parameters."""
    found, sources = {}, {job.path: source_hash(job.path) for job in jobs}
    for job, values in itertools.product(jobs, itertools.product(*grid.values())):
        chosen = {n: v for n, v in zip(grid, values, strict=True) if n in job.parameters}
        own = {n: convert(v, job.parameters[n], f"{n} of {job.name}") for n, v in chosen.items()}
        one = replace(job, parameters=job.parameters | own, overrides=job.overrides | own)
        label = re.sub(r"[^\w.=-]+", "_", "-".join([job.name, *(f"{n}={v}" for n, v in own.items())]))
        content = json.dumps([sources[job.path], one.parameters], sort_keys=True)
        found[f"{label[:100]}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"] = one
    return found


def source_hash(path: Path) -> str:
    """Return the hash of a notebook's code, whatever its outputs and text are."""
    code = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


# ---- On a worker -----------------------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Return what has to be the same on all machines."""
    found = {name: value for name, value in environment().items() if name in (*PACKAGES, "python", "git")}
    return found | {"git": found["git"].rstrip("+")}


def run_job(name: str, job: Job, source: str, expected: dict[str, str], gpus: int) -> dict[str, Any]:
    """Run one job on the worker at hand; return its executed notebook and how it went, or why it may not run here.

    Nothing is raised: a traceback cannot always be brought over, and then Dask waits for ever.
    """
    worker = get_worker()
    where = f"{socket.gethostname()} {worker.name}"
    path = job.path if job.path.is_file() else _ROOT / "notebooks" / job.path.name
    try:
        refused = _check_worker(worker.address, path, source, expected)
        return {"refused": refused} if refused else _run_here(name, replace(job, path=path), gpus) | {"worker": where}
    except Exception as error:
        return {"notebook": "", "seconds": 0.0, "worker": where, "error": f"{type(error).__name__}: {error}"}


def _run_here(name: str, job: Job, gpus: int) -> dict[str, Any]:
    if gpus:  # a cluster of this machine: its workers are numbered
        os.environ["CUDA_VISIBLE_DEVICES"] = str(int(get_worker().name) % gpus)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # the bar tells how far the grid is
        result = execute(job, Path(folder), name)
        executed = Path(folder, f"{job.name}.ipynb")
        notebook = executed.read_text(encoding="utf-8") if executed.is_file() else ""
    return {"notebook": notebook, "seconds": result.seconds, "error": result.error or ""}


def _check_worker(address: str, path: Path, source: str, expected: dict[str, str]) -> str:
    """Return in a sentence why a worker may not run a notebook: other versions, another file; empty if it may."""
    mine = versions() if expected else {}
    for what in expected:
        if mine.get(what) and mine[what] != expected[what]:
            return (
                f"Worker {address} has {what} {mine[what]}, and this machine {expected[what]}: "
                "bring both to the same revision and `make setup`."
            )
    if not path.is_file() or source_hash(path) != source:
        return f"Worker {address} has another {path.name} than this machine: copy it there."
    return ""


# ---- On this machine -------------------------------------------------------------------------------------------------


@contextmanager
def connect(scheduler: str | None, workers: int) -> Iterator[Client]:
    """Yield a client of a scheduler, or of a cluster of this machine."""
    if scheduler is None:
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, silence_logs=logging.CRITICAL) as local,
            Client(local) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError):
        raise OSError(
            f"No Dask scheduler answers at {scheduler!r}: start one with `dask scheduler` and name its address "
            "(tcp://HOST:8786), or leave --scheduler out for a cluster on this machine."
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            print(f"Waiting for workers: start some with `dask worker {scheduler} --nthreads 1`.", flush=True)
        yield client


@contextmanager
def noticed() -> Iterator[list[int]]:
    """Yield the list of signals to stop that came: an exception could be raised where nobody catches it."""
    came: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def run_grid(
    jobs: dict[str, Job], folder: Path, client: Client, *, local: bool, stopped: Sequence[int] = ()
) -> dict[str, str]:
    """Run the jobs that have not finished yet and keep each at once, until stopped; return the failures, by job."""
    here, gpus = ({}, torch.cuda.device_count()) if local else (versions(), 0)
    failures = {}
    todo = {name: job for name, job in jobs.items() if not (folder / "jobs" / f"{name}.json").is_file()}
    sources = {path: source_hash(path) for path in {job.path for job in todo.values()}}
    names = {
        client.submit(run_job, name, job, sources[job.path], here, gpus, key=f"job-{name}", pure=False): name
        for name, job in todo.items()
    }
    with progress(total=len(jobs), initial=len(jobs) - len(todo), desc="grid", unit="job") as bar:
        finished = as_completed(list(names))
        while names:
            if stopped:
                raise KeyboardInterrupt
            if not finished.has_ready():
                time.sleep(POLL)
                continue
            future = next(finished)
            name = names.pop(future)
            try:
                answer = future.result()
            except KilledWorker:
                answer = {"notebook": "", "seconds": 0.0, "worker": "", "error": LOST}
            except CancelledError:
                raise OSError(f"The scheduler was lost; the same command with --out {folder} goes on.") from None
            except (ImportError, AttributeError) as error:  # what is not there cannot be unpickled
                raise ValueError(f"A worker has no deeporch of this version ({error}): `make setup` there.") from None
            if "refused" in answer:
                raise ValueError(answer["refused"])
            if answer["error"]:
                failures[name] = answer["error"]
                bar.write(f"FAILED {name}: {answer['error']}")
            keep(folder, name, jobs[name], answer)
            future.release()  # a result that is kept must not be computed again when its worker is lost
            write_tables(folder, jobs)
            bar.update()
    return failures


def keep(folder: Path, name: str, job: Job, answer: dict[str, Any]) -> None:
    """Write what came of a job; the file that says that it has finished comes last."""
    about = {"notebook": job.name, "parameters": job.parameters} | {k: v for k, v in answer.items() if k != "notebook"}
    (folder / "jobs").mkdir(exist_ok=True)
    if answer["notebook"]:
        write_text(folder / "jobs" / f"{name}.ipynb", answer["notebook"])
    if answer["error"]:
        return write_text(folder / "jobs" / f"{name}.failed", json.dumps(about, indent=2) + "\n")
    about["metrics"] = read_metrics(folder / "jobs" / f"{name}.ipynb")
    (folder / "jobs" / f"{name}.failed").unlink(missing_ok=True)
    return write_text(folder / "jobs" / f"{name}.json", json.dumps(about, indent=2) + "\n")


def write_tables(folder: Path, jobs: dict[str, Job]) -> pd.DataFrame:
    """Write grid.csv, table.txt and jobs.csv from what is kept; return the table."""
    read = lambda path: json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None  # noqa: E731
    kept = {name: read(folder / "jobs" / f"{name}.json") or read(folder / "jobs" / f"{name}.failed") for name in jobs}
    kept = {name: about for name, about in kept.items() if about}
    names = dict.fromkeys(name for job in jobs.values() for name in job.parameters)
    varied = [name for name in names if len({repr(job.parameters.get(name)) for job in jobs.values()}) > 1]
    rows, log = [], []
    for name, about in kept.items():
        own = {"notebook": about["notebook"]} | {n: about["parameters"].get(n, "") for n in varied}
        rows += [own | {"name": metric, "value": value} for metric, value in about.get("metrics", {}).items()]
        log.append({"job": name} | {n: about[n] for n in ("seconds", "worker", "error")})
    tidy = pd.DataFrame(rows, columns=["notebook", *varied, "name", "value"])
    for file, content in (("grid.csv", tidy), ("jobs.csv", pd.DataFrame(log))):
        with atomic_path(folder / file) as path:
            content.to_csv(path, index=False)
    table = summarize(tidy)
    write_text(folder / "table.txt", table.to_string() + "\n" if len(table) else "")
    return table


def summarize(tidy: pd.DataFrame) -> pd.DataFrame:
    """Return a row a combination and a column a metric: its mean ± standard deviation over SEED, or its one value."""
    axes = [c for c in tidy.columns if c not in ("SEED", "name", "value")]

    def cell(values: pd.Series) -> str:
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.isna().any() or len(set(values)) == 1:
            return " ".join(dict.fromkeys(map(str, values)))
        return f"{numbers.mean():.4g} ± {numbers.std():.2g}"

    return tidy.groupby([*axes, "name"], sort=False)["value"].agg(cell).unstack("name") if len(tidy) else tidy


# ---- The command -----------------------------------------------------------------------------------------------------


def command(options: argparse.Namespace) -> int:
    """Run a grid as the command line says: 0 well, 1 a job failed, 130 interrupted."""
    notebooks, grid, given = (
        Path(options.folder).resolve(),
        parse_grid(options.grid),
        parse_assignments(options.parameters),
    )
    if options.commit:
        raise ValueError("--commit keeps the results of the notebooks' own defaults, and a grid has others.")
    if both := sorted(grid.keys() & given.keys()):
        raise ValueError(f"{both[0]} is given by -p and by --grid: which one?")
    first = {name: values[0] for name, values in grid.items()}
    paths, profile = find_notebooks(options.notebooks, notebooks), load_profile(options.profile, notebooks)
    jobs = plan_grid(plan(paths, profile, first | given, options.timeout), grid)
    if options.list:
        print("\n".join(jobs))
        return 0
    workers = torch.cuda.device_count() or len(os.sched_getaffinity(0)) if options.workers is None else options.workers
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, but is {workers}.")
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.default_int_handler)
    folder = Path(options.out).resolve() if options.out else new_folder(Path("runs"), f"{options.profile}-grid")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "grid.csv").is_file())):
        raise FileExistsError(f"{folder.name} is neither an empty folder nor that of a grid: name another with --out.")
    try:
        with connect(options.scheduler, min(workers, len(jobs))) as client:
            folder.mkdir(parents=True, exist_ok=True)
            write_tables(folder, jobs)
            print(f"{len(jobs)} jobs. Dashboard: {client.dashboard_link} Results: {folder}", flush=True)
            with noticed() as stopped:
                failures = run_grid(jobs, folder, client, local=not options.scheduler, stopped=stopped)
        table = write_tables(folder, jobs)
    except KeyboardInterrupt:
        if folder.is_dir():
            write_tables(folder, jobs)  # with what was kept at the last moment
        print(f"\nStopped. The same command with --out {folder} goes on.", file=sys.stderr)
        return 130
    print(table.to_string() if len(table) else "Nothing was recorded.")
    print(f"{len(jobs) - len(failures)} of {len(jobs)} jobs done. Results: {folder}")
    return 1 if failures else 0
