"""The notebooks as they are committed: parameters, prose, order, results. (nbval runs them: see `make test`.)"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from deeporch.runner.notebooks import check_notebook, parameters_cell, read_metrics, read_notebook, read_parameters
from deeporch.runner.profiles import load_profile, plan

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in read_notebook(path).cells if cell.cell_type == "code"]


def plain(source):
    """Return a cell's source as Python: without the lines that only IPython understands."""
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))


def defined_functions(path):
    trees = [ast.parse(plain(cell.source)) for cell in code_cells(path)]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}


def used_names(path):
    trees = [ast.parse(plain(cell.source)) for cell in code_cells(path)]
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_there_are_notebooks_and_all_are_numbered():
    assert PATHS
    assert [path.name for path in PATHS if not re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name)] == []
    numbers = [path.name[:2] for path in PATHS]
    assert sorted(set(numbers)) == numbers


@every_notebook
def test_first_comes_a_title_in_prose(path):
    first = read_notebook(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")


@every_notebook
def test_parameters_are_commented_upper_case_scalars_with_a_seed(path):
    values = read_parameters(path)
    assert "SEED" in values
    assert [name for name in values if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name)] == []
    assert {name: value for name, value in values.items() if not isinstance(value, bool | int | float | str)} == {}
    cell = parameters_cell(read_notebook(path))
    tokens = tokenize.generate_tokens(io.StringIO(cell.source).readline)
    commented = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    lines = {line.lineno: ast.unparse(line) for line in ast.parse(cell.source).body}
    assert [text for number, text in lines.items() if number not in commented] == []


@every_notebook
def test_prose_outweighs_code(path):
    cells = read_notebook(path).cells
    size = {kind: sum(len(c.source) for c in cells if c.cell_type == kind) for kind in ("markdown", "code")}
    assert size["markdown"] >= size["code"]


@every_notebook
def test_cells_fit_on_a_screen(path):
    assert [cell.source for cell in code_cells(path) if cell.source.count("\n") >= 25] == []


@every_notebook
def test_results_are_fit_to_be_committed(path):
    assert check_notebook(read_notebook(path)) == []


@every_notebook
def test_last_cell_records_metrics(path):
    notebook = read_notebook(path)
    assert "record(" in code_cells(path)[-1].source
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"][-1:]
    assert read_metrics(notebook)


def test_no_function_lives_in_two_notebooks():
    homes = {}
    for path in PATHS:
        for name in defined_functions(path):
            homes.setdefault(name, []).append(path.stem)
    assert {name: stems for name, stems in homes.items() if len(stems) > 1} == {}


def test_no_notebook_uses_a_function_defined_in_another():
    used = {path: used_names(path) for path in PATHS}
    foreign = {
        path.stem: sorted(used[path] & defined_functions(other) - defined_functions(path))
        for path in PATHS
        for other in PATHS
        if other != path
    }
    assert {stem: names for stem, names in foreign.items() if names} == {}


@pytest.mark.parametrize("name", ["laptop", "gpu"])
def test_profile_knows_every_notebook(name):
    profile = load_profile(name, FOLDER)  # fails on notebooks and parameters that are not there
    assert profile.description
    assert set(profile.notebooks) == {path.stem for path in PATHS}


@every_notebook
def test_quick_is_what_the_notebook_itself_says(path):
    (job,) = plan([path], load_profile("quick", FOLDER), {})
    assert job.parameters == read_parameters(path)
    assert job.overrides == {}


@pytest.mark.parametrize("path", [path for path in PATHS if "01" <= path.name[:2] <= "06"], ids=lambda path: path.stem)
def test_notebooks_of_the_study_have_the_same_first_parameters(path):
    names = list(read_parameters(path))
    assert names[:6] == ["PROFILE", "LIBRARY", "LIBRARY_ROOT", "SEED", "DEVICE", "SAVE"]
    assert len(names) <= 14
