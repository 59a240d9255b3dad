"""The command that orchestrates, renders and lists: what it writes, reads back and says."""

import json
import re
import tomllib
from types import SimpleNamespace

import mido
import numpy as np
import pytest
import soundfile
from tqdm import tqdm

from deeporch import cli
from deeporch.export import folder as folders
from deeporch.orchestration.solution import Solution, SolutionNote

RATE = 44_100
ORCHESTRA = "Fl Ob ClBb Hn Vn Vc"
SMALL = ["--orchestra", ORCHESTRA, "-n", "2", "--evaluations", "600"]


@pytest.fixture
def home(tiny_library, tmp_path, monkeypatch):
    """A working folder with a sound, where the library is the tiny one."""
    monkeypatch.setattr("deeporch.notes.library.load_library", lambda name, root: tiny_library)
    monkeypatch.chdir(tmp_path)
    rows = [tiny_library.table.index[(tiny_library.table["pitch"] == pitch)][0] for pitch in ("A4", "E4")]
    sound = sum(np.pad(tiny_library.sound(int(row)).float().numpy(), (0, RATE))[:RATE] for row in rows)
    soundfile.write(tmp_path / "bell & <b>.wav", np.stack([sound, sound], 1), RATE)
    return tmp_path


@pytest.fixture
def stub(tiny_library, monkeypatch):
    """Replace the search by two notes, and record what it was asked."""
    asked = []

    def orchestrate(sound, notes, **options):
        asked.append(SimpleNamespace(sound=sound, **options))
        parts = [SolutionNote.of(notes, row, player, duration=1.5) for row, player in ((3, 0), (120, 3))]
        return [Solution(tuple(parts), tuple(ORCHESTRA.split()), notes, 0.25, "mel", 1.5, loudness=0.05)]

    monkeypatch.setattr("deeporch.orchestration.orchestrate.orchestrate", orchestrate)
    return asked


def written(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_named_after_the_target_has_everything(home, capsys):
    assert cli.main(["orchestrate", "bell & <b>.wav", *SMALL]) == 0
    printed, folder = capsys.readouterr().out, home / "bell & <b>"
    files = {f"solution_{k}/{file}" for k in (1, 2) for file in ("sound.wav", *folders.FILES.values())}
    files -= {f"solution_{k}/parts" for k in (1, 2)}
    found = {file for file in written(folder) if "_stems" not in file and "/parts/" not in file}
    assert found == files | {"index.html", "options.toml", "solutions.txt", "target.wav"}
    assert (folder / "solutions.txt").read_text() in printed
    assert "player  plays" in printed
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<h1>bell &amp; &lt;b&gt;</h1>" in page
    assert page.count("<audio") == 3
    target, rate = soundfile.read(folder / "target.wav")
    sound, _ = soundfile.read(folder / "solution_1" / "sound.wav")
    assert rate == RATE
    powers = [np.sqrt(np.square(each.reshape(len(each), -1)).mean()) for each in (target, sound)]
    assert powers[1] == pytest.approx(powers[0], rel=0.3)
    assert "<work-title>bell &amp; &lt;b&gt;<" in (folder / "solution_1" / "score.musicxml").read_text()
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []


def test_a_terminal_gets_a_screen_and_the_file_everything(home, stub, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for lines, shown in ((24, 4), (6, 2)):
        monkeypatch.setenv("LINES", str(lines))
        assert cli.main(["orchestrate", "bell & <b>.wav", "-o", f"out{lines}"]) == 0
        printed = capsys.readouterr().out.splitlines()
        everything = (home / f"out{lines}" / "solutions.txt").read_text().splitlines()
        assert len(everything) == 4
        assert printed[:shown] == everything[:shown]
        rest = [] if shown == 4 else ["… the other lines: out6/solutions.txt"]
        assert printed[shown:-1] == rest
        assert printed[-1].startswith("1 solution to hear and to read")
        assert len(printed) < lines


def test_progress_says_what_a_composer_says(home, monkeypatch, capsys):
    """How much is compared and how near it came; no options of the program and no percents a second."""
    monkeypatch.setattr("deeporch.util.progress.tqdm", lambda *a, **o: tqdm(*a, **{**o, "delay": 0, "mininterval": 0}))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert cli.main(["orchestrate", "bell & <b>.wav", *SMALL]) == 0
    said = capsys.readouterr().err
    assert re.search(r"search: \d+%\|.*\| \d\d:\d\d left, [\d,]+ mixtures compared, distance \d\.\d{4}", said)
    assert not re.search(r"evaluations|best|%/s", said)


def test_nothing_is_overwritten_and_options_come_back(home, stub, capsys):
    arguments = [
        "orchestrate",
        "bell & <b>.wav",
        "--fixed",
        "Fl C4",
        "--fixed",
        "Vn E4 ff",
        "--retune",
        "--max-notes",
        "4",
        "--pitch-range",
        "C4",
        "B4",
        "--segments",
        "0 0.4 0.7",
        "--continuity",
        "0.6",
        "--seed",
        "3",
    ]
    assert cli.main(arguments) == 0
    before = {file: (home / "bell & <b>" / file).read_bytes() for file in written(home / "bell & <b>")}
    options = home / "bell & <b>" / "options.toml"
    assert tomllib.loads(options.read_text())["fixed"] == ["Fl C4", "Vn E4 ff"]
    assert cli.main(["orchestrate", "-c", str(options), "--seed", "4"]) == 0
    assert {file: (home / "bell & <b>" / file).read_bytes() for file in before} == before
    assert (home / "bell & <b>-2" / "index.html").is_file()
    first, second = stub
    assert (first.seed, second.seed) == (3, 4)
    assert first.segments == second.segments == [0.4, 0.7]
    for name in ("fixed", "retune", "max_notes", "pitch_range", "continuity"):
        assert getattr(first, name) == getattr(second, name)
    assert "distance" not in vars(first), "the library's own choice"
    capsys.readouterr()
    options.write_text("max_note = 4")
    assert cli.main(["orchestrate", "-c", str(options)]) == 2
    assert "did you mean 'max_notes'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "seed = 'x'", "seed = true", "seed = 1.5", "orchestra = 3", "orchestra = ['Fl', 'Ob']", "retune = 'yes'",
        "fixed = 'Vc C2'", "fixed = [3]", "pitch_range = ['C2']", "pitch_range = 'C2 C6'", "begin = '1.2'",
        "target = 1", "room = nan", "output = ''\nlibrary = {}", "help = true", "config = 'other.toml'",
    ],
)  # fmt: skip
def test_an_option_of_another_type_in_a_file_is_one_sentence(home, line, capsys):
    (home / "wrong.toml").write_text(line)
    assert cli.main(["orchestrate", "bell & <b>.wav", "-c", str(home / "wrong.toml")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line.split("=")[0].strip().replace("output", "library") in said


def test_part_of_a_file_and_a_fixed_note_before_the_target(home, stub):
    assert cli.main(["orchestrate", "--fixed", "Fl C4", "bell & <b>.wav", "--from", "0.2", "--to", "0.7"]) == 0
    assert (stub[0].fixed, stub[0].sample_rate) == (["Fl C4"], RATE)
    assert len(stub[0].sound) == round(0.5 * RATE)


@pytest.mark.parametrize("given", ["words", "midi"])
def test_a_chord_in_notes_or_midi_is_a_target(home, stub, given):
    midi = mido.MidiFile()
    midi.tracks.append(mido.MidiTrack())
    for pitch in (60, 64, 67, 70):
        midi.tracks[0].append(mido.Message("note_on", note=pitch, velocity=90))
    for k, pitch in enumerate((60, 64, 67, 70)):
        midi.tracks[0].append(mido.Message("note_off", note=pitch, time=0 if k else 960))
    midi.save(home / "four.mid")
    assert cli.main(["orchestrate", "C4 E4 G4 Bb4" if given == "words" else "four.mid"]) == 0
    assert stub[0].pitches == [60, 64, 67, 70]
    spectrum = np.abs(np.fft.rfft(stub[0].sound[: RATE // 2]))
    for hertz in (261.6, 329.6, 392.0, 466.2):
        assert spectrum[round(hertz / 2) - 1 : round(hertz / 2) + 2].max() > 0.3 * spectrum.max()
    assert (home / ("chord" if given == "words" else "four") / "target.wav").is_file()


def test_a_form_that_fails_keeps_nothing_else_back(home, stub, monkeypatch, capsys):
    def broken(self, path, **options):
        raise RuntimeError("no such clef")

    monkeypatch.setattr(Solution, "to_musicxml", broken)
    assert cli.main(["orchestrate", "bell & <b>.wav", "-o", "out"]) == 1
    out = capsys.readouterr()
    assert out.err.strip().splitlines()[-1] == (
        "deeporch orchestrate: all but these were written: score.musicxml of solution 1: no such clef"
    )
    assert "Solution 1" in (home / "out" / "solutions.txt").read_text()
    files = written(home / "out" / "solution_1")
    assert {"solution.json", "connection.txt", "score.mid", "sound.wav"} <= files
    assert "score.musicxml" not in files


def test_more_than_fifteen_instruments_are_written(home, tiny_library, monkeypatch):
    names = [f"X{k} Ω" for k in range(20)]

    def orchestrate(sound, notes, **options):
        rows = notes.table.copy()
        parts = [SolutionNote(k, k, name, "C4", 60, "mf", duration=1) for k, name in enumerate(names)]
        return [Solution(tuple(parts), tuple(names), notes, 0.25, "mel", 1.5)] if len(rows) else []

    monkeypatch.setattr("deeporch.orchestration.orchestrate.orchestrate", orchestrate)
    assert cli.main(["orchestrate", "bell & <b>.wav", "-o", "out"]) == 0
    assert len(mido.MidiFile(home / "out" / "solution_1" / "score.mid", charset="utf-8").tracks) == 21


@pytest.mark.parametrize("file", ["solution.json", "connection.txt"])
def test_saved_solutions_are_rendered_again(home, stub, file, capsys):
    assert cli.main(["orchestrate", "bell & <b>.wav", "-o", "out"]) == 0
    assert cli.main(["render", f"out/solution_1/{file}", "-o", "again", "--room", "1.5", "--tempo", "72"]) == 0
    first, again = (json.loads((home / name / "solution_1" / "solution.json").read_text()) for name in ("out", "again"))
    assert again["notes"] == first["notes"]
    assert "<per-minute>72<" in (home / "again" / "solution_1" / "score.musicxml").read_text()
    lengths = [soundfile.info(home / name / "solution_1" / "sound.wav").duration for name in ("out", "again")]
    assert lengths[1] - lengths[0] == pytest.approx(1.5, abs=0.01)
    capsys.readouterr()
    assert cli.main(["render", "none.json"]) == 2
    assert "There is no file 'none.json'." in capsys.readouterr().err


def test_bad_input_is_one_sentence(home, capsys):
    (home / "file").write_text("in the way")
    for arguments, sentence in (
        (["none.wav", "--orchestra", "Fl"], "There is no sound file 'none.wav'."),
        (["none.wav", "-o", "file/out"], "cannot be a folder"),
        (["bell & <b>.wav", "--orchestra", "Flx"], "Unknown instrument 'Flx'"),
        (["bell & <b>.wav", "--from", "3"], "is no part of 'bell & <b>.wav', which lasts 1.00 s."),
        (["none.mid"], "There is no MIDI file 'none.mid'."),
        (["file.mid"], "There is no MIDI file"),
        ([], "Name the sound to orchestrate"),
    ):
        assert cli.main(["orchestrate", *arguments]) == 2
        assert sentence in capsys.readouterr().err.strip().splitlines()[-1]
    assert {path.name for path in home.iterdir()} == {"file", "bell & <b>.wav"}, "no folder is left"


def test_lists_of_instruments_and_techniques(home, capsys):
    assert cli.main(["instruments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    flute = next(line for line in lines if line.startswith("Fl "))
    assert flute.split() == ["Fl", "Flute", "woodwinds", "C4", "B4", "36", "pp", "mf", "ff"]
    assert cli.main(["techniques"]) == 0
    assert "(ordinary)" in capsys.readouterr().out
