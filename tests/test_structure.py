"""The structure of the package: how large folders, files and the study's core may grow, and that it has no cycles."""

import json
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deeporch"
MODULES_A_FOLDER, LINES_A_FILE, CORE_LINES, PACKAGE_LINES = 8, 400, 5_000, 15_400  # aim of the last: 13,000
FILES = sorted(PACKAGE.rglob("*.py"))
LINES = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
STUDY = sorted(path for path in (ROOT / "notebooks").glob("0[0-6]_*.ipynb"))


def core():
    """Return the files of the package that ``import deeporch`` and what notebooks 00 to 06 name of it load."""
    lines, names = set(), set()
    for notebook in STUDY:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        lines |= set(re.findall(r"^(?:from|import) deeporch.*", source, re.MULTILINE))
        names |= set(re.findall(r"\b(?:do|plots)\.\w+", source))
    code = "\n".join(["import sys", *sorted(lines), *sorted(names)])
    code += "\nprint(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'deeporch'), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-500:]
    return [path for path in map(Path, done.stdout.split()) if path.is_relative_to(PACKAGE)]


@pytest.fixture(scope="module")
def graph():
    """The imports of the package, module to modules, without those that are only for annotations."""
    found = grimp.build_graph("deeporch", exclude_type_checking_imports=True, cache_dir=None)
    return {module: found.find_modules_directly_imported_by(module) for module in found.modules}


def test_no_folder_has_too_many_modules():
    folders = {path.parent for path in FILES}
    counts = {f: sum(p.parent == f and p.name not in ("__init__.py", "__main__.py") for p in FILES) for f in folders}
    assert {str(f.relative_to(ROOT)): n for f, n in counts.items() if n > MODULES_A_FOLDER} == {}


def test_no_file_is_too_long():
    assert {str(p.relative_to(ROOT)): n for p, n in LINES.items() if n > LINES_A_FILE} == {}


def test_the_package_is_small():
    assert sum(LINES.values()) <= PACKAGE_LINES


def test_the_core_of_the_study_can_be_read_in_an_evening():
    loaded = core()
    print(f"core: {sum(LINES[path] for path in loaded):,} lines in {len(loaded)} modules")
    assert PACKAGE / "training" / "loop.py" in loaded
    assert PACKAGE / "orchestration" / "orchestrate.py" not in loaded
    assert sum(LINES[path] for path in loaded) <= CORE_LINES


def test_nothing_is_imported_in_a_circle(graph):
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"an import cycle: {error.args[1]}")
    assert len(order) == len(FILES)


def counts():
    """Print the counts that the limits are about."""
    graph = grimp.build_graph("deeporch", exclude_type_checking_imports=True, cache_dir=None)
    edges = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    floor = {}
    for module in TopologicalSorter(edges).static_order():
        floor[module] = 1 + max((floor[m] for m in edges[module]), default=0)
    folders = {path.parent for path in FILES}
    most, longest = (
        max(sum(p.parent == f and not p.name.startswith("__") for p in FILES) for f in folders),
        max(LINES.values()),
    )
    loaded = core()
    print(f"package: {sum(LINES.values()):,} lines in {len(FILES)} modules and {len(folders)} folders")
    print(f"largest folder: {most} modules; longest file: {longest} lines; import floors: {max(floor.values())}")
    print(f"core (notebooks 00 to 06): {sum(LINES[path] for path in loaded):,} lines in {len(loaded)} modules")


if __name__ == "__main__":
    counts()
