"""The programs of CONTRIBUTING.md do what it says, as they are written there."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import deeporch as do
from deeporch.features import registry
from deeporch.models import build
from deeporch.notes import library

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (Add .*?)\n.*?```python\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module", autouse=True)
def rendered():
    """Render the notes that the programs load once."""
    do.load_library("soundfont", instruments="Fl")


def run(code, tables, monkeypatch):
    """Run a program in a namespace of its own; what it enters into tables is taken out again."""
    for module, name in tables:
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    space = {"__name__": "contributed"}
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), space)
    return space


def test_there_are_three_and_each_is_short():
    assert list(SECTIONS) == ["Add a model", "Add a feature", "Add a source of notes"]
    assert {name: len(code.splitlines()) for name, code in SECTIONS.items() if len(code.splitlines()) >= 30} == {}


def test_a_model(monkeypatch, tmp_path, capsys):
    space = run(SECTIONS["Add a model"], [(build, "MODELS")], monkeypatch)
    chance = 2 / len(space["classes"])
    recall = float(capsys.readouterr().out.split()[-1])
    assert recall > 5 * chance, "it learns"
    assert recall == pytest.approx(do.evaluate(space["model"], space["test"]).top_n_recall)
    path = tmp_path / "average.safetensors"
    do.save_checkpoint(path, space["model"])
    again = do.load_checkpoint(path)
    picture = torch.rand(2, *again.features.shape)
    torch.testing.assert_close(again(picture), space["model"].eval()(picture))
    assert again.inner.out_features == 128


def test_a_feature(monkeypatch, tmp_path, capsys):
    tables = [(registry, "FEATURES"), (registry, "KINDS")]
    space = run(SECTIONS["Add a feature"], tables, monkeypatch)
    assert "[2, 1, 12, 32]" in capsys.readouterr().out
    picture = do.get_features("chroma").of(space["mixtures"], [0])[0, 0].mean(1)
    played = space["notes"].table["midi"].iloc[space["mixtures"].indices[0].tolist()] % 12
    assert set(picture.topk(2).indices.tolist()) == set(played)
    monkeypatch.setattr(build, "KINDS", registry.KINDS)
    model = do.build("cnn", space["mixtures"].classes, features="chroma", channels=(4,), last=4, hidden=8)
    do.save_checkpoint(tmp_path / "chroma.safetensors", model)
    assert do.load_checkpoint(tmp_path / "chroma.safetensors").features == space["Chroma"]()


def test_a_source(monkeypatch, tmp_path, cache):
    path = tmp_path / "folders.py"
    path.write_text(SECTIONS["Add a source of notes"], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("deeporch.notes.sources.folders", path)
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    monkeypatch.setitem(sys.modules, spec.name, source)
    monkeypatch.setattr(library, "SOURCES", (*library.SOURCES, "folders"))
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 44_100)
    for name in ("Vn/A4_mf.wav", "Vn/C#4_pp.wav", "Fl/Db5_ff.wav", "Fl/nothing.wav"):
        (tmp_path / "samples" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "samples" / name, tone * (0.5 + 0.1 * len(name)), 44_100)
    notes = do.load_library("folders", root=tmp_path / "samples", duplicates="keep")
    found = set(zip(notes.table["instrument"], notes.table["pitch"], notes.table["dynamic"], strict=True))
    assert found == {("Vn", "A4", "mf"), ("Vn", "C#4", "pp"), ("Fl", "C#5", "ff")}
    assert notes.skipped.to_numpy().tolist() == [["Fl/nothing.wav", "the name is not instrument/pitch_dynamic"]]
    assert notes.lengths.tolist() == pytest.approx([22_050] * 3, abs=256)
    with pytest.raises(FileNotFoundError, match=r"The library folders needs root=, a folder with a folder for each"):
        do.load_library("folders")
