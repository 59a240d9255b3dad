"""OrchestrationExplorer: a sound, an orchestra, a search that can be stopped, and what is done with its solutions."""

import io
import time
from types import SimpleNamespace

import mido
import numpy as np
import pytest
import soundfile

from deeporch.export.staves import desk
from deeporch.orchestration.orchestrate import orchestrate
from deeporch.plots import svg
from deeporch.widgets import audio
from deeporch.widgets.orchestration_explorer import OrchestrationExplorer

RATE = 44_100
pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


@pytest.fixture(scope="module")
def chord(tiny_library):
    """An oboe's C4 and a cello's G4, as they are in the library."""
    table = tiny_library.table
    fits = (table["dynamic"] == "mf") & ((table["instrument"] + table["pitch"]).isin(["ObC4", "VcG4"]))
    sounds = tiny_library.audio[fits.to_numpy().nonzero()[0].tolist(), :RATE].float().sum(0).numpy()
    orchestrate(sounds, tiny_library, ["Ob"], sample_rate=RATE, evaluations=100)  # the notes' spectra are kept
    return sounds


@pytest.fixture
def explorer(tiny_library, chord):
    made = OrchestrationExplorer(tiny_library, chord, sample_rate=RATE, networks=[])
    made.evaluations, made.seconds, made.count = 4_000, 1_000.0, 3
    return made


@pytest.fixture
def found(explorer):
    explorer.search()
    assert explorer.wait(300)
    assert explorer.message.text.startswith("Done: 3 solutions")
    return explorer


def heard(explorer):
    return [soundfile.read(io.BytesIO(data))[0] for data in explorer._switch.sounds]


def names(explorer, k=0):
    return {f"{n.instrument} {n.pitch}" for n in explorer.solutions[k].notes}


def test_it_finds_what_sounds_and_shows_the_way(found):
    assert {"Ob C4", "Vc G4"} <= names(found)
    compared, best = zip(*found.curve, strict=True)
    assert list(compared) == sorted(compared)
    finite = [value for value in best if np.isfinite(value)]
    assert finite == sorted(finite, reverse=True)
    assert finite[-1] < finite[0]
    assert "mixtures compared" in found._curve.value
    assert len(found._parts.children) == len(found.solutions[0].notes)
    assert [s.distance for s in found.solutions] == sorted(s.distance for s in found.solutions)


def test_target_and_solutions_are_heard_equally_loud(found):
    sounds = heard(found)
    assert len(sounds) == 4
    assert found._switch.names[0] == "target"
    levels = [audio._lufs(each.astype(np.float32), RATE) for each in sounds]
    assert max(levels) - min(levels) < 0.1
    assert max(np.abs(each).max() for each in sounds) <= 0.96
    assert np.corrcoef(sounds[0][:20_000], sounds[1][:20_000])[0, 1] > 0.5


def test_muted_players_are_not_heard(found):
    solution = found.solutions[0]
    player = solution.notes[0].player
    others = [p for p in range(len(solution.orchestra)) if p != player]
    found._parts.children[0].children[1].value = True
    muted = found.muted[0]
    others = [p for p in range(len(solution.orchestra)) if p != muted]
    np.testing.assert_allclose(found.render(0), solution.render(players=others), atol=1e-7)
    expected = audio.matched([found.target.numpy(), *(found.render(k) for k in range(3))], RATE)[1]
    np.testing.assert_allclose(heard(found)[1], expected, atol=2e-4)
    found.muted = ()
    np.testing.assert_allclose(found.render(0), solution.render(), atol=1e-7)


def test_locked_notes_stay_when_the_search_goes_on(found):
    found._switch.index = 3
    assert found.chosen == 2
    line = found._parts.children[0]
    line.lock.value = True
    assert found.locked == (line.name,)
    found.seed = 1
    found.search()
    assert found.wait(300)
    for k in range(len(found.solutions)):
        assert line.name in {f"{n.instrument} {n.pitch} {n.dynamic}" for n in found.solutions[k].notes}
    found.locked = ()
    assert not any(line.lock.value for line in found._parts.children)


def test_it_stops_at_once_and_keeps_the_best(explorer):
    explorer.evaluations = None
    explorer.search()
    end = time.monotonic() + 300
    while len(explorer.curve) < 5:
        assert time.monotonic() < end
        time.sleep(0.01)
    explorer.search()
    assert "One thing at a time" in explorer.message.text
    explorer.load(np.ones(RATE), RATE)
    assert "A search is running" in explorer.message.text
    explorer.stop()
    before = len(explorer.curve)
    assert explorer.wait(300)
    assert len(explorer.curve) <= before + 2, "it compares no more than what it is at"
    assert explorer.message.text.startswith("Stopped: ")
    assert explorer.solutions


def test_files(found):
    files = found.files(0)
    wav, rate = soundfile.read(io.BytesIO(files["WAV"]))
    assert (wav.ndim, rate) == (2, RATE)
    assert b"<score-partwise" in files["MusicXML"]
    midi = mido.MidiFile(file=io.BytesIO(files["MIDI"]))
    played = sorted(m.note for track in midi.tracks for m in track if m.type == "note_on" and m.velocity)
    assert played == sorted(n.midi for n in found.solutions[0].notes)
    found._offer()
    assert "deeporch-score" not in found._score.value
    found.engrave()
    assert found.wait(120)
    assert found.message.text == ""
    assert "background:#fff" in found._score.value
    assert "<svg" in found._score.value
    for name in ("solution_1.wav", "solution_1.musicxml", "solution_1.mid"):
        assert f'download="{name}"' in found._links.value


def upload(explorer, data, name):
    explorer._uploaded({"new": ({"name": name, "content": memoryview(data)},)})


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3", "OGG", "AIFF"])
def test_sounds_are_uploaded(explorer, form):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone, tone], 1), 48_000, format=form)
    upload(explorer, file.getvalue(), f"a.{form.lower()}")
    assert len(explorer.target) / RATE == pytest.approx(0.5, abs=0.06)
    spectrum = np.abs(np.fft.rfft(explorer.target[:20_000].numpy()))
    assert spectrum.argmax() * RATE / 20_000 == pytest.approx(440, abs=3)
    assert explorer.solutions == []
    assert "search" in explorer.message.text


def test_a_sound_is_recorded(explorer):
    """What the page sends: 16-bit samples and their rate together; or why there is no microphone."""
    tone = 16_000 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    explorer._recorder.set_state({"samples": memoryview(tone.astype("<i2").tobytes()), "rate": 48_000})
    assert explorer.message.text == "A sound of 0.5 s: search."
    spectrum = np.abs(np.fft.rfft(explorer.target[:20_000].numpy()))
    assert spectrum.argmax() * RATE / 20_000 == pytest.approx(440, abs=3)
    explorer._recorder.set_state({"problem": "Permission denied"})
    assert explorer.message.text.startswith("The microphone cannot be used (Permission denied): allow it")
    assert 'role="alert"' in explorer.message.value
    explorer._recorder.set_state({"samples": memoryview(bytes(48_000))})
    assert "is silent" in explorer.message.text


def test_what_goes_wrong_is_a_sentence(explorer, tiny_library):
    before = explorer.target
    upload(explorer, b"no sound at all", "text.wav")
    assert explorer.message.text == "'text.wav' cannot be read: give WAV, FLAC, MP3, OGG or AIFF."
    assert 'role="alert"' in explorer.message.value
    upload(explorer, audio.encode(np.zeros(RATE), RATE), "silent.wav")
    assert "is silent" in explorer.message.text
    explorer.load("nowhere.wav")
    assert "no sound file" in explorer.message.text
    assert explorer.target is before
    explorer.orchestra = ()
    explorer.search()
    assert explorer.wait(300)
    assert "The orchestra has no player" in explorer.message.text
    explorer._offer()
    assert "no solution yet" in explorer.message.text
    empty = OrchestrationExplorer(tiny_library, networks=[])
    empty.search()
    assert "There is no sound yet" in empty.message.text


def test_what_may_be_played_is_limited(explorer):
    """The range, what must sound and the texture reach the search; the curve never rises."""
    explorer.lowest, explorer.highest = 64, 71
    explorer._must.value = "Hn F4, Ob A4 ff"
    assert explorer.locked == ("Hn F4", "Ob A4 ff")
    explorer.texture, explorer.retune = "sparse", True
    explorer.search()
    assert explorer.wait(300)
    assert explorer.message.text.startswith("Done: ")
    sparse = explorer.solutions
    for solution in sparse:
        played = {f"{n.instrument} {n.pitch} {n.dynamic}" for n in solution.notes}
        assert "Ob A4 ff" in played
        assert any(name.startswith("Hn F4 ") for name in played)
        assert all(64 <= note.midi <= 71 for note in solution.notes)
    best = [value for _, value in explorer.curve if np.isfinite(value)]
    assert best == sorted(best, reverse=True)
    explorer.texture = "full"
    explorer.search()
    assert explorer.wait(300)
    assert len(explorer.solutions[0].notes) >= len(sparse[0].notes)
    explorer.locked = ("Vc C2 xx",)
    assert explorer._must.value == "Vc C2 xx"
    explorer.search()
    assert explorer.wait(300)
    assert "Vc C2 xx" in explorer.message.text


def test_a_curve_that_is_told_of_a_worse_part_stays(explorer):
    for evaluations, best in ((10, np.inf), (20, 0.5), (30, 0.7), (40, 0.4)):
        explorer._tell(evaluations, best, 0.1)
    assert explorer.curve == [(10, np.inf), (20, 0.5), (30, 0.5), (40, 0.4)]


def test_a_part_of_the_sound_is_the_target(explorer, chord):
    explorer.begin, explorer.end = 0.25, 0.75
    assert len(explorer.target) == pytest.approx(RATE / 2, abs=2)
    first = heard(explorer)[0]
    assert np.corrcoef(first, chord[RATE // 4 : RATE // 4 + len(first)])[0, 1] > 0.99
    assert explorer.message.text == "A sound of 0.5 s: search."
    explorer.begin = 0.9
    assert explorer.message.text == "The part of the sound ends before it begins."


def test_players_are_called_by_their_desks(found):
    two = SimpleNamespace(orchestra=("Fl", "Ob|EH", "Fl", "Vc"))
    assert [name + desk(two, k) for k, name in enumerate(two.orchestra)] == ["Fl 1", "Ob|EH", "Fl 2", "Vc"]
    note = min(found.solutions[0].notes, key=lambda n: (n.player, n.onset))
    assert found._parts.children[0].children[0].value.startswith(f"{note.instrument}: {note.pitch} {note.dynamic}")


def test_the_orchestra_is_picked_from_chips(explorer):
    explorer._chips.value = ("Fl", "Vc")
    assert explorer.orchestra == ("Fl", "Vc")
    explorer.orchestra = ("Ob", "Ob", "Hn")
    assert explorer._chips.value == ("Ob", "Hn")
    assert explorer.orchestra == ("Ob", "Ob", "Hn")
    assert svg.curves([("best", [0], [float("inf")])], xlabel="x", ylabel="y").count("nothing yet") >= 1
