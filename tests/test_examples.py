"""The sounds that ship: what they are made of can be made again, and the commands of the README take them."""

import ast
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from deeporch import cli
from deeporch.orchestration.orchestra import ORCHESTRA

RATE = 44_100
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "deeporch" / "examples"
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^\.venv/bin/deeporch (.*?) *(?:#.*)?$", README, re.MULTILINE)
# A bell after Jean-Claude Risset (Catalogue of Computer Synthesized Sounds, 1969, no. 430): ratios of the
# partials to 440 Hz, their amplitudes, and how long each rings, as a share of the longest
BELL = (
    (0.56, 1.0, 1.0), (0.56, 0.67, 0.9), (0.92, 1.0, 0.65), (0.92, 1.8, 0.55), (1.19, 2.67, 0.325), (1.7, 1.67, 0.35),
    (2.0, 1.46, 0.25), (2.74, 1.33, 0.2), (3.0, 1.33, 0.15), (3.76, 1.0, 0.1), (4.07, 1.33, 0.075),
)  # fmt: skip


def bell(seconds=3.0, fundamental=440.0):
    """Return the bell: every partial decays by 60 dB in its share of twice the time; two beat with a neighbour."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros(len(time))
    for k, (ratio, amplitude, share) in enumerate(BELL):
        beat = (0, 1, 0, 1.7)[k] if k < 4 else 0
        hertz = fundamental * ratio + beat
        sound += amplitude * np.sin(2 * np.pi * hertz * time) * 10 ** (-3 * time / (2 * seconds * share))
    sound *= np.minimum(1, time / 0.003) * np.minimum(1, (seconds - time) / 0.05)
    return 0.5 * sound / np.abs(sound).max()


def test_the_bell_is_what_it_says():
    kept, rate = soundfile.read(EXAMPLES / "bell.flac")
    assert rate == RATE
    np.testing.assert_allclose(kept, bell(), atol=2 / 2**15)
    assert (EXAMPLES / "bell.flac").stat().st_size < 300_000


def test_the_readme_has_commands():
    assert {line.split()[0] for line in COMMANDS} == {"recognize", "orchestrate"}


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_readme_run_as_they_stand(line, tmp_path, monkeypatch, capsys):
    """With the sounds that they name, and a short search."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    for word in words:
        if word.endswith((".wav", ".flac")):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(word, bell(), RATE)
    assert cli.main([*words, *["--evaluations", "200", "-n", "1"][: 4 * (words[0] == "orchestrate")]]) == 0
    said = capsys.readouterr().out
    if words[0] == "recognize":
        assert said.startswith("chord.wav\n")
    else:
        assert "1 solution to hear and to read: bell/index.html" in said
        assert (tmp_path / "bell" / "solution_1" / "score.musicxml").is_file()


@pytest.mark.slow
def test_the_python_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    """With the sounds that it names: a chord, a bell, and recordings of every player of the default orchestra."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPORCH_CACHE", str(tmp_path / "cache"))
    for name in ("chord.wav", "bell.wav"):
        soundfile.write(name, bell(1.0), RATE)
    (tmp_path / "my_recordings").mkdir()
    players = [name for player in ORCHESTRA.split() for name in player.split("|")]
    for k, player in enumerate(dict.fromkeys(players)):
        for pitch, hertz in (("C4", 261.63), ("A4", 440.0)):
            partials = (np.sin(2 * np.pi * hertz * n * np.arange(RATE) / RATE) / n ** (1 + k / 5) for n in range(1, 8))
            soundfile.write(f"my_recordings/{player}-ord-{pitch}-mf.wav", 0.3 * sum(partials), RATE)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names, values = {}, []
    for line in ast.parse(block).body:
        if isinstance(line, ast.Expr):
            values.append(eval(compile(ast.Expression(line.value), "README", "eval"), names))
        else:
            exec(compile(ast.Module([line], []), "README", "exec"), names)
    heard, _ = values
    assert len(heard) == 3
    assert all(0 <= note.probability <= 1 for note in heard)
    assert len(names["notes"]) == 2 * len(set(players))
    assert ElementTree.parse("bell.musicxml").getroot().tag == "score-partwise"
