"""A run repeated, and what differs said."""

import json

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from deeporch import cli
from deeporch.runner import repeat
from deeporch.util.record import METRICS_MIME

PARAMETERS = 'SIZE = 3  # mixtures\nSAVE = ""  # a file\nSEED = 0  # of all'
RECORD = f"""from IPython.display import display
display({{{METRICS_MIME!r}: {{"recall": SIZE / 7, "saved": SAVE, "train_seconds": SEED}}}}, raw=True)"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(RECORD)]
    (tmp_path / "study").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "study" / "00_tiny.ipynb")
    return tmp_path / "study"


def finished_run(folder, recall, **parameters):
    """A run folder as `deeporch run` leaves it."""
    folder.mkdir()
    (folder / "parameters.json").write_text(json.dumps({"01-00_tiny": {"SIZE": 5, "SEED": 0, "GONE": 1} | parameters}))
    (folder / "environment.json").write_text(json.dumps(repeat.environment() | {"torch": "1.0"}))
    rows = f"notebook,name,value\n01-00_tiny,recall,{recall}\n01-00_tiny,saved,\n01-00_tiny,train_seconds,99\n"
    (folder / "metrics.csv").write_text(rows)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("recall", "status"), [(5 / 7, 0), (0.5, 1)])
def test_the_same_numbers_are_the_same_and_others_are_named(study, tmp_path, capsys, recall, status):
    before = finished_run(tmp_path / "before", recall, SAVE="new")
    assert cli.main(["run", "--folder", str(study), "--repeat", str(before)]) == status
    printed = capsys.readouterr().out
    assert "torch: 1.0 then, " in printed
    assert f"{2 - status} of 2 numbers are the same (times apart)" in printed
    assert ("DIFFERENT 01-00_tiny recall: 0.5 then, 0.714" in printed) is bool(status)
    [out] = (tmp_path / "runs").glob("*-before-again")
    table = pd.read_csv(out / "difference.csv", keep_default_na=False).set_index("name")
    assert table["time"].to_dict() == {"recall": False, "saved": False, "train_seconds": True}
    assert table.loc["saved", "now"] == "", "nothing is saved over the figures"


def test_what_one_run_lacks_is_a_difference():
    columns = ["notebook", "name", "value"]
    then = pd.DataFrame([["00", "a", "1"], ["00", "b", "nan"]], columns=columns)
    now = pd.DataFrame([["00", "a", "1.0000000001"], ["00", "c", "x"]], columns=columns)
    assert repeat.compare(then, now).set_index("name")["same"].to_dict() == {"a": True, "b": False, "c": False}


def test_a_folder_that_is_no_run_is_one_sentence(study, tmp_path, capsys):
    assert cli.main(["run", "--folder", str(study), "--repeat", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"deeporch run: {tmp_path} is no run folder: name one that `deeporch run` made, such as runs/<time>-quick.\n"
    )
