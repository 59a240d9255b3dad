"""The repository as a whole: what the README promises, what is tracked, what is pinned."""

import ast
import csv
import inspect
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import deeporch
from deeporch import cli
from deeporch.runner.notebooks import read_parameters

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL))
MAKES = re.findall(r"^make .*", README, re.MULTILINE)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
BARE_FOLDERS = ("/work" + "/", "/root" + "/")


@pytest.fixture(scope="module")
def tracked():
    """The files git tracks or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    assert len(files) > 20
    return files


def test_every_make_command_of_the_readme_exists():
    named = set(re.findall(r"\bmake ([a-z-]+)", CODE))
    assert {"run", "test"} <= named
    assert named <= TARGETS


def test_every_variable_of_the_readme_exists_in_the_makefile():
    commands = "\n".join(re.findall(r"make .*", CODE))
    named = set(re.findall(r"\b([A-Z]+)=", re.sub(r'ARGS="[^"]*"', "ARGS=", commands)))
    assert "PROFILE" in named
    assert named <= set(re.findall(r"^([A-Z]+) +\?=", MAKEFILE, re.MULTILINE))


def test_every_variable_of_the_readme_is_read_somewhere():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "deeporch").rglob("*.py"))
    for name in set(re.findall(r"DEEPORCH_[A-Z_]+", README)):
        assert name in sources or re.fullmatch(r"DEEPORCH_(SOUNDFONT|TINYSOL|SOL|PHILHARMONIA)_ROOT", name)


def test_every_parameter_of_the_readme_exists_in_a_notebook():
    known = {name for path in (ROOT / "notebooks").glob("*.ipynb") for name in read_parameters(path)}
    assert set(re.findall(r"-p ([A-Z_]+)=", CODE)) - known == set()


@pytest.mark.parametrize("line", MAKES)
def test_every_make_command_of_the_readme_does_what_can_be_done(line):
    """What it would do is right for the shell, names programs and files that exist, and runs what notebooks know."""
    words = shlex.split(line, comments=True)
    command = ["make", "-n", "-o", ".venv/.done", "--no-print-directory", *words[1:]]
    wanted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    subprocess.run(["bash", "-n"], input=wanted, text=True, check=True)
    run = [each for each in wanted.splitlines() if each.startswith(".venv/bin/python -m deeporch run")]
    assert bool(run) == (words[1] == "run")
    for each in run:
        assert cli.main([*shlex.split(each)[3:], "--folder", str(ROOT / "notebooks"), "--list"]) == 0
    named = re.findall(r"\.venv/bin/python (tests/\S+|-m \w+)", wanted)
    assert named
    for each in named:
        module = each.removeprefix("-m ")
        assert find_spec(module) if module != each else (ROOT / each).is_file()
    for notebook in re.findall(r"default_url=/lab/tree/lab/(\S+)", wanted):
        assert (ROOT / "notebooks" / notebook).is_file()


def test_every_target_is_phony_and_sets_itself_up():
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE).group(1).split())
    assert phony == TARGETS
    rules = dict(re.findall(r"^([a-z-]+): ?(.*?) ## ", MAKEFILE, re.MULTILINE))
    assert [name for name, needs in rules.items() if "$(DONE)" not in needs and name != "help"] == []


def test_every_local_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_map_of_the_readme_names_what_exists():
    block = re.search(r"## The map.*?```text\n(.*?)```", README, re.DOTALL).group(1)
    names, folder = [], ""
    for line in block.splitlines():
        if line.startswith("   "):  # goes on from the line before
            continue
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name if name.endswith("/") else ""
        names.append(name if not line.startswith(" ") else folder + name)
    assert [name for name in names if not (ROOT / name).exists()] == []
    folders = {f"deeporch/{path.parent.name}/" for path in (ROOT / "deeporch").glob("*/__init__.py")}
    assert folders - set(names) == set(), "every folder is on the map"


def test_the_readme_has_a_place_for_the_results():
    assert README.index("<!-- results:begin -->") < README.index("<!-- results:end -->")


def test_no_tracked_file_is_large(tracked):
    allowed = {".safetensors": 10_000_000, ".ipynb": 1_200_000}  # trained networks; notebooks with their pictures
    sizes = {path: path.stat().st_size for path in tracked}
    assert {p.name: size for p, size in sizes.items() if size > allowed.get(p.suffix, 1_000_000)} == {}


def test_no_tracked_file_names_a_folder_of_one_machine(tracked):
    found = {
        f"{path.relative_to(ROOT)}: {bare}"
        for path in tracked
        for bare in BARE_FOLDERS
        if re.search(rb"(?<![\w.~+/-])" + bare.encode(), re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", path.read_bytes()))
    }
    assert found == set()


def test_every_committed_table_names_its_command_revision_library_and_versions():
    with (ROOT / "figures" / "provenance.csv").open(encoding="utf-8", newline="") as file:
        known = list(csv.DictReader(file))
    assert {row["file"] for row in known} == {p.name for p in (ROOT / "figures").glob("*.csv")} - {"provenance.csv"}
    assert [row for row in known if not all(row.values())] == []
    assert [row["git"] for row in known if not re.fullmatch(r"(≤ )?[0-9a-f]{7,}\+?", row["git"])] == []
    assert all("torch " in row["versions"] and "numpy " in row["versions"] for row in known)


def test_nothing_that_can_be_made_again_is_tracked(tracked):
    made = re.compile(r"(^|/)(\.venv|runs|__pycache__|\.ipynb_checkpoints)/|^data/cache/|\.pyc$")
    assert [str(path) for path in tracked if made.search(path.relative_to(ROOT).as_posix())] == []


def test_requirements_are_pinned_and_commented():
    blocks = (ROOT / "requirements.txt").read_text(encoding="utf-8").strip().split("\n\n")
    for block in blocks:
        assert block.startswith("# ")
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_-]+==[0-9][\w.]*", line)] == []
    versions = dict(line.split("==") for line in lines)
    assert versions["torch"] == versions["torchaudio"]


def test_the_lock_has_every_pin_with_hashes():
    pins = re.findall(r"^([\w-]+)==(.+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = re.findall(r"^([\w-]+)==(\S+)[^\n]*\\\n    --hash=sha256:", lock, re.MULTILINE)
    known = {(name.lower().replace("_", "-"), version) for name, version in locked}
    assert len(known) > len(pins) > 40
    wanted = {(name.lower().replace("_", "-"), version) for name, version in pins}
    assert wanted - known == set(), "run `make lock`"


def test_everything_imported_is_pinned():
    """Nothing may come along only because something else needs it today."""
    modules = {"sklearn": "scikit-learn", "yaml": "pyyaml", "IPython": "ipython", "lazy_loader": "lazy-loader"}
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    files = [path for part in ("deeporch", "tests", "notebooks") for path in (ROOT / part).rglob("*.py")]
    own = {"deeporch", "experiments", "browser", *(path.stem for path in files)}
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    foreign = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - own
    assert {modules.get(name, name) for name in foreign} - pinned == set()


@pytest.mark.parametrize("name", deeporch.__all__)
def test_every_public_name_is_documented(name):
    thing = getattr(deeporch, name)
    if inspect.isclass(thing) or callable(thing):
        documentation = inspect.getdoc(thing)
        assert documentation
        assert not documentation.startswith(f"{name}(")  # what a dataclass gets for nothing


def test_importing_does_nothing_but_let_threads_wait_passively(tmp_path):
    code = (
        "import os, random, sys, numpy, torch, logging; os.chdir(sys.argv[1])\n"
        "def state(): return (dict(os.environ), random.getstate(), numpy.random.get_state()[1].tolist(),\n"
        "    torch.random.get_rng_state().tolist(), torch.get_num_threads(), len(logging.root.handlers))\n"
        "before = state(); before[0].setdefault('OMP_WAIT_POLICY', 'PASSIVE')\n"
        "import deeporch; assert state() == before; assert not os.listdir('.')"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_lab_gets_what_is_newer_and_keeps_what_was_changed(tmp_path):
    def do(*command):
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    notebooks, lab = tmp_path / "notebooks", tmp_path / "lab"
    (notebooks / "experiments").mkdir(parents=True)
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    for file in ("a b.ipynb", "ran.ipynb", "experiments/figures.py"):
        (notebooks / file).write_text("first")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    do("git", "init", "-q")
    do("git", "add", ".")
    do("git", *identity, "commit", "-qm", "first")
    assert do("make", "--no-print-directory", "lab-copy") == ""
    (lab / "ran.ipynb").write_text("first, and run")
    (lab / "own.ipynb").write_text("mine")
    for file in ("a b.ipynb", "ran.ipynb", "experiments/figures.py", "new.ipynb"):
        (notebooks / file).write_text("second")
    said = do("make", "--no-print-directory", "lab-copy")
    assert sorted(said.splitlines()) == ["newer now: lab/a b.ipynb", "newer now: lab/experiments/figures.py"]
    assert {str(path.relative_to(lab)): path.read_text() for path in lab.rglob("*") if path.is_file()} == {
        "a b.ipynb": "second", "ran.ipynb": "first, and run", "own.ipynb": "mine", "new.ipynb": "second",
        "experiments/figures.py": "second",
    }  # fmt: skip
    assert do("make", "--no-print-directory", "lab-copy") == ""
