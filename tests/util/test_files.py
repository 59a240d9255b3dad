import errno
import hashlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
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


def test_a_folder_without_rights_is_named_by_the_path_that_was_given(tmp_path, monkeypatch):
    def refused(dir, **options):
        raise PermissionError(13, "Permission denied", str(tmp_path / "out" / ".deeporch-1"))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(PermissionError) as error, files.atomic_path("out/a.onnx"):
        pass
    assert str(error.value) == (
        "'out/a.onnx' cannot be written (Permission denied): choose a folder that you may write to."
    )


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


@pytest.mark.parametrize(("options", "ends"), [({"delay": 0}, "it/s]\n"), ({}, "")])
def test_a_bar_in_a_log_ends_its_line_before_an_error_and_shows_nothing_at_first(options, ends, monkeypatch, capsys):
    monkeypatch.delenv("DEEPORCH_HEADLESS", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # which nbval imports
    with pytest.raises(ValueError, match="no notes"), progress(total=5, desc="search", leave=False, **options):
        raise ValueError("no notes")
    written = capsys.readouterr().err
    assert written.endswith(ends)
    assert bool(written) == bool(ends)


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
import deeporch, deeporch.plots.audio, deeporch.training.loop
after = (dict(os.environ), random.getstate()[1], numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
         torch.get_num_threads(), torch.get_default_dtype(), logging.root.handlers[:], os.getcwd())
assert before == after
assert not torch.cuda.is_initialized()
assert "matplotlib.pyplot" not in sys.modules
assert "nbformat" not in sys.modules  # two seconds of every notebook
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# What is left by others, and what is damaged


def test_only_what_carries_the_programs_mark_and_is_dead_is_tidied(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    name = files._prefix("a.npy").replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    (tmp_path / f"{name}x.npy").write_text("left by a killed process")
    (tmp_path / f"{name}folder").mkdir()
    kept = [".git", ".obsidian", ".deeporch-notes", files._prefix("a.npy") + "alive.npy", "a.npy"]
    for other in kept:
        (tmp_path / other).mkdir()
        os.utime(tmp_path / other, (1e9, 1e9))
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_cached_array_is_made_once_and_again_when_it_is_damaged(tmp_path):
    path, made = tmp_path / "a.npy", []

    def fill(out):
        made.append(1)
        out[:] = np.arange(out.size).reshape(out.shape) / 7

    first = files.cached_array(path, (300, 50), fill).copy()
    whole = path.read_bytes()
    assert np.array_equal(files.cached_array(path, (300, 50), fill), first)
    assert len(made) == 1
    for damaged in (whole[: len(whole) // 2], whole[:-1], whole[:5000] + b"x" + whole[5001:], b"", b"no array"):
        path.write_bytes(damaged)
        assert np.array_equal(files.cached_array(path, (300, 50), fill), first)
        assert path.read_bytes() == whole
    assert files.cached_array(path, (30, 50), fill).shape == (30, 50)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    files.write_text(tmp_path / "kept.txt", "good")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"a\.npy' cannot be written \(No space left on device\): choose a folder with"):
        files.cached_array(path, (3, 3), lambda out: None)
    monkeypatch.setenv("DEEPORCH_CACHE", str(tmp_path))
    with pytest.raises(OSError, match="set DEEPORCH_CACHE to a folder with more room"):
        files.cached_array(path, (3, 3), lambda out: None)
    with pytest.raises(OSError, match="more room"), files.atomic_path(tmp_path / "kept.txt"):
        full()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "good"


def test_a_folder_that_cannot_be_made_names_what_to_do(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot be written \(Not a directory\): choose a folder that you may write to"):
        files.write_text(tmp_path / "file" / "below" / "a.txt", "x")


KILLS = 12  # points at which each kind of writing is killed


def killed_at(work, seconds):
    """Run `work` in a fork that is killed after some seconds."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("kind", ["array", "text", "folder"])
def test_killed_while_writing_leaves_the_old_or_the_new_and_nothing_else(tmp_path, kind):
    def fill(out):
        for row in out:
            row[:] = 1.5
            time.sleep(0.001)

    def array():
        assert files.cached_array(tmp_path / "a", (40, 1000), fill).sum() == 60_000

    def text():
        for _ in range(40):
            files.write_text(tmp_path / "a", "b" * 100_000)

    def folder():
        for _ in range(10):
            with files.atomic_folder(tmp_path / "a") as new:
                (new / "one").write_text("b" * 1000)
                time.sleep(0.002)
                (new / "two").write_text("b" * 1000)

    work = {"array": array, "text": text, "folder": folder}[kind]
    generator = np.random.default_rng(0)
    for seconds in generator.uniform(0, 0.08, KILLS):
        killed_at(work, seconds)
        if (tmp_path / "a").is_file() and kind == "text":
            assert (tmp_path / "a").read_text() == "b" * 100_000
        if (tmp_path / "a").is_dir():
            assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["one", "two"]
    work()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
