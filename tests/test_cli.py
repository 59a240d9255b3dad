"""What holds for every command: wrong inputs are one sentence and status 2; interrupts and closed pipes are quiet."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

import deeporch.recognition.train  # noqa: F401 (first imported below, it would keep the library that is patched in)
from deeporch import cli

LEAST = {"recognize": ["a.wav"], "export-onnx": ["a.onnx"], "render": ["a.json"]}  # arguments that a command needs


@pytest.fixture
def home(tmp_path, monkeypatch, tiny_library):
    """A working folder of wrong inputs, and one right one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deeporch.notes.library.load_library", lambda name, root: tiny_library)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "text.mid").write_text("no")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    soundfile.write(tmp_path / "short.wav", np.ones(441), 44_100)
    soundfile.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).normal(size=22_050), 44_100)
    return tmp_path


WRONG = [
    ("recognize missing.wav", "There is no sound file 'missing.wav'."),
    ("recognize text.wav", "'text.wav' is no sound that can be read"),
    ("recognize empty.wav --json", "'empty.wav' is no sound that can be read"),
    ("recognize folder.wav --explain", "There is no sound file 'folder.wav'."),
    ("recognize noise.wav -n 9999", "n must lie between 1 and"),
    ("recognize --over-time missing.wav", "There is no sound file 'missing.wav'."),
    ("recognize --over-time -o text.wav noise.wav", "'text.wav' cannot be used (File exists)"),
    ("orchestrate missing.wav", "There is no sound file 'missing.wav'."),
    ("orchestrate text.wav --orchestra Fl", "'text.wav' is no sound that can be read"),
    ("orchestrate empty.wav --orchestra Fl", "'empty.wav' is no sound that can be read"),
    ("orchestrate folder.wav", "There is no sound file 'folder.wav'."),
    ("orchestrate text.mid", "'text.mid' is no MIDI file that can be read (it ends too early)."),
    ("orchestrate C4,H9", "There is no sound file 'C4,H9', and it is no chord: that is written 'C4 Eb4 G#4'."),
    ("orchestrate noise.wav -c none.toml", "'none.toml' cannot be used (No such file or directory)"),
    ("orchestrate noise.wav --room 99", "--room must lie between 0 and 10, but is 99.0."),
    ("orchestrate noise.wav --tempo nan", "--tempo must lie between 20 and 400, but is nan."),
    ("orchestrate noise.wav --max-notes 0 --orchestra Fl", ": --max-notes must lie between 1 and 1, but is 0."),
    ("orchestrate short.wav --orchestra Fl", ": The target's duration in seconds must lie between 0.05 and 60"),
    ("orchestrate noise.wav --note-cost -1 --orchestra Fl", ": --note-cost must lie between 0 and 10, but is -1.0."),
    (
        "orchestrate noise.wav --evaluations 0 --orchestra Fl",
        "with: --evaluations must be more than 0",
    ),
    ("orchestrate noise.wav -n 0 --orchestra Fl", ": --solutions must lie between 1 and"),
    ("orchestrate noise.wav --pitch-range C6 C2 --orchestra Fl", "The lowest pitch, C6, lies above the highest, C2."),
    ("orchestrate noise.wav --distance near", "Unknown distance 'near'"),
    ("orchestrate noise.wav --dynamics loud --orchestra Fl", "Unknown dynamic 'loud'"),
    ("orchestrate noise.wav -o text.wav/out", "'text.wav' cannot be a folder"),
    ("render missing.json", "There is no file 'missing.json'."),
    ("render bad.json", "bad.json is no solution in JSON"),
    ("render text.wav", "text.wav holds no note"),
    ("render empty.wav", "empty.wav holds no note"),
    ("render folder.wav", "There is no file 'folder.wav'."),
    ("render bad.json --tempo 1", "--tempo must lie between 20 and 400, but is 1.0."),
    ("export-onnx text.wav/a.onnx", "choose a folder that you may write to."),
    ("train --folder text.wav", "'text.wav' cannot be a folder (File exists): choose another."),
    ("train --checkpoint text.wav/a", "'text.wav' cannot be a folder"),
    ("train --tensorboard text.wav", "text.wav' cannot be a folder (File exists): choose another."),
    ("run --folder missing", "There are no numbered notebooks"),
    ("run --folder text.wav", "There are no numbered notebooks"),
    ("run --repeat missing", "missing is no run folder"),
    ("figures missing", "Unknown figure 'missing'."),
]


@pytest.mark.parametrize(("line", "sentence"), WRONG)
def test_a_wrong_input_is_one_sentence_and_status_2(home, line, sentence, capsys):
    assert cli.main(line.split()) == 2
    printed = capsys.readouterr()
    assert printed.out in ("", "{}\n")
    (said,) = printed.err.splitlines()
    assert said.startswith(f"deeporch {line.split()[0]}: ")
    assert sentence in said


@pytest.mark.parametrize("name", ["instruments", "techniques", "train"])
def test_a_library_that_is_not_there(name, capsys):
    for arguments, sentence in (
        (["--library", "none"], "Unknown library 'none'."),
        (
            ["--library", "sol", "--root", "missing"],
            "'missing': give --root a folder that has the recordings.",
        ),
        (["--library", "sol"], "-…) as --root, or set DEEPORCH_SOL_ROOT to it."),
        (["--root", __file__], "cannot be read as a SoundFont"),
    ):
        assert cli.main([name, *arguments]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("train --minutes nan", "argument --minutes: must be more than 0, but is nan"),
        ("train --epochs 0", "argument --epochs: must be more than 0, but is 0"),
        ("train --epochs 2.5", "argument --epochs: must be a whole number, but is 2.5"),
        ("train --test -1", "argument --test: must be more than 0, but is -1"),
        ("run --timeout 0", "argument --timeout: must be more than 0, but is 0"),
        ("recognize -n 0 a.wav", "argument -n: must be more than 0, but is 0"),
        ("recognize -n two a.wav", "argument -n: invalid whole value: 'two'"),
        ("train --features cqt", "argument --features: invalid choice: 'cqt'"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_loaded(line, reason, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(line.split())
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("way", [[], ["--over-time"], ["--explain"]])
def test_the_right_files_are_answered_beside_a_wrong_one(home, way, capsys):
    assert cli.main(["recognize", "missing.wav", "noise.wav", *way]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "noise.wav"
    assert printed.err == "deeporch recognize: There is no sound file 'missing.wav'.\n"


def test_a_folder_without_rights_is_named_before_the_work(home, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # a superuser may write everywhere
    for line in ("orchestrate noise.wav -o out/bell", "train --folder out", "train --checkpoint out/mine"):
        assert cli.main(line.split()) == 2
        assert "Nothing can be written in the folder 'out': choose another." in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.COMMANDS)
@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "No space", "x"), 2)])
def test_every_command_ends_without_a_traceback(name, error, status, monkeypatch, capsys):
    def fail(options):
        raise error

    monkeypatch.setitem(cli.COMMANDS, name, (*cli.COMMANDS[name][:3], fail))
    assert cli.main([name, *LEAST.get(name, [])]) == status
    said = {130: "\nInterrupted.\n", 2: f"deeporch {name}: 'x' cannot be used (No space): look at the path"}[status]
    assert capsys.readouterr().err.startswith(said)


def test_the_status_is_documented(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "0 done; 1 something failed on the way; 2 an input was wrong" in words


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_whoever_reads_may_go_away(name):
    """As with ``| head -1``: the reader is gone before the first line."""
    code = f"from deeporch import cli\nname = {name!r}\n"
    code += "cli.COMMANDS[name] = (*cli.COMMANDS[name][:3], lambda options: print('a line\\n' * 20_000) or 0)\n"
    code += f"raise SystemExit(cli.main([name, *{LEAST.get(name, [])!r}]))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("line", ["run --list", "recognize no.wav", "instruments --library sol --root ."])
@pytest.mark.parametrize("after", [0.3, 0.8])
def test_an_interrupt_at_any_time_has_no_traceback(line, after, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", "from deeporch import cli; print(1, flush=True); raise SystemExit(cli.main())",
         *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert "Traceback" not in errors
    assert process.returncode in (130, 2)
