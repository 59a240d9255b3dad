"""Parameters that are paths mean the folder where the command was given."""

from deeporch.runner.profiles import parse_assignments
from deeporch.runner.run import _environment


def test_relative_paths_are_those_of_the_command(tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    (tmp_path / "soundfont").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    given = parse_assignments(["LIBRARY_ROOT=notes", "TARGET=~/notes", "LIBRARY=soundfont", "OTHER_ROOT=nothing"])
    assert given == {
        "LIBRARY_ROOT": str(tmp_path / "notes"), "TARGET": str(tmp_path / "notes"), "LIBRARY": "soundfont",
        "OTHER_ROOT": "nothing",
    }  # fmt: skip
    monkeypatch.setenv("DEEPORCH_SOL_ROOT", "notes")
    monkeypatch.setenv("DEEPORCH_CACHE", "new")
    found = _environment()
    assert found["DEEPORCH_SOL_ROOT"] == str(tmp_path / "notes")
    assert found["DEEPORCH_CACHE"] == str(tmp_path / "new")
