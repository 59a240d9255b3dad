"""``deeporch recognize``: what is printed, what goes wrong, and what it does not wait for."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deeporch.cli import main
from deeporch.recognition.answers import answer_lines
from deeporch.recognition.recognizer import DEFAULT, Heard, Recognizer

BELL = str(Path(__file__).parents[1] / "deeporch/examples/bell.flac")
SLOW = {"librosa.core.audio", "scipy.signal", "scipy.stats", "scipy.optimize", "sklearn", "matplotlib", "IPython"}


def test_answers_have_names_and_families():
    lines = answer_lines("a.wav", [Heard("Ob", "A4", 0.91), Heard("TpC", "C#5", 0.5)])
    assert lines[0] == "a.wav"
    assert lines[1].split() == ["A4", "oboe", "(Ob)", "woodwinds", "91%"]
    assert lines[2].split() == ["C#5", "trumpet", "in", "C", "(TpC)", "brass", "50%"]
    assert len(lines) == 3
    assert answer_lines("b", [Heard("Kazoo", "A4", 0.9)])[1].split() == ["A4", "Kazoo", "(Kazoo)", "other", "90%"]


def test_an_unsure_answer_says_so_and_what_comes_next():
    lines = answer_lines("a.wav", [Heard("Ob", "A4", 0.217)], [Heard("Vc", "C3", 0.19), Heard("Hn", "A3", 0.08)])
    assert lines[2].strip().startswith("Unsure: ")
    assert lines[3].strip() == "Next likely: C3 Vc 19%, A3 Hn 8%. Tell it how many notes there are with -n."


def test_the_command_says_what_the_recognizer_says(capsys, tmp_path):
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, 0.1 * np.random.default_rng(0).normal(size=44_100), 44_100)
    recognizer = Recognizer.load(DEFAULT)
    assert main(["recognize", BELL, str(noise)]) == 0
    expected = []
    for file in (BELL, str(noise)):
        notes = recognizer.predict(file)
        sure = all(note.probability >= 0.5 for note in notes)
        expected += answer_lines(file, notes, () if sure else recognizer.predict(file, n=len(notes) + 4)[len(notes) :])
    assert capsys.readouterr().out.splitlines() == expected
    assert main(["recognize", BELL, str(tmp_path / "missing.wav"), "--json", "-n", "2"]) == 2
    said = capsys.readouterr()
    assert "There is no sound file" in said.err
    assert [Heard(**note) for note in json.loads(said.out)[BELL]] == recognizer.predict(BELL, n=2)


@pytest.mark.slow
def test_it_imports_nothing_slow_that_it_does_not_need():
    """The filters are kept once they were computed: from then on librosa is not imported either."""
    code = f"import sys\nfrom deeporch.cli import main\nmain(['recognize', {BELL!r}])\nprint(*sys.modules)"
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert SLOW & set(run.stdout.split()) == set()
