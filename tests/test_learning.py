"""The quick profile learns: what a newcomer sees after a minute is far better than a guess."""

import subprocess
import sys
from pathlib import Path

import pytest

from deeporch.runner.notebooks import read_metrics

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """The metrics of notebooks 01 and 02, run as `make run` runs them."""
    folder = tmp_path_factory.mktemp("run") / "out"
    names = ("01_cnn_instruments", "02_cnn_one_class_per_file")
    command = [sys.executable, "-m", "deeporch", "run", "--profile", "quick", "--out", str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {name[:2]: read_metrics(folder / f"{name}.ipynb") for name in names}


@pytest.mark.slow
def test_instruments_are_recognised_three_times_as_often_as_by_chance(metrics):
    found = metrics["01"]
    assert found["chance"] == pytest.approx(2 / 16)
    assert found["recall_seen"] > 3 * found["chance"]
    assert found["recall_held_out"] > 3 * found["chance"]


@pytest.mark.slow
def test_files_and_notes_are_recognised_many_times_as_often_as_by_chance(metrics):
    found = metrics["02"]
    assert found["chance"] == pytest.approx(2 / 510)
    assert found["recall"] > 6 * found["chance"]
    assert found["recall_note_seen"] > 12 * (2 / 170)
    assert found["recall_note_held_out"] > 10 * (2 / 170)
