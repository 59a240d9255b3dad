import dataclasses
import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pretty_midi
import pytest
import soundfile
import torch

from deeporch.export import midi, wav
from deeporch.notes.library import NoteLibrary
from deeporch.orchestration import saved
from deeporch.orchestration.solution import Solution, SolutionNote

RATE = 44_100
WRITERS = ("to_wav", "to_musicxml", "to_midi", "to_json", "to_connection")


def row(library, instrument, pitch, dynamic):
    table = library.table
    found = table[(table["instrument"] == instrument) & (table["pitch"] == pitch) & (table["dynamic"] == dynamic)]
    return int(found.index[0])


@pytest.fixture
def solution(tiny_library):
    notes = (
        SolutionNote.of(tiny_library, row(tiny_library, "Fl", "A4", "pp"), 0, onset=0.25, duration=1.0, cents=-30),
        SolutionNote.of(tiny_library, row(tiny_library, "Fl", "C4", "mf"), 0, onset=1.5, duration=0.4, cents=140),
        SolutionNote.of(tiny_library, row(tiny_library, "Ob", "C4", "ff"), 1, duration=0.5, gain=0.5),
        SolutionNote.of(tiny_library, row(tiny_library, "Vn", "E4", "ff"), 2, duration=2.0, gain=0.5),
    )
    return Solution(notes, ("Fl", "Ob|ClBb", "Vn", "Vc"), tiny_library, 0.125, "cosine", 2.0)


def only(solution, *players):
    return dataclasses.replace(solution, notes=[note for note in solution.notes if note.player in players])


def test_wav_holds_every_player_at_his_place(solution, tmp_path):
    audio, rate = soundfile.read(solution.to_wav(tmp_path / "all.wav"), always_2d=True)
    assert (rate, audio.shape) == (RATE, (2 * RATE, 2))
    assert soundfile.info(tmp_path / "all.wav").subtype == "PCM_24"
    gains = wav.panning(solution)
    np.testing.assert_allclose((gains**2).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(audio, np.einsum("ps,pc->sc", solution.stems(), gains), atol=1e-6)
    levels = {}
    for player in (0, 1, 2):
        alone, _ = soundfile.read(only(solution, player).to_wav(tmp_path / f"{player}.wav"))
        left, right = (alone**2).sum(0)
        levels[player] = right / (left + right)
    assert levels[2] < 0.15, "violins sit on the conductor's left"
    assert levels[2] < levels[0] < 0.5 < levels[1], "the flutes left of the middle, the oboes right of it"


def test_wav_never_clips(tiny_library, tmp_path):
    loud = SolutionNote.of(tiny_library, row(tiny_library, "Vn", "E4", "ff"), 0, gain=9.0)
    loud = Solution((loud,), ("Vn",), tiny_library, 0.0, "cosine", 1.0)
    audio, _ = soundfile.read(loud.to_wav(tmp_path / "loud.wav"))
    assert np.abs(audio).max() == pytest.approx(0.95, abs=1e-4)


def test_players_of_one_instrument_sit_side_by_side(tiny_library):
    gains = wav.panning(Solution((), ("Fl", "Fl", "Fl", "Vc"), tiny_library, 0.0, "cosine", 1.0))
    assert (np.diff(gains[:3, 1]) > 0.02).all()
    assert gains[3, 1] > gains[2, 1]


def test_the_room_decays_by_60_db_in_its_time(solution, tmp_path):
    rate, click = 8000, torch.zeros(1, 80)
    click[0, :2] = torch.tensor([1.0, 0.5])
    library = NoteLibrary.from_audio(pd.DataFrame({"instrument": ["Vc"], "midi": [60]}), click, sample_rate=rate)
    note = Solution((SolutionNote.of(library, 0, 0),), ("Vc",), library, 0.0, "cosine", 0.1)
    audio, _ = soundfile.read(note.to_wav(tmp_path / "room.wav", room=1.0))
    assert len(audio) == pytest.approx(1.1 * rate, abs=2)
    tail = audio[rate // 100 :, 1]
    level = 10 * np.log10([np.mean(tail[start : start + 800] ** 2) for start in range(0, 6400, 800)])
    slope = np.polyfit(np.arange(8) * 0.1, level, 1)[0]
    assert slope == pytest.approx(-60, abs=4)
    dry = soundfile.read(note.to_wav(tmp_path / "dry.wav"))[0]
    assert len(dry) == rate // 10
    with pytest.raises(ValueError, match=r"room must lie between 0 and 10, but is -1\."):
        note.to_wav(tmp_path / "room.wav", room=-1)


def test_midi_has_pitches_times_velocities_programs_and_bends(solution, tmp_path):
    midi = pretty_midi.PrettyMIDI(str(solution.to_midi(tmp_path / "solution.mid")))
    tracks = {part.name: part for part in midi.instruments}
    assert set(tracks) == {"Flute", "Oboe", "Violin"}
    assert [tracks[name].program for name in ("Flute", "Oboe", "Violin")] == [73, 68, 40]
    flute = [(n.pitch, round(n.start, 2), round(n.end, 2), n.velocity) for n in tracks["Flute"].notes]
    assert flute == [(69, 0.25, 1.25, 32), (61, 1.5, 1.9, 80)]
    bends = [(round(bend.time, 2), 200 * bend.pitch / 8192) for bend in tracks["Flute"].pitch_bends]
    assert bends == [(0.25, pytest.approx(-30, abs=0.03)), (1.5, pytest.approx(40, abs=0.03))], "140 is C#4 and 40"
    assert [(n.pitch, n.velocity) for n in tracks["Violin"].notes] == [(64, 112)]


def test_velocities_rise_with_the_dynamic():
    levels = [midi.velocity(dynamic) for dynamic in ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")]
    assert levels == [16, 32, 48, 64, 80, 96, 112, 127]
    assert midi.velocity("crescendo") == 80


def test_midi_of_many_players_shares_tracks(tiny_library, tmp_path):
    flute = SolutionNote.of(tiny_library, row(tiny_library, "Fl", "A4", "pp"), 0, cents=20)
    many = Solution([dataclasses.replace(flute, player=i) for i in range(16)], ["Fl"] * 16, tiny_library, 0, "x", 1.0)
    (track,) = pretty_midi.PrettyMIDI(str(many.to_midi(tmp_path / "many.mid"))).instruments
    assert (len(track.notes), track.name, track.pitch_bends) == (16, "Flute", [])
    strange = [dataclasses.replace(flute, player=i, instrument=f"X{i}") for i in range(16)]
    strange = Solution(strange, [f"X{i}" for i in range(16)], tiny_library, 0, "x", 1.0)
    with pytest.raises(ValueError, match="MIDI has 15 channels, but 16 different instruments play: write MusicXML"):
        strange.to_midi(tmp_path / "strange.mid")
    assert not (tmp_path / "strange.mid").exists()


def test_musicxml_is_a_score_of_every_player(solution, tmp_path):
    root = ElementTree.parse(solution.to_musicxml(tmp_path / "score.musicxml", tempo=90)).getroot()
    assert [name.text for name in root.iter("part-name")] == ["Flute", "Oboe / Clarinet in B flat", "Violin", "Cello"]
    assert root.find(".//per-minute").text == "90"
    assert len(root.findall("part")) == 4


def test_json_comes_back(solution, tiny_library, tmp_path):
    path = solution.to_json(tmp_path / "solution.json")
    card = json.loads(path.read_text(encoding="utf-8"))
    assert card["notes"][0]["cents"] == -30
    assert card["library"] == {"name": "tiny", "key": tiny_library.key}
    again = saved.from_json(path, tiny_library)
    assert again == solution
    np.testing.assert_array_equal(again.render(), solution.render())
    unknown = dataclasses.replace(solution, distance=float("nan"))
    assert np.isnan(saved.from_json(unknown.to_json(path), tiny_library).distance)
    assert "NaN" not in path.read_text(encoding="utf-8"), "JSON has no such number"


def test_json_finds_its_notes_in_another_library(solution, tiny_library, tmp_path):
    path = solution.to_json(tmp_path / "solution.json")
    shuffled = tiny_library.take(np.arange(len(tiny_library))[::-1].copy())
    again = saved.from_json(path, shuffled)
    assert [note.note for note in again.notes] == [215 - note.note for note in solution.notes]
    np.testing.assert_array_equal(again.render(), solution.render())
    with pytest.raises(ValueError, match=r"^solution\.json: the library 'tiny' has no Fl A4 pp ord; its instr"):
        saved.from_json(path, tiny_library.select(instruments="Ob Vn"))


def test_what_is_no_solution_is_one_sentence(solution, tiny_library, tmp_path):
    path = solution.to_json(tmp_path / "solution.json")
    whole = json.loads(path.read_text(encoding="utf-8"))
    lacking = {key: value for key, value in whole.items() if key != "orchestra"}
    words = [{**whole, "notes": [{**whole["notes"][0], "midi": "high"}]}, lacking, [], {**whole, "seconds": None}]
    for text in ("{not json", "", *map(json.dumps, words)):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"^solution\.json is no solution in JSON as to_json writes it \(.+\)\.$"):
            saved.from_json(path, tiny_library)
    with pytest.raises(FileNotFoundError, match=r"There is no file '.*none\.json'\."):
        saved.from_json(tmp_path / "none.json", tiny_library)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_that_cannot_be_written_is_one_sentence(solution, tmp_path, writer):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"^'.*file/out' cannot be written \(.+\): choose a folder that you may write to"):
        getattr(solution, writer)(tmp_path / "file" / "out")


@pytest.mark.parametrize("writer", WRITERS)
def test_files_are_whole_or_not_there(solution, tmp_path, writer, monkeypatch):
    path = getattr(solution, writer)(tmp_path / "deep" / "er" / "out")
    assert path == tmp_path / "deep" / "er" / "out"
    before = path.read_bytes()
    assert len(before) > 100

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deeporch.util.files.os.replace", broken)
    with pytest.raises(OSError, match="No space left on device"):
        getattr(solution, writer)(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["out"]
