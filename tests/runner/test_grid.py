"""Grids: which jobs they have, and that they are run once each on workers that may die (real processes)."""

import csv
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from deeporch import cli
from deeporch.runner import grid
from deeporch.runner.profiles import find_notebooks, load_profile, plan

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = 'MODEL = "cnn"  # or resnet\nN = 2  # notes\nSEED = 0  # of all\nLOG = ""  # a file\nWAIT = 0.0  # seconds'
BODY = """import os, time
def log(what):
    with open(LOG, "a") as file:
        file.write(f"{what} {MODEL} {N} {SEED}\\n")
log("began")
time.sleep(WAIT)
if N == 13: raise ValueError("thirteen")"""
RECORD = """from IPython.display import display
gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
metrics = {"recall": len(MODEL) / N + SEED / 100, "best": MODEL, "gpu": gpu}
display({"application/x-deeporch-metrics+json": metrics}, raw=True)
log("ended")"""
AXES = {"MODEL": ["cnn", "resnet"], "N": ["2", "3"], "SEED": ["0", "1", "2"]}
GRID = [f"{name}={','.join(values)}" for name, values in AXES.items()]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with one tiny notebook, which writes down when it is run."""
    folder = tmp_path_factory.mktemp("study")
    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(BODY), new_code_cell(RECORD)]
    nbformat.write(new_notebook(cells=cells), folder / "00_tiny.ipynb")
    (folder / "profiles").mkdir()
    (folder / "profiles" / "quick.yaml").write_text("limits: {default: 120}\n")
    return folder


@pytest.fixture
def start(request):
    """Return a function that starts a Python module and is sure to end it."""
    processes = []

    def start(*arguments, **environment):
        inherited = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        processes.append(subprocess.Popen(command, cwd=ROOT, env=inherited | environment, text=True, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def scheduler_of(start, tmp_path):
    """Start a scheduler at a free port and return its address."""
    file = tmp_path / "scheduler.json"
    start(
        "distributed.cli.dask_scheduler", "--port", 0, "--no-dashboard", "--scheduler-file", file, "--host", "127.0.0.1"
    )
    return until(lambda: file.is_file() and file.read_text().endswith("}") and json.loads(file.read_text())["address"])


def worker_of(start, address, tmp_path, *more, **environment):
    options = ["--no-nanny", "--nthreads", 1, "--no-dashboard", "--local-directory", tmp_path / "scratch"]
    options += ["--host", "127.0.0.1"]  # a machine without a network may know no other address
    return start("distributed.cli.dask_worker", address, *options, *more, **environment)


def command(study, *arguments):
    return ["deeporch", "run", "--folder", str(study), *map(str, arguments)]


def until(condition, seconds=200):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def logged(log, what):
    lines = log.read_text().splitlines() if log.is_file() else []
    return [line.removeprefix(what).split() for line in lines if line.startswith(what)]


def expected_csv():
    """What the tiny notebook records in a serial run of the 12 jobs, computed here."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["notebook", "MODEL", "N", "SEED", "name", "value"])
    for model, n, seed in itertools.product(*AXES.values()):
        recall = len(model) / int(n) + int(seed) / 100
        for name, value in {"best": model, "gpu": "", "recall": recall}.items():
            table.writerow(["00_tiny", model, n, seed, name, value])
    return text.getvalue()


@pytest.mark.slow
def test_a_grid_is_complete_and_equal_to_the_serial_run_when_a_worker_is_killed(study, tmp_path, start):
    out, log = tmp_path / "out", tmp_path / "log"
    address = scheduler_of(start, tmp_path)
    doomed, _ = (worker_of(start, address, tmp_path) for _ in range(2))
    options = ["--scheduler", address, "--out", out, "-p", f"LOG={log}", "-p", "WAIT=0.2"]
    run = start(*command(study, "00", "--grid", *GRID, *options))
    until(lambda: len(list(out.glob("jobs/*.json"))) >= 3 or run.poll() is not None)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("jobs/*.json")}
    doomed.kill()
    output, _ = run.communicate(timeout=250)
    assert run.returncode == 0, output
    finished = [tuple(words) for words in logged(log, "ended")]
    assert set(finished) == set(itertools.product(*AXES.values()))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for path in kept:
        values = json.loads(path.read_text())["parameters"]
        assert finished.count(tuple(str(values[name]) for name in AXES)) == 1, "what had finished ran again"
    assert len(logged(log, "began")) <= 14, "only what the lost worker had at hand is run again"
    assert (out / "grid.csv").read_text() == expected_csv()
    assert f"12 of 12 jobs done. Results: {out}" in output
    table = (out / "table.txt").read_text()
    assert "3 ± 0" not in table
    assert "1.51 ± 0.01" in table  # cnn at N = 2: 1.50, 1.51, 1.52
    jobs = pd.read_csv(out / "jobs.csv")
    assert len(jobs) == 12
    assert jobs["error"].isna().all()
    assert jobs["worker"].nunique() == 2
    assert not list(out.rglob(".*"))


@pytest.mark.slow
def test_a_local_grid_that_was_stopped_goes_on_without_repeating(study, tmp_path, start):
    out, log = tmp_path / "out", tmp_path / "log"
    line = command(study, "00", "--grid", "N=2,3", "SEED=0,1", "--workers", 1, "--out", out, "-p", f"LOG={log}")
    run = start(*line, "-p", "WAIT=0.3")
    until(lambda: len(list(out.glob("jobs/*.json"))) >= 1 or run.poll() is not None)
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 130, output
    assert f"Stopped. The same command with --out {out} goes on." in output
    assert "Traceback" not in output
    assert "Dashboard: http://" in output
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("jobs/*.json")}
    assert 1 <= len(kept) < 4
    half = pd.read_csv(out / "grid.csv")
    assert len(half) >= 3 * len(kept)
    run = start(*line, "-p", "WAIT=0.3")
    output, _ = run.communicate(timeout=250)
    assert run.returncode == 0, output
    assert {name: (out / "jobs" / name).stat().st_mtime_ns for name in kept} == kept
    whole = pd.read_csv(out / "grid.csv")
    assert list(whole[whole["name"] == "recall"]["value"].astype(float)) == pytest.approx(
        [3 / n + seed / 100 for n in (2, 3) for seed in (0, 1)]
    )


@pytest.mark.slow
def test_a_job_that_fails_is_named_and_tried_again_next_time(study, tmp_path, capsys):
    out, log = tmp_path / "out", tmp_path / "log"
    line = ["run", "--folder", str(study), "--grid", "N=2,13", "--workers", "1", "--out", str(out), "-p", f"LOG={log}"]
    for times in (1, 2):
        assert cli.main(line) == 1
        printed = capsys.readouterr()
        assert "1 of 2 jobs done." in printed.out
        assert "FAILED 00_tiny-N=13" in printed.err + printed.out
        assert len(logged(log, "began cnn 13")) == times
        assert len(logged(log, "began cnn 2")) == 1
        jobs = pd.read_csv(out / "jobs.csv").set_index("job")["error"]
        assert jobs.str.contains("ValueError: thirteen").tolist()[1] is True


@pytest.mark.slow
def test_a_worker_of_another_version_is_one_sentence(study, tmp_path, start, capsys):
    old = tmp_path / "old.py"
    old.write_text(  # a worker may load it twice
        "from deeporch.runner import grid\ngrid.real = getattr(grid, 'real', grid.versions)\n"
        "grid.versions = lambda: grid.real() | {'torch': '1.0.0'}\n"
    )
    address = scheduler_of(start, tmp_path)
    worker_of(start, address, tmp_path, "--preload", old)
    line = ["run", "--folder", str(study), "--grid", "N=2,3", "--scheduler", address, "--out", str(tmp_path / "out")]
    assert cli.main(line) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("deeporch run: Worker tcp://127.0.0.1:")
    assert f"has torch 1.0.0, and this machine {grid.versions()['torch']}: bring both to the same revision" in sentence
    assert not list((tmp_path / "out").glob("jobs/*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--grid", "M=1,2"], "None of the chosen notebooks has a parameter M: they have LOG, MODEL, N"),
        (["--grid", "N=2,many"], "N of 00_tiny takes a whole number, and not 'many'."),
        (["--grid", "N"], "--grid takes NAME=VALUE,VALUE, for example --grid SEED=0,1,2, and not 'N'."),
        (["--grid", "N=2,,3"], "--grid takes NAME=VALUE,VALUE, for example --grid SEED=0,1,2, and not 'N=2,,3'."),
        (["--grid", "N=2,2"], "--grid names a value of N twice."),
        (["--grid", "N=2", "N=3"], "--grid names N twice."),
        (["--grid", "N=2,3", "-p", "N=5"], "N is given by -p and by --grid: which one?"),
        (["--grid", "N=2,3", "--commit"], "--commit keeps the results of the notebooks' own defaults"),
        (["--grid", "N=2,3", "--workers", "-1"], "--workers must be at least 1, but is -1."),
        (["--grid", "N=2,3", "--out", "."], "neither an empty folder nor that of a grid: name another with --out."),
        (
            ["--grid", "N=2", "--scheduler", "tcp://127.0.0.1:9"],
            "No Dask scheduler answers at 'tcp://127.0.0.1:9': start",
        ),
        (["--grid", "N=2", "--scheduler", "http//x"], "No Dask scheduler answers at 'http//x': start one with"),
    ],
)
def test_bad_input_is_one_sentence(study, tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.setattr(grid, "CONNECT_SECONDS", 1)
    line = ["run", "--folder", str(study), *arguments]
    assert cli.main(line if "--out" in arguments else [*line, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("deeporch run: ")
    assert printed.err.count("\n") == 1
    assert sentence in printed.err


def test_jobs_are_named_after_code_and_parameters(study, tmp_path, capsys):
    job = plan(find_notebooks(["00"], study), load_profile("quick", study), {"WAIT": "1"})
    jobs = grid.plan_grid(job, grid.parse_grid(["MODEL=cnn,'a, b/c'", "N=2,3"]))
    assert [(j.parameters["MODEL"], j.parameters["N"]) for j in jobs.values()] == [
        ("cnn", 2), ("cnn", 3), ("a, b/c", 2), ("a, b/c", 3),
    ]  # fmt: skip
    assert all(j.parameters["WAIT"] == 1.0 for j in jobs.values())
    assert [name.rpartition("-")[0] for name in jobs][2] == "00_tiny-MODEL=a_b_c-N=2"
    assert list(grid.plan_grid(job, grid.parse_grid(["MODEL=cnn", "N=2"]))) == list(jobs)[:1]
    notebook = nbformat.read(study / "00_tiny.ipynb", as_version=4)
    notebook.cells[-1].source += "\n# other code"
    nbformat.write(notebook, tmp_path / "00_tiny.ipynb")
    other = plan(find_notebooks([str(tmp_path / "00_tiny.ipynb")], study), load_profile("quick", study), {"WAIT": "1"})
    assert set(grid.plan_grid(other, {"N": ["2"]})) & set(jobs) == set()
    assert cli.main(["run", "--folder", str(study), "--grid", "N=2,3", "--list"]) == 0
    assert capsys.readouterr().out.count("00_tiny-N=") == 2


def test_the_table_has_a_row_a_combination_over_seeds():
    rows = [
        (m, s, "recall", v) for m, s, v in [("cnn", 0, 0.1), ("cnn", 1, 0.3), ("resnet", 0, 0.5), ("resnet", 1, 0.5)]
    ]
    table = grid.summarize(pd.DataFrame(rows, columns=["MODEL", "SEED", "name", "value"]))
    assert table["recall"].to_dict() == {"cnn": "0.2 ± 0.14", "resnet": "0.5"}
