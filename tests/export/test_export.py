import dataclasses
import json
import resource
import signal
from xml.etree import ElementTree

import mido
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
from deeporch.util.audio import loudness

RATE = 44_100
WRITERS = ("to_wav", "to_musicxml", "to_midi", "to_json", "to_connection", "to_svg", "to_bach")


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


def test_midi_of_many_players_has_a_channel_each(tiny_library, tmp_path):
    flute = SolutionNote.of(tiny_library, row(tiny_library, "Fl", "A4", "pp"), 0, cents=20)
    strange = [dataclasses.replace(flute, player=i, instrument=f"X{i} Ω") for i in range(40)]
    many = Solution(strange, [f"X{i} Ω" for i in range(40)], tiny_library, 0, "x", 1.0)
    path = many.to_midi(tmp_path / "many.mid")
    assert len(pretty_midi.PrettyMIDI(str(path)).instruments) == 40
    tracks = mido.MidiFile(path, charset="utf-8").tracks[1:]
    where = [(t[1].port, next(m.channel for m in t if m.type == "note_on")) for t in tracks]
    assert len(set(where)) == 40, "so that each may be retuned"
    assert 9 not in {channel for _, channel in where}, "the percussion's"
    assert tracks[39].name == "X39 Ω"


def test_a_swell_is_expression_in_midi(tiny_library, tmp_path):
    note = SolutionNote.of(tiny_library, row(tiny_library, "Fl", "A4", "pp"), 0, duration=2, swell=-20)
    path = Solution((note,), ("Fl",), tiny_library, 0, "x", 2.0).to_midi(tmp_path / "a.mid")
    values = [m.value for m in mido.MidiFile(path).tracks[1] if m.type == "control_change"]
    assert len(values) == 20
    assert values[0] == 127
    assert values[-1] == round(127 * 10 ** (-20 / 40))
    assert values == sorted(values, reverse=True)


def test_wav_is_as_loud_as_the_target(solution, tmp_path):
    for wanted in (0.02, 0.1):
        loud = dataclasses.replace(solution, loudness=wanted)
        audio, _ = soundfile.read(loud.to_wav(tmp_path / "loud.wav"))
        assert loudness(audio) == pytest.approx(wanted, rel=1e-3)


def test_a_bach_roll_has_a_voice_a_player(solution, tmp_path):
    text = solution.to_bach(tmp_path / "roll.txt").read_text(encoding="utf-8")
    assert text.count("[") == text.count("]")
    assert text.splitlines()[0] == 'roll [ clefs G G G ] [ voicenames "Flute" "Oboe / Clarinet in B flat" "Violin" ]'
    assert '[ 250 [ 6870 1000 32 [ slots [ 20 "pp" ] ] 0 ] 0 ]' in text
    assert "[ 1500 [ 6140 400 80" in text


def test_a_reaper_project_has_a_track_and_a_sound_a_player(solution, tmp_path):
    text = solution.to_reaper(tmp_path / "bell.rpp").read_text(encoding="utf-8")
    files = [line.split('"')[1] for line in text.splitlines() if line.strip().startswith("FILE")]
    assert files == ["bell_stems/01_Fl.wav", "bell_stems/02_Ob_ClBb.wav", "bell_stems/03_Vn.wav"]
    assert text.count("<TRACK") == 3
    assert sum(line.strip().startswith("<") for line in text.splitlines()) == sum(
        line.strip() == ">" for line in text.splitlines()
    )
    stems = [soundfile.read(tmp_path / file)[0] for file in files]
    np.testing.assert_allclose(sum(stems), solution.render(), atol=1e-5)


def test_a_full_disk_is_an_oserror(solution, tmp_path):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match="cannot be written"):
            solution.to_wav(tmp_path / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.iterdir())


def test_the_card_escapes_what_it_shows(solution):
    strange = dataclasses.replace(solution, title="<b>&", distance_name="<script>")
    card = dataclasses.replace(
        strange, notes=[dataclasses.replace(n, technique="<i>") for n in strange.notes]
    )._repr_html_()
    for tag in ("<b>", "<script>", "<i>"):
        assert tag not in card


def test_musicxml_is_a_score_of_every_player(solution, tmp_path):
    root = ElementTree.parse(solution.to_musicxml(tmp_path / "score.musicxml", tempo=90)).getroot()
    assert [name.text for name in root.iter("part-name")] == ["Flute", "Oboe / Clarinet in B flat", "Violin"]
    assert root.find(".//per-minute").text == "90"
    assert len(root.findall("part")) == 3, "the cello is silent"


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
    note = whole["notes"][0]
    wild = [whole | {"notes": [note | {"gain": float("nan")}]}, whole | {"distance": float("inf")}]
    words = [
        *wild,
        {**whole, "notes": [{**whole["notes"][0], "midi": "high"}]},
        lacking,
        [],
        {**whole, "seconds": None},
    ]
    for text in ("{not json", "", "[" * 99999, json.dumps(whole).replace("0.125", "1e999"), *map(json.dumps, words)):
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
