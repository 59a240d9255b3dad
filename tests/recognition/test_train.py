"""Training a recognizer from the command line, on a library in memory."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deeporch import cli
from deeporch.features.recoloured import Recoloured
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.splits import split
from deeporch.recognition import train
from deeporch.recognition.recognizer import CHECKPOINTS, Recognizer

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


def test_one_command_trains_scores_and_writes_a_checkpoint(cache, tiny_library, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "load_library", lambda *_, **__: tiny_library)
    monkeypatch.setattr(train, "EPOCH", 256)
    monkeypatch.setitem(train.train.__kwdefaults__, "size", 256)
    path = tmp_path / "tiny.safetensors"
    options = "--split recording --epochs 12 --test 40 --device cpu --checkpoint"
    command = [*options.split(), str(path)]
    assert cli.main(["train", *command]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"mixture +N=2", printed)
    assert "(the study: 92.1%)" in printed
    card = json.loads(path.with_suffix(".json").read_text())
    scores = {(row["split"], row["n"]): row["top_n_recall"] for row in card["scores"]}
    assert set(scores) == {(name, n) for name in ("mixture", "recording") for n in (2, 3, 5, 10)}
    assert scores["mixture", 2] > 10 * 2 / 72  # ten times chance
    assert card["training"]["mixtures"] % 256 == 0
    assert card["training"]["command"].endswith("--device cpu --checkpoint tiny.safetensors"), "no machine path"
    recognizer = Recognizer.load(path)
    assert recognizer.calibration.to_dict() == card["calibration"]
    assert 0 < recognizer.calibration.threshold < 1
    begun = len(card["history"])
    assert card["training"]["mixtures"] == 256 * begun
    on = tmp_path / "on.safetensors"
    assert cli.main(["train", *command[:-1], str(on), "--start", str(path), "--network", "blocks=4"]) == 0
    further = json.loads(on.with_suffix(".json").read_text())
    assert further["history"][:begun] == card["history"]
    assert [row["epoch"] for row in further["history"]] == list(range(1, len(further["history"]) + 1))
    assert (card["config"]["blocks"], further["config"]["blocks"]) == (3, 4)
    assert further["training"]["mixtures"] == 256 * len(further["history"]) > card["training"]["mixtures"]
    assert cli.main(["train", "--split", "mixture", "--start", str(path)]) == 2
    assert "tiny.safetensors was trained on another split" in capsys.readouterr().err


def test_other_takes_are_tested_only_where_their_class_was_trained(tiny_library):
    pools = split(tiny_library, Classes(tiny_library), by="recording")
    without = torch.tensor([i for i in pools.train.tolist() if tiny_library.table["instrument"][i] != "Hn"])
    pools = type(pools)(pools.by, without, pools.valid, pools.test, pools.report)
    sets = train.make_tests(tiny_library, pools, other=tiny_library.take(range(215, -1, -1)), size=30)
    assert [m.n for m in sets["other takes"]] == [2, 3, 5, 10]
    heard = {name for mixtures in sets["other takes"] for i in range(30) for name in mixtures.labels(i)}
    assert heard
    assert not any(name.startswith("Hn") for name in heard)


def test_suspects_are_left_out_of_tests_of_their_own(tiny_library, monkeypatch):
    pools = split(tiny_library, Classes(tiny_library), by="recording")
    suspect = int(pools.test[0])
    monkeypatch.setattr(train, "suspects", lambda notes: {suspect})
    sets = train.make_tests(tiny_library, pools, size=30, audited=True)
    assert list(sets) == ["mixture", "recording", "recording, without suspects"]
    assert all(suspect not in mixtures.indices for mixtures in sets["recording, without suspects"])
    assert any(suspect in mixtures.indices for mixtures in sets["recording"])


def test_a_missing_library_is_named(capsys):
    assert cli.main(["train", "--library", "philharmonya"]) == 2
    assert "did you mean 'philharmonia'" in capsys.readouterr().err


def test_changes_of_training_notes_are_read_and_mistakes_named(capsys):
    assert train.parse_numbers("level=6, detune=0.3", Recoloured, "change") == {"level": 6, "detune": 0.3}
    assert train.parse_numbers("", Recoloured, "change") == {}
    assert cli.main(["train", "--library", "soundfont", "--recolour", "detun=1"]) == 2
    assert "did you mean 'detune'" in capsys.readouterr().err
    assert cli.main(["train", "--library", "soundfont", "--recolour", "level=loud"]) == 2
    assert "NAME=NUMBER, but got 'level=loud'" in capsys.readouterr().err


def test_two_libraries_are_trained_on_together(cache, tiny_library, monkeypatch):
    monkeypatch.setattr(train, "load_library", lambda name, **_: tiny_library)
    seen = []
    monkeypatch.setattr(train, "train", lambda notes, pools, **_: seen.append(notes) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["train", "--library", "soundfont", "--also", "philharmonia"])
    assert (len(seen[0]), seen[0].name) == (2 * len(tiny_library), "tiny + tiny")


def test_several_libraries_are_trained_on_and_one_that_was_left_out_calibrates(
    cache, tiny_library, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(train, "load_library", lambda *_, **__: tiny_library.select(pitch_range=("C4", "D#4")))
    monkeypatch.setattr(train, "EPOCH", 256)
    path = tmp_path / "many.safetensors"
    sizes = "channels=4,hidden=6,width=8,blocks=1"
    command = [
        "train",
        "--libraries",
        "one:2.5=soundfont",
        "two=sol:somewhere",
        "--leave-out",
        "two",
        "--minutes",
        "0.02",
    ]
    command += ["--recolour", "versions=1", "--network", sizes, "--folder", str(tmp_path), "--checkpoint", str(path)]
    assert cli.main(command) == 0
    assert "instrument_calibration_error" in capsys.readouterr().out
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["data"] == {"libraries": ["one"], "notes": 72}
    assert card["unknown_n"]["instrument_calibration_error"] <= 1
    recognizer = Recognizer.load(path)
    assert recognizer.parts == card["parts"]
    assert set(recognizer.parts) == {"pitch", "instrument"}
    assert recognizer.calibration.to_dict() == card["calibration"]
    assert (len(card["history"]) - 1) * 256 < card["training"]["mixtures"] <= len(card["history"]) * 256
    assert (tmp_path / "last.safetensors").is_file()
    assert cli.main([*command, "--start", str(path)]) == 0, "its time is up: it is calibrated again"
    assert json.loads(path.with_suffix(".json").read_text())["training"]["mixtures"] == card["training"]["mixtures"]
    assert cli.main(["train", "--libraries", "one=soundfont", "--leave-out", "three"]) == 2
    assert "Unknown library 'three'" in capsys.readouterr().err
    assert cli.main(["train", "--libraries", "one:heavy=soundfont"]) == 2
    assert "The weight of one is a number from 0.01 to 100, but 'heavy' was given." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["soundfont", "philharmonia"])
def test_the_command_on_a_shipped_card_still_trains(name, tmp_path):
    """All but the training itself: the first thing that is missing is the library's folder."""
    card = json.loads((CHECKPOINTS / f"{name}.json").read_text())
    python, *command = card["training"]["command"].split()
    assert python == "python"
    done = subprocess.run(
        [sys.executable, *command, "--root", str(tmp_path / "nowhere")], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere" in done.stderr
