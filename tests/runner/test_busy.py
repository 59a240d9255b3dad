"""The runner beside other programs, its estimates, and runs that stop after some minutes and go on."""

import itertools
import json
import multiprocessing
import os
import time
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from deeporch import cli
from deeporch.runner import estimate, run
from deeporch.runner.profiles import PATIENCE, Job, Profile, find_notebooks, load_profile, plan, plan_steps

NOTHING = "limits: {default: 600}\n"


def write_study(folder, notebooks, profiles):
    """Write notebooks of code cells, the first with the parameters, and profiles."""
    (folder / "profiles").mkdir(parents=True)
    for name, (parameters, *sources) in notebooks.items():
        cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    for name, text in profiles.items():
        (folder / "profiles" / f"{name}.yaml").write_text(text)
    return folder


def watcher(lines, cells=5):
    """Return a Watcher that has read these lines, one every second of a made-up clock."""
    read, write = os.pipe()
    found = run.Watcher(os.fdopen(read, "rb"), cells)
    found.start()
    moments = []
    for line in lines:
        os.write(write, f"{line}\n".encode())
        time.sleep(0.05)
        moments.append(found.moved)
    os.close(write)
    found.join(5)
    return moments


def test_a_cell_or_a_bar_is_progress_and_a_clock_is_not():
    moments = watcher([
        "Executing Cell 2---------", "training:  10%|#  | 1/10 [00:10<01:30, 10.00s/it]",
        "training:  10%|#  | 1/10 [00:20<03:00, 10.00s/it]", "training:  20%|## | 2/10 [00:21<01:20, 10.00s/it]",
        "training:  20%|## | 2/10 [00:22<01:20, 10.00s/it, 64/128 seen]", "Ending Cell 2---------",
        "Executing Cell 3---------",
    ])  # fmt: skip
    moved = [b > a for a, b in itertools.pairwise(moments)]
    assert moved == [True, False, True, True, False, True]


@pytest.mark.parametrize(
    ("silent", "running", "why"),
    [
        (99, 999, ""),
        (101, 101, "no cell ended and no bar moved for 100 s (--patience allows more)"),
        (5, 1001, "its time limit of 1000 s is over (--timeout allows more)"),
    ],
)
def test_a_notebook_is_stopped_for_lack_of_progress_not_for_being_slow(tmp_path, silent, running, why):
    now = time.monotonic()
    job = Job(tmp_path / "00.ipynb", {}, {}, limit=1000, patience=100)
    assert run._late(job, SimpleNamespace(moved=now - silent), now - running) == why


def test_patience_comes_from_the_command_line_the_profile_or_the_default(tmp_path):
    profiles = {"slow": "limits: {default: 60}\npatience: 30\n", "plain": NOTHING}
    folder = write_study(tmp_path, {"00_a": ["SEED = 0"]}, profiles)
    paths = find_notebooks([], folder)
    assert plan(paths, load_profile("slow", folder), {})[0].patience == 30
    assert plan(paths, load_profile("slow", folder), {}, None, 7.0)[0].patience == 7
    assert plan(paths, load_profile("plain", folder), {})[0].patience == PATIENCE


def test_slowness_is_that_of_the_measured_second(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 1000))
    factor = estimate.slowness(0.5)  # a transform every 1/1000 s, asking the clock takes it
    assert factor == pytest.approx(estimate.TRANSFORMS / 1000, rel=0.01)


def test_the_announcement_knows_the_last_run(tmp_path):
    jobs = [Job(tmp_path / f"{name}.ipynb", {}, {}) for name in ("00_a", "01_b", "02_c")]
    profile = Profile("quick", typical=60)
    text = estimate.announce(jobs, profile, tmp_path, 2.0)
    assert text == (
        "Runs 3 notebooks of the profile quick, one after the other; about 6 minutes, by a second's measurement. "
        "This machine is 2.0 times slower just now than an idle one."
    )
    for stamp, seconds in (("2026-01-01", 900.0), ("2026-01-02", 30.0)):
        (tmp_path / f"{stamp}-quick").mkdir()
        (tmp_path / f"{stamp}-quick" / "failures.json").write_text('[{"notebook": "01_b"}]')
        about = {"seconds": {"00_a": seconds, "01_b": 1.0}}
        (tmp_path / f"{stamp}-quick" / "environment.json").write_text(json.dumps(about))
    text = estimate.announce(jobs, profile, tmp_path, 1.0)
    assert text.endswith("about 2 minutes, 1 of them as the last time.")  # 30 + 60 + 60: what failed tells nothing


STEPS = """
limits: {default: 600}
notebooks: {00_a: {SIZE: 5}}
steps: [{notebook: "00", NAME: b}, {notebook: 01_c}, {notebook: "00"}]
"""


def test_steps_are_jobs_in_their_order(tmp_path):
    folder = write_study(tmp_path, {"00_a": ["SIZE = 1\nNAME = 'a'"], "01_c": ["SEED = 0"]}, {"gpu": STEPS})
    jobs = plan_steps(load_profile("gpu", folder), folder, {"SEED": "3"})
    assert [job.name for job in jobs] == ["01-00_a", "02-01_c", "03-00_a"]
    assert [job.parameters for job in jobs] == [{"SIZE": 5, "NAME": "b"}, {"SEED": 3}, {"SIZE": 5, "NAME": "a"}]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--profile", "plain", "--minutes", "1"], "The profile plain has no steps: --minutes is for profiles that"),
        (["00", "--profile", "gpu", "--minutes", "1"], "--minutes takes the profile's steps, without names"),
        (["--profile", "bad", "--minutes", "1"], "Unknown parameter of 00_a 'SIZES': did you mean 'SIZE'?"),
    ],
)
def test_bad_steps_are_one_sentence(tmp_path, capsys, arguments, sentence):
    profiles = {"plain": NOTHING, "gpu": STEPS, "bad": NOTHING + "steps: [{notebook: '00', SIZES: 3}]"}
    folder = write_study(tmp_path, {"00_a": ["SIZE = 1\nNAME = 'a'"], "01_c": ["SEED = 0"]}, profiles)
    assert cli.main(["run", "--folder", str(folder), *arguments]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.slow
def test_a_run_of_some_minutes_stops_and_goes_on(tmp_path, capsys):
    """A first step that is quick, a second that is quick only once its training was kept."""
    train = "import os, pathlib, time\nkept = pathlib.Path(os.environ['DEEPORCH_STATE'], 'kept')\nif not kept.exists():"
    train += "\n    kept.touch(); time.sleep(600)"
    notebooks = {"00_a": ["SEED = 0", "print(SEED)"], "01_b": ["SEED = 0", train]}
    steps = NOTHING + "steps: [{notebook: '00', SEED: 1}, {notebook: '01'}]"
    folder = write_study(tmp_path / "study", notebooks, {"small": steps})
    command = ["run", "--folder", str(folder), "--profile", "small", "--out", str(tmp_path / "out"), "--minutes"]
    minutes = 0.5
    while not (tmp_path / "out" / "state" / "kept").exists():  # on a machine however slow
        assert cli.main([*command, str(minutes)]) == 0
        first = capsys.readouterr().out
        minutes *= 2
    assert "The time is over. What was trained is kept: the same command goes on from there." in first
    before = (tmp_path / "out" / "01-00_a.ipynb").stat().st_mtime_ns
    assert cli.main([*command, "10"]) == 0
    second = capsys.readouterr().out
    assert "2 of 2 notebooks done" in second
    assert "[1/2]" not in second
    assert (tmp_path / "out" / "01-00_a.ipynb").stat().st_mtime_ns == before
    assert set(json.loads((tmp_path / "out" / "environment.json").read_text())["seconds"]) == {"01-00_a", "02-01_b"}


def spin():
    while True:
        pass


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_beside_a_busy_machine_it_finishes_in_four_times_the_time(tmp_path, capsys):
    """Alone, and beside a process for each core that never rests; a notebook that trains on all threads.

    What else runs on the machine may come and go between the two: one of three pairs counts.
    """
    train = (
        "import deeporch, torch\nfrom torch import nn\n"
        "net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 62 * 62, 64))\n"
        "optimizer = torch.optim.Adam(net.parameters())\nx = torch.rand(16, 1, 64, 64)\n"
        "for _ in range(60):\n    optimizer.zero_grad(); net(x).square().mean().backward(); optimizer.step()"
    )
    folder = write_study(tmp_path / "study", {"00_a": ["SEED = 0", train]}, {"small": NOTHING})
    pairs = []
    while len(pairs) < 3 and not any(beside < 4 * alone for alone, beside in pairs):
        pairs.append(run_alone_and_beside(folder, tmp_path / str(len(pairs))))
    capsys.readouterr()
    alone, beside = pairs[-1]
    assert beside < 4 * alone, pairs


def run_alone_and_beside(folder, out):
    """Return the seconds of a notebook alone, and beside a process for each core that never rests."""
    seconds = []
    for name, others in (("alone", 0), ("beside", os.cpu_count() or 1)):
        busy = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(others)]
        for process in busy:
            process.start()
        try:
            assert cli.main(["run", "--folder", str(folder), "--profile", "small", "--out", str(out / name)]) == 0
        finally:
            for process in busy:
                process.kill()
        seconds.append(json.loads((out / name / "environment.json").read_text())["seconds"]["00_a"])
    return seconds
