"""Every notebook also runs on other libraries: here on a small tree in TinySOL's layout."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from deeporch.runner.notebooks import read_metrics
from deeporch.runner.profiles import find_notebooks

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (
    "Path", "Fold", "Family", "Instrument (abbr.)", "Instrument (in full)", "Technique (abbr.)", "Technique (in full)",
    "Pitch", "Pitch ID", "Dynamics", "Dynamics ID", "Instance ID", "String ID (if applicable)",
    "Needed digital retuning",
)  # fmt: skip
# of every notebook that has the parameter; SIZES and the like stay as they are
TINY = {
    "MIXTURES": 96,
    "TEST_MIXTURES": 48,
    "EPOCHS": 1,
    "RECIPES": 2000,
    "PITCHES": "C4 B4",
    "PROFILE": "quick",
    "MINUTES": 0.02,
    "EVALUATIONS": 500,
}
NOTEBOOKS = ("00", "01", "02", "05", "07", "08", "10")  # 03, 04 and 06 train as 01, 02 and 05 do, 09 searches as 08
TINY |= {"ORCHESTRA": "Fl Ob ClBb Hn Vn Vc"}  # who is there


@pytest.fixture(scope="module")
def tinysol_tree(tiny_library, tmp_path_factory):
    """The tiny library as a folder in TinySOL's layout: 6 instruments, 216 notes, 5 folds."""
    root = tmp_path_factory.mktemp("TinySOL")
    rows = []
    for i, note in enumerate(tiny_library.table.itertuples()):
        family = {"woodwinds": "Winds", "brass": "Brass", "strings": "Strings"}[note.family]
        name = f"{note.instrument}-ord-{note.pitch}-{note.dynamic}-N-N.wav"
        path = Path(family, note.name.title(), "ordinario", name)
        (root / "audio" / path).parent.mkdir(parents=True, exist_ok=True)
        sound = tiny_library.audio[i, : int(tiny_library.lengths[i])].float().numpy()
        soundfile.write(root / "audio" / path, sound, 44_100)
        values = (path.as_posix(), i % 5, family, note.instrument, note.name.title(), "ord", "ordinario", note.pitch)
        rows.append((*values, note.midi, note.dynamic, 2, 0, "", "FALSE"))
    (root / "annotation").mkdir()
    with open(root / "annotation" / "TinySOL_metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return root


@pytest.fixture(scope="module")
def run_folder(tinysol_tree, tmp_path_factory):
    """The folder of one run on that tree: of every way in which notebooks use a library."""
    folder = tmp_path_factory.mktemp("run") / "out"
    given = {**TINY, "LIBRARY": "tinysol", "LIBRARY_ROOT": str(tinysol_tree)}
    arguments = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "deeporch", "run", *NOTEBOOKS, "--out", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1000)  # seven notebooks
def test_notebooks_run_on_tinysol(run_folder):
    for path in find_notebooks(NOTEBOOKS, ROOT / "notebooks"):
        assert read_metrics(run_folder / path.name)
    parameters = json.loads((run_folder / "parameters.json").read_text())
    libraries = {name: values.get("LIBRARY") for name, values in parameters.items()}
    assert set(libraries.values()) == {"tinysol"}


@pytest.mark.slow
def test_tables_have_that_library_s_instruments(run_folder):
    text = (run_folder / "01_cnn_instruments.ipynb").read_text()
    for instrument in ("Fl", "Ob", "ClBb", "Hn", "Vn", "Vc"):
        assert f"{instrument}: " in text
    assert "Acc: " not in text
    assert read_metrics(run_folder / "00_notes_and_mixtures.ipynb")["notes"] == 216
