"""SIGKILL at random moments of whatever writes: the next start finishes, with the result of one that was never killed.

One process imports everything, and forks for each start: a kill costs no imports.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import soundfile
import torch
from distributed import Client, LocalCluster
from nbformat.v4 import new_code_cell, new_notebook
from tones import ENVELOPES, harmonic_tone

from deeporch.models.checkpoints import read_tensors, save_checkpoint
from deeporch.runner import grid as grids
from deeporch.runner import run

ROOT = Path(__file__).resolve().parents[1]
KILLS = {  # how many random moments of each kind
    "cache": 10, "training": 10, "checkpoint": 10, "runner": 10, "grid": 8, "orchestration": 8, "figure": 8,
}  # fmt: skip
LONG = os.environ.get("DEEPORCH_KILLS")  # so many of each; the runner's with real kernels
AGAIN = 3  # starts of the same work that may be killed before one may finish
MIME = "application/x-deeporch-metrics+json"
VARIES = {  # what two runs that nobody killed do not share either
    "seconds", "mixtures_per_second", "worker", "started", "finished", "history", "environment",
}  # fmt: skip


# ---- What is killed: everything that it writes goes into its folder --------------------------------------------------


def library(folder):
    from deeporch.notes.library import load_library

    os.environ["DEEPORCH_CACHE"] = str(folder / "cache")
    return load_library("sol", root=folder.parent / "sounds")


def cache(folder):
    from deeporch.features import constantq
    from deeporch.orchestration.distances import DEFAULT, get_distance
    from deeporch.orchestration.search.problem import SearchProblem

    constantq._OPEN.clear()
    constantq._filters.cache_clear()
    notes = library(folder)
    constantq.ConstantQ(frames=8).notes(notes)
    SearchProblem(notes.sound(0).float(), notes, [np.arange(9)], get_distance(DEFAULT), 0.4).prepared()


def networks(folder, count, **sizes):
    from deeporch.features.mel import Mel
    from deeporch.mixtures.classes import Classes
    from deeporch.models.build import build

    small = Mel(n_mels=32, frames=24, scale="log")
    notes = library(folder)
    for seed in range(count):
        yield build("cnn", Classes(notes), features=small, seed=seed, **sizes), notes


def training(folder):
    from deeporch.features.augment import SpecAugment
    from deeporch.mixtures.mixtures import Mixtures
    from deeporch.training.loop import fit

    [(network, notes)] = networks(folder, 1, hidden=32, channels=(4, 8), last=8)
    sets = [Mixtures(notes, network.classes, n=2, size=n, seed=n, samples=network.features.samples) for n in (30, 20)]
    fit(network, *sets, folder=folder / "state", augment=SpecAugment(), epochs=8, batch_size=10, device="cpu")


def checkpoint(folder):
    for seed, (network, _) in enumerate(networks(folder, 10, hidden=256, channels=(8, 8), last=8)):
        save_checkpoint(folder / "best", network, card={"seed": seed})


def jobs_of(folder):
    from deeporch.runner.profiles import find_notebooks, load_profile, plan

    study = folder.parent / "study"
    return plan(find_notebooks([], study), load_profile("quick", study), {})


def runner(folder):
    assert not [each.error for each in run.run(jobs_of(folder), folder, minutes=5) if each.error]


def grid(folder):
    jobs = grids.plan_grid(jobs_of(folder), {"N": ["2", "3"], "SEED": ["0", "1"]})
    local = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    assert grids.run_grid(jobs, folder, Client(local), local=True) == {}


def stand_in(job, output):
    """Return what writes an executed notebook in two steps, as papermill may, within a hundredth of its time."""
    shown = {MIME: {"recall": job.parameters["N"] + job.parameters["SEED"] / 100}}
    cell = new_code_cell("", execution_count=1, outputs=[nbformat.v4.new_output("display_data", data=shown)], id="a")
    text = nbformat.writes(new_notebook(cells=[cell]))
    code = "import sys, time; path, text = sys.argv[1:]; file = open(path, 'w'); file.write(text[:99]); file.flush()"
    return [sys.executable, "-S", "-c", f"{code}; time.sleep(0.02); file.write(text[99:])", str(output), text]


def orchestration(folder):
    from deeporch import cli

    if (folder / "bell").is_dir():  # killed after all was there: another start would make a second folder
        return
    os.environ["DEEPORCH_CACHE"] = str(folder / "cache")
    where = ["--library", "sol", "--root", folder.parent / "sounds", "-o", folder / "bell"]
    line = ["orchestrate", folder.parent / "bell.wav", *where, "--orchestra", "Fl Ob", "-n", 1, "--evaluations", 100]
    assert cli.main(list(map(str, line))) == 0


def figure(folder):
    from experiments.figures import gallery

    shutil.copy(ROOT / "figures" / "five_minutes.csv", folder)
    gallery.redraw(["five_minutes"], folder)


# ---- Starting and killing --------------------------------------------------------------------------------------------


def serve(answers):
    """Answer lines of [kind, folder, seconds or null]: do it in a fork, which may be killed after so many seconds.

    What is asked for first is done here, without a fork, so that everything is imported.
    """
    torch.set_num_threads(1)
    run._command = run._command if LONG else stand_in
    known = {"grid"}  # its threads could not be forked
    for line in sys.stdin:
        kind, folder, seconds = json.loads(line)
        answer = forked(kind, folder, seconds) if kind in known else (0, 0.0, globals()[kind](Path(folder)))
        known.add(kind)
        print(json.dumps(answer), file=answers, flush=True)


def forked(kind, folder, seconds):
    """Return the exit status, the seconds taken, and which of a killed process's processes still live."""
    began, child = time.perf_counter(), os.fork()
    if not child:
        try:
            globals()[kind](Path(folder))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    family = []
    if seconds is not None:
        time.sleep(seconds)
        family = psutil.Process(child).children(recursive=True)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    took, (_, alive) = time.perf_counter() - began, psutil.wait_procs(family, timeout=35)
    return status, took, list(map(str, alive))


@pytest.fixture(scope="module")
def start():
    """Return a function that does what has a name in a folder, and is killed after some seconds, if any are given."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "notebooks")))
    code = "import os, sys, test_killed; answers = os.fdopen(os.dup(1), 'w'); os.dup2(2, 1); test_killed.serve(answers)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip

    def start(kind, folder, seconds=None):
        folder.mkdir(exist_ok=True)
        process.stdin.write(json.dumps([kind, str(folder), seconds]) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield start
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with nine notes, a target and a tiny notebook."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "sounds").mkdir()
    for name in list(ENVELOPES)[:3]:
        for midi, pitch in ((60, "C4"), (64, "E4"), (67, "G4")):
            tone = harmonic_tone(midi, ENVELOPES[name], 0.4)
            soundfile.write(folder / "sounds" / f"{name}-ord-{pitch}-mf.wav", tone, 44_100)
    soundfile.write(folder / "bell.wav", harmonic_tone(60, ENVELOPES["Fl"], 0.4), 44_100)
    parameters = new_code_cell("N = 2  # notes\nSEED = 0  # of all", metadata={"tags": ["parameters"]})
    record = f"from IPython.display import display\ndisplay({{{MIME!r}: {{'recall': N + SEED / 100}}}}, raw=True)"
    (folder / "study" / "profiles").mkdir(parents=True)
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(record)]), folder / "study" / "00_tiny.ipynb")
    (folder / "study" / "profiles" / "quick.yaml").write_text("limits: {default: 120}\n")
    return folder


def contents(folder):
    """Return every file of a folder by its path, hidden ones too, without what varies."""
    found = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
        if path.suffix == ".safetensors":
            data = {name: tensor.tolist() for name, tensor in read_tensors(path).items()}
        elif path.suffix == ".json":
            data = steady(json.loads(data))
        elif path.suffix == ".ipynb":
            data = [(cell.source, cell.get("outputs")) for cell in nbformat.reads(data.decode(), 4).cells]
        elif path.suffix == ".csv":
            data = [steady(row) for row in csv.DictReader(data.decode().splitlines())]
        found[str(path.relative_to(folder))] = data
    return found


def steady(found):
    if isinstance(found, list):
        return [steady(each) for each in found]
    return {k: steady(v) for k, v in found.items() if k not in VARIES} if isinstance(found, dict) else found


def differ(one, other):
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLS)
def test_killed_at_any_moment_the_next_start_finishes_as_if_nothing_had_been(kind, start, place):
    assert start(kind, place / kind)[0] == 0
    expected = contents(place / kind)
    _, whole, _ = start(kind, place / f"{kind}-again")
    assert differ(expected, contents(place / f"{kind}-again")) == [], "two runs that nobody killed are the same"
    generator = np.random.default_rng(len(kind))
    wanted, killed = int(LONG or KILLS[kind]), 0
    while killed < wanted:
        folder = place / f"{kind}-{killed}"
        for seconds in generator.uniform(0, whole, min(AGAIN, wanted - killed)):
            status, _, alive = start(kind, folder, seconds)
            assert status in (0, -signal.SIGKILL)
            assert alive == [], "what it had started ends, too"
            killed += status != 0
        assert start(kind, folder)[0] == 0
        assert differ(expected, contents(folder)) == [], f"{kind}: killed last after {seconds} of {whole} s"
        shutil.rmtree(folder)
