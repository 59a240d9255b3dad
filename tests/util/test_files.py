import hashlib
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from deeporch.util import checks, files
from deeporch.util.environment import describe_device, environment, git_revision
from deeporch.util.progress import progress

# files


def test_atomic_path_replaces_or_leaves_alone(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("one")
        assert not path.exists(), "nobody sees half of it"
    assert path.read_text() == "one"
    with pytest.raises(ZeroDivisionError), files.atomic_path(path) as temporary:
        temporary.write_text(f"tw{1 / 0}")
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path], "no temporary file stays behind"


def test_written_files_have_the_usual_rights(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def write_many(path, letter):
    for _ in range(50):
        files.write_text(path, letter * 200_000)


def test_two_processes_write_one_file(tmp_path):
    path = tmp_path / "shared.txt"
    files.write_text(path, "a" * 200_000)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        text = path.read_text()
        assert len(text) == 200_000
        seen.add(text == text[0] * 200_000)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen == {True}
    assert list(tmp_path.iterdir()) == [path]


def test_write_text_is_utf8(tmp_path):
    files.write_text(tmp_path / "a", "flûte ♯")
    assert (tmp_path / "a").read_bytes() == "flûte ♯".encode()


def test_file_hash(tmp_path):
    data = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "a").write_bytes(data)
    assert files.file_hash(tmp_path / "a") == hashlib.md5(data).hexdigest()
    assert files.file_hash(tmp_path / "a", "sha256") == hashlib.sha256(data).hexdigest()


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPORCH_CACHE", str(tmp_path))
    assert files.cache_dir() == tmp_path
    monkeypatch.delenv("DEEPORCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert files.cache_dir().name == "deeporch"


# checks


def test_near():
    assert checks.near("FLUTE", ["flute", "oboe"]) == ["flute"]
    assert checks.near("epoch", ["epochs", "lr", "seed"]) == ["epochs"]
    assert checks.near("xyz", ["epochs", "lr"]) == []


def test_check_choice():
    assert checks.check_choice("a", ["a", "b"], "letter") == "a"
    with pytest.raises(ValueError, match=r"^Unknown loss 'softmx': did you mean 'softmax'\? Known: softmax, bce\.$"):
        checks.check_choice("softmx", ["softmax", "bce"], "loss")
    with pytest.raises(ValueError, match=r"^Unknown loss ''\. Known: softmax, bce\.$"):
        checks.check_choice("", ["softmax", "bce"], "loss")


def test_check_range():
    assert checks.check_range(0.5, 0, 1, "share") == 0.5
    assert checks.check_range(1, 0, 1, "share") == 1
    for wrong in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=rf"^share must lie between 0 and 1, but is {wrong!r}\.$"):
            checks.check_range(wrong, 0, 1, "share")


# progress


def test_progress_walks_and_writes_little_in_a_log(monkeypatch, capsys):
    monkeypatch.setenv("DEEPORCH_HEADLESS", "1")
    assert list(progress(range(20_000), desc="counting")) == list(range(20_000))
    written = capsys.readouterr().err
    assert "counting" in written
    assert written.count("\r") <= 4
    assert written.isascii()


def test_a_bar_in_a_notebook_is_html_and_leaves_nothing(monkeypatch):
    shown = []
    place = SimpleNamespace(update=lambda html: shown.append(html.data))
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr("IPython.display.display", lambda html, display_id: shown.append(html.data) or place)
    assert list(progress(range(3), desc="<counting>", unit=" notes")) == [0, 1, 2]
    assert 'value="0.000"' in shown[0]
    assert "&lt;counting&gt;: 0 of 3 notes" in shown[0]
    assert shown[-1] == ""
    with pytest.raises(ZeroDivisionError), progress(total=5) as bar:
        bar.update(1 // 0)
    assert shown[-1] == ""


def test_a_bar_in_a_log_ends_its_line_before_an_error_is_printed(monkeypatch, capsys):
    monkeypatch.delenv("DEEPORCH_HEADLESS", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # which nbval imports
    with pytest.raises(ValueError, match="no notes"), progress(total=5, desc="search", leave=False):
        raise ValueError("no notes")
    assert capsys.readouterr().err.endswith("\n")


# environment


def test_environment_names_versions_and_device():
    found = environment()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"deeporch", "librosa", "git", "platform", "device"} <= found.keys()
    assert str(Path.home()) not in str(found)


def test_devices_in_words():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert describe_device("cpu") == "1 CPU core"  # as many as are used
        torch.set_num_threads(cores + 1)
        assert describe_device("cpu") == f"{cores} CPU core{'s' * (cores != 1)}"
    finally:
        torch.set_num_threads(before)


def test_git_revision(monkeypatch):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    found = git_revision()
    if head.returncode == 0:
        assert re.fullmatch(r"[0-9a-f]{7,}\+?", found)
        assert head.stdout.startswith(found.rstrip("+"))
    else:
        assert found == ""
    monkeypatch.setenv("PATH", "")
    assert git_revision() == "", "without git there is no revision, and no error"


def test_importing_does_nothing():
    """No seeding, no logging set-up, no device choice, no change of the environment, no figure window at import."""
    code = """
import logging, os, random, sys
import numpy, torch
before = (dict(os.environ), random.getstate()[1], numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
          torch.get_num_threads(), torch.get_default_dtype(), logging.root.handlers[:], os.getcwd())
import deeporch, deeporch.plots.study, deeporch.training
after = (dict(os.environ), random.getstate()[1], numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
         torch.get_num_threads(), torch.get_default_dtype(), logging.root.handlers[:], os.getcwd())
assert before == after
assert not torch.cuda.is_initialized()
assert "matplotlib.pyplot" not in sys.modules
assert "nbformat" not in sys.modules  # two seconds of every notebook
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
