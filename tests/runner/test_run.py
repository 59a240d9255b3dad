"""The headless runner, on notebooks built here; and notebook files: parameters, metrics, cleaning."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from deeporch import cli
from deeporch.runner import run
from deeporch.runner.notebooks import (
    check_notebook,
    clean_notebook,
    read_metrics,
    read_notebook,
    read_parameters,
)
from deeporch.runner.profiles import convert, find_notebooks, load_profile, plan
from deeporch.util.record import METRICS_MIME, record

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = 'SIZE = 3  # mixtures\nRATE = 0.5  # of learning\nLIBRARY = "soundfont"  # or tinysol\nSEED = 0  # any'
GOOD = [
    "import sys\nprint('training', file=sys.stderr)",
    "from deeporch.results import ROOT\nprint('in ' + str(ROOT) + '/figures')\nobject()",
    "from deeporch.util.record import record\nrecord(size=SIZE, rate=RATE, library=LIBRARY)",
]
RECORD = f"from IPython.display import display\ndisplay({{{METRICS_MIME!r}: {{'a': 1}}}}, raw=True)"  # imports no torch
PROFILES = {
    "quick": "description: small\nlimits: {default: 120, 02_slow: 40}\nnotebooks: {}\n",
    "large": "description: large\nlimits: {default: 120}\nnotebooks:\n  00_good: {SIZE: 5, RATE: 1e-3}\n",
}


def write_notebook(path, *sources, parameters=PARAMETERS):
    cells = [new_markdown_cell("# A title"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    nbformat.write(new_notebook(cells=[*cells, *map(new_code_cell, sources)]), path)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder of notebooks: one that works, one that fails, one that is too slow, one more that works."""
    folder = tmp_path_factory.mktemp("study")
    write_notebook(folder / "00_good.ipynb", *GOOD)
    write_notebook(folder / "01_fails.ipynb", "SIZE", "raise RuntimeError('no notes\\nat all')", "SIZE")
    write_notebook(folder / "02_slow.ipynb", RECORD, "import time\ntime.sleep(99)")
    write_notebook(folder / "03_good.ipynb", RECORD, parameters="SEED = 0")
    (folder / "profiles").mkdir()
    for name, text in PROFILES.items():
        (folder / "profiles" / f"{name}.yaml").write_text(text)
    return folder


def command(study, *arguments):
    return [sys.executable, "-m", "deeporch", "run", "--folder", str(study), *map(str, arguments)]


def start(study, *arguments):
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in the background shells ignore it, and so would it
    return subprocess.Popen(command(study, *arguments), cwd=ROOT, env=environment, text=True, preexec_fn=heard, **pipes)


def finish(process):
    output, _ = process.communicate(timeout=280)
    return process.returncode, output


def until(condition, seconds=200):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def left_over(folder):
    """Return the processes that still work for a run folder, and what they started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in part for part in process.info["cmdline"] or []):
            found += [process, *process.children(recursive=True)]
    return found


def kernels_of(process):
    family = psutil.Process(process.pid).children(recursive=True)
    return [p for p in family if "ipykernel_launcher" in " ".join(p.cmdline())]


@pytest.fixture(scope="module")
def whole_run(study, tmp_path_factory):
    """All four notebooks, run once: the folder, exit status and printed text."""
    out = tmp_path_factory.mktemp("run") / "out"
    status, output = finish(start(study, "--out", out, "-p", "SIZE=7", "-p", "LIBRARY=no"))
    return out, status, output


@pytest.mark.slow
class TestWholeRun:
    def test_reports_every_failure_and_exits_non_zero(self, whole_run):
        out, status, output = whole_run
        assert status == 1
        assert "FAILED 01_fails: cell [4]: RuntimeError: no notes" in output.splitlines()
        late = "its time limit of 40 s is over (--timeout allows more)"
        assert f"FAILED 02_slow: stopped in cell 5 of 5: {late}" in output.splitlines()
        assert re.search(rf"2 of 4 notebooks done in \d+:\d\d\. Results: {re.escape(str(out))}", output)
        failures = json.loads((out / "failures.json").read_text())
        assert [failure["notebook"] for failure in failures] == ["01_fails", "02_slow"]

    def test_a_failure_does_not_stop_the_others(self, whole_run):
        out, _, output = whole_run
        assert "[4/4] 03_good · done in" in output
        assert read_metrics(out / "03_good.ipynb") == {"a": 1}

    def test_keeps_metrics_of_everything_that_recorded_some(self, whole_run):
        rows = list(csv.reader((whole_run[0] / "metrics.csv").open()))
        assert rows == [
            ["notebook", "name", "value"],
            ["00_good", "library", "no"],  # for a text parameter, YAML's "no" is a text
            ["00_good", "rate", "0.5"],
            ["00_good", "size", "7"],
            ["02_slow", "a", "1"],
            ["03_good", "a", "1"],
        ]

    def test_keeps_parameters_and_environment(self, whole_run):
        out = whole_run[0]
        parameters = json.loads((out / "parameters.json").read_text())
        assert parameters["00_good"] == {"SIZE": 7, "RATE": 0.5, "LIBRARY": "no", "SEED": 0}
        assert parameters["03_good"] == {"SEED": 0}
        about = json.loads((out / "environment.json").read_text())
        assert about["torch"] == torch.__version__.split("+")[0]
        assert about["python"] == sys.version.split()[0]
        assert set(about["seconds"]) == set(parameters)
        assert 40 <= about["seconds"]["02_slow"] < 90
        assert about["started"] < about["finished"]
        assert about["device"]

    def test_leaves_no_process_and_no_partial_file(self, whole_run):
        out = whole_run[0]
        assert left_over(out) == []
        assert sorted(p.name for p in out.iterdir() if p.suffix == ".ipynb") == [
            "00_good.ipynb", "01_fails.ipynb", "02_slow.ipynb", "03_good.ipynb",
        ]  # fmt: skip

    def test_progress_stays_out_of_the_cleaned_notebook(self, whole_run):
        executed = read_notebook(whole_run[0] / "00_good.ipynb")
        assert "training" in json.dumps(executed)
        cleaned = clean_notebook(executed)
        assert check_notebook(cleaned) == []
        assert [c.outputs[0].text for c in cleaned.cells if "print('in" in c.source] == ["in figures\n"]
        assert not any("training\n" in o.get("text", "") for c in cleaned.cells for o in c.get("outputs", []))


@pytest.mark.slow
def test_commit_writes_clean_results_over_the_source(study, tmp_path):
    folder = tmp_path / "study"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "quick.yaml").write_text("limits: {default: 60}")
    write_notebook(folder / "00_good.ipynb", *GOOD)
    sources = [cell.source for cell in read_notebook(folder / "00_good.ipynb").cells]
    status, output = finish(start(folder, "00", "--commit", "--out", tmp_path / "out"))
    assert status == 0, output
    committed = read_notebook(folder / "00_good.ipynb")
    assert [cell.source for cell in committed.cells] == sources
    assert check_notebook(committed) == []
    assert read_metrics(committed) == {"size": 3, "rate": 0.5, "library": "soundfont"}
    assert "papermill" not in (folder / "00_good.ipynb").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_its_kernels(study, tmp_path, kind):
    process = start(study, "02", "--out", tmp_path / "out", "--timeout", 90)
    kernel = until(lambda: kernels_of(process))[0]
    process.send_signal(kind)
    status, output = finish(process)
    assert status == 130
    assert output.splitlines()[-1] == f"Stopped. What was done is in {tmp_path / 'out'}"
    assert "Traceback" not in output
    until(lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE, 5)
    assert left_over(tmp_path) == []


@pytest.mark.slow
def test_a_killed_run_leaves_a_readable_folder(study, tmp_path):
    out = tmp_path / "out"
    process = start(study, "03", "02", "--out", out, "--timeout", 90)
    family = []
    try:
        until(lambda: (out / "03_good.ipynb").exists() and kernels_of(process))
        until(lambda: len((out / "metrics.csv").read_text().splitlines()) == 2)
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        if shutil.which("setpriv"):  # Linux
            assert psutil.wait_procs(family, timeout=30)[1] == [], "papermill and the kernel end with it"
    finally:
        for orphan in {*family, *left_over(out)}:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
    assert (out / "metrics.csv").read_text() == "notebook,name,value\n03_good,a,1\n"
    about = json.loads((out / "environment.json").read_text())
    assert list(about["seconds"]) == ["03_good"]
    assert about["finished"] is None
    assert set(json.loads((out / "parameters.json").read_text())) == {"02_slow", "03_good"}
    assert json.loads((out / "failures.json").read_text()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "SIZES=4"], "None of the chosen notebooks has a parameter SIZES: did you mean SIZE?"),
        (["-p", "size=4"], "None of the chosen notebooks has a parameter size: did you mean SIZE or SEED?"),
        (["03", "-p", "SIZE=4"], "None of the chosen notebooks has a parameter SIZE: did you mean SEED?"),
        (["-p", "SIZE=many"], "SIZE of 00_good takes a whole number, and not 'many'."),
        (["-p", "SIZE=2.5"], "SIZE of 00_good takes a whole number, and not '2.5'."),
        (["-p", "SIZE=true"], "SIZE of 00_good takes a whole number, and not 'true'."),
        (["-p", "RATE=[1]"], "RATE of 00_good takes a number, and not '[1]'."),
        (["-p", "RATE"], "-p takes NAME=VALUE, for example -p SEED=1, and not 'RATE'."),
        (["-p", "=3"], "-p takes NAME=VALUE, for example -p SEED=1, and not '=3'."),
        (["--profile", "quik"], "Unknown profile 'quik': did you mean 'quick'? Known: large, quick."),
        (["01_fail", "04"], "Unknown notebook '04'. Known: 00_good, 01_fails, 02_slow, 03_good."),
        (["nowhere/00_good.ipynb"], "There is no notebook nowhere/00_good.ipynb."),
        (["--commit", "-p", "SIZE=4"], "--commit keeps the results of the notebooks' own defaults, and SIZE differ."),
        (
            ["--commit", "--profile", "large"],
            "--commit keeps the results of the notebooks' own defaults, and RATE, SIZE differ.",
        ),
        (["--out", "."], ". is not an empty folder: name a new one for this run."),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(study, capsys, arguments, sentence):
    assert cli.main(["run", "--folder", str(study), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"deeporch run: {sentence}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("limits: {default: 1}\nnotebooks: {00_god: {SIZE: 1}}", "Unknown notebook in bad.yaml '00_god': did you mean"),
        ("limits: {default: 1}\nnotebooks: {00_good: {SIZ: 1}}", "Unknown parameter of 00_good in bad.yaml 'SIZ'"),
        ("limits: {default: 1}\nnotebooks: {00_good: {SIZE: a}}", "SIZE of 00_good in bad.yaml takes a whole number"),
        ("limits: {default: 1, 09_x: 2}", "Unknown notebook in bad.yaml '09_x'"),
        ("limits: {default: soon}", "bad.yaml must hold description, limits"),
        ("limit: {default: 1}", "bad.yaml must hold description, limits"),
        ("limits: [", "bad.yaml must hold description, limits"),
        ("", "bad.yaml must hold description, limits"),
    ],
)
def test_a_bad_profile_is_one_sentence(study, tmp_path, text, sentence):
    write_notebook(tmp_path / "00_good.ipynb", *GOOD)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_profile("bad", tmp_path)
    assert "\n" not in str(caught.value)


def test_profile_and_command_line_change_the_defaults(study):
    jobs = plan(find_notebooks(["0", "3"], study), load_profile("large", study), {"SEED": "4", "RATE": "2"})
    assert [job.name for job in jobs] == ["00_good", "03_good"]
    assert jobs[0].parameters == {"SIZE": 5, "RATE": 2.0, "LIBRARY": "soundfont", "SEED": 4}
    assert jobs[0].overrides == {"SIZE": 5, "RATE": 2.0, "SEED": 4}
    assert isinstance(jobs[0].parameters["RATE"], float)
    assert jobs[1].parameters == jobs[1].overrides == {"SEED": 4}
    assert plan(find_notebooks(["02"], study), load_profile("quick", study), {})[0].limit == 40
    assert plan(find_notebooks(["02"], study), load_profile("quick", study), {}, 9)[0].limit == 9


def test_notebooks_are_found_by_number_prefix_name_and_path(study):
    good = study / "00_good.ipynb"
    for name in ("0", "00", "00_g", "00_good", "00_good.ipynb", str(good)):
        assert find_notebooks([name], study) == [good]
    assert find_notebooks(["03", "00", "03_good"], study) == [study / "03_good.ipynb", good]
    assert [p.stem for p in find_notebooks([], study)] == ["00_good", "01_fails", "02_slow", "03_good"]
    with pytest.raises(ValueError, match="Unknown notebook 'good'"):
        find_notebooks(["good"], study)


def test_an_ambiguous_name_asks_which(tmp_path):
    for name in ("00_a", "00_ab"):
        write_notebook(tmp_path / f"{name}.ipynb")
    with pytest.raises(ValueError, match=r"'00' may mean 00_a or 00_ab: which one\?"):
        find_notebooks(["00"], tmp_path)
    assert find_notebooks(["00_a"], tmp_path) == [tmp_path / "00_a.ipynb"]


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="There are no numbered notebooks"):
        find_notebooks([], tmp_path)


def test_list_runs_nothing(study, capsys):
    assert cli.main(["run", "--folder", str(study), "--list", "03"]) == 0
    assert capsys.readouterr().out == "03_good  (at most 2:00)\n    SEED = 0\n"


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("1e-3", 0.5, 0.001),
        ("2", 0.5, 2.0),
        ("no", "text", "no"),
        ("'no'", "text", "no"),
        ("2024", "text", "2024"),
        ("[1, 2]", [0], [1, 2]),
        ("yes", False, True),
        ("50_000", 1, 50_000),
        ("3", None, 3),
    ],
)
def test_values_take_the_type_of_the_default(value, default, expected):
    result = convert(value, default, "X")
    assert result == expected
    assert type(result) is type(expected)


def test_the_status_is_the_cell_and_the_last_line_of_its_progress():
    read, write = os.pipe()
    with open(read, "rb") as stream:
        watcher = run.Watcher(stream, cells=9)
        watcher.start()
        assert watcher.status() == "starting"
        os.write(write, b"Input Notebook:  a\nExecuting Cell 3---------\nepoch: 10%\repoch: 20%\r")
        until(lambda: watcher.status() == "cell 3/9 · epoch: 20%", 5)
        os.write(write, b"\nEnding Cell 3---------\nExecuting Cell 4---------\n")
        until(lambda: watcher.status() == "cell 4/9", 5)
        os.close(write)
        watcher.join(5)
        assert not watcher.is_alive()


# ---- Notebook files --------------------------------------------------------------------------------------------------


def test_parameters_are_read_in_order(study):
    assert list(read_parameters(study / "00_good.ipynb").items()) == [
        ("SIZE", 3), ("RATE", 0.5), ("LIBRARY", "soundfont"), ("SEED", 0),
    ]  # fmt: skip


def test_computed_parameters_are_refused(tmp_path):
    write_notebook(tmp_path / "a.ipynb", parameters="SIZE = 2 * SEED")
    with pytest.raises(ValueError, match=r"'SIZE = 2 \* SEED' is not a plain value"):
        read_parameters(tmp_path / "a.ipynb")
    write_notebook(tmp_path / "a.ipynb", parameters="import os")
    with pytest.raises(ValueError, match="may only assign values to names"):
        read_parameters(tmp_path / "a.ipynb")


def test_an_unreadable_notebook_is_one_sentence(tmp_path):
    (tmp_path / "00_a.ipynb").write_text("{")
    with pytest.raises(ValueError, match="is not a readable notebook"):
        read_notebook(tmp_path / "00_a.ipynb")
    with pytest.raises(FileNotFoundError, match="There is no notebook"):
        read_notebook(tmp_path / "00_b.ipynb")


def test_record_prints_a_table_outside_a_notebook(capsys):
    record(accuracy=np.float32(0.5), mixtures=50_000, loss=torch.tensor(1.25), name="a")
    assert capsys.readouterr().out == "accuracy  0.5\nmixtures  50,000\nloss      1.25\nname      a\n"


def test_record_refuses_what_is_no_finite_scalar():
    with pytest.raises(ValueError, match="Metric loss is nan"):
        record(loss=float("nan"))
    with pytest.raises(TypeError, match="Metric curve must be a number or a string, but is a list"):
        record(curve=[1, 2])
    with pytest.raises(TypeError, match="Metric curve must be a number or a string, but is a ndarray"):
        record(curve=np.zeros(3))


def test_read_metrics_takes_the_later_value():
    output = [new_output("display_data", {METRICS_MIME: {"a": n, f"b{n}": n}, "text/plain": ""}) for n in (1, 2)]
    assert read_metrics(new_notebook(cells=[new_code_cell(outputs=output)])) == {"a": 2, "b1": 1, "b2": 2}


def dirty_notebook():
    """A notebook with everything that has no place in a commit."""
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "HBox()"}
    sound = "data:audio/wav;base64,AAAA/root/tmp/home/x"
    outputs = [
        new_output("stream", name="stderr", text="50%|"),
        new_output("stream", name="stdout", text=f"1%\r99%\rdone {ROOT}\n"),
        new_output("stream", name="stdout", text=f"{sys.prefix}/bin and {Path.home()}/notes\n"),
        new_output("display_data", widget),
        new_output(
            "execute_result",
            {"text/plain": "<Figure at 0x7f00ab>", "text/html": f'<audio src="{sound}">'},
            execution_count=9,
        ),
    ]
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("SEED = 0", execution_count=7, metadata={"tags": ["parameters"], "papermill": {"duration": 1}}),
        new_code_cell("SEED = 1", execution_count=8, metadata={"tags": ["injected-parameters"]}),
        new_code_cell("1", execution_count=9, outputs=outputs),
        new_code_cell("", execution_count=None),
    ]
    about = {"kernelspec": {"name": "mine", "display_name": "Mine"}, "papermill": {"input_path": "/home/me/a.ipynb"}}
    return new_notebook(cells=cells, metadata=about)


def test_clean_notebook_keeps_results_only():
    dirty = dirty_notebook()
    before = json.dumps(dirty)
    clean = clean_notebook(dirty)
    assert json.dumps(dirty) == before
    assert [cell.source for cell in clean.cells] == ["# Title", "SEED = 0", "1", ""]
    assert [cell.get("execution_count") for cell in clean.cells] == [None, 1, 2, None]
    stream, result = clean.cells[2].outputs
    assert stream.text == "done .\n.venv/bin and ~/notes\n"
    assert result.data["text/plain"] == "<Figure>"
    assert result.data["text/html"] == '<audio src="data:audio/wav;base64,AAAA/root/tmp/home/x">'
    assert result.execution_count == 2
    assert clean.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert clean.cells[1].metadata == {"tags": ["parameters"]}
    nbformat.validate(clean)
    assert check_notebook(clean) == []
    assert clean_notebook(clean) == clean


def test_check_notebook_names_every_problem():
    problems = "\n".join(check_notebook(dirty_notebook()))
    for expected in (
        "The kernel is not python3.",
        "papermill's metadata are still there.",
        "A cell that papermill added is still there.",
        "The code cells were not run once each, from top to bottom.",
        "The output of cell 3 has warnings or progress (stderr).",
        "The output of cell 3 is a live widget, which nobody else can see.",
        "The output of cell 3 has a memory address: at 0x7f00ab.",
    ):
        assert expected in problems


@pytest.mark.parametrize(
    ("text", "is_private"),
    [
        ("/home/me/a.wav", True),
        ("'/tmp/a.wav'", True),
        ("C:\\Users\\me", True),
        (f"{ROOT}/a.wav", True),
        ("https://example.org/home/me", False),
        ("~/home/me, ../tmp/x and and/or", False),
        ("</td></tmp/>", False),
    ],
)
def test_check_notebook_finds_paths_of_one_machine(text, is_private):
    clean = clean_notebook(new_notebook(cells=[new_code_cell("1", execution_count=1)]))
    clean.cells[0].outputs = [new_output("stream", name="stdout", text=text)]
    assert bool(check_notebook(clean)) is is_private


def test_check_notebook_finds_errors_and_cells_that_were_not_run():
    cells = [
        new_code_cell("1"),
        new_code_cell("2", execution_count=2, outputs=[new_output("error", ename="ValueError")]),
    ]
    problems = check_notebook(clean_notebook(new_notebook(cells=cells)))
    assert problems == [
        "The code cells were not run once each, from top to bottom.",
        "The output of cell 1 is an error: ValueError.",
    ]
