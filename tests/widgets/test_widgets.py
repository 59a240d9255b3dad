"""MixtureExplorer and what all widgets share, without a page: set the state, read the results."""

import io
import json
import re
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

import deeporch as do
from deeporch.features.constantq import ConstantQ
from deeporch.plots.svg import Partials, curves, heard_bars, spectrogram
from deeporch.recognition.recognizer import CHECKPOINTS
from deeporch.util.progress import progress
from deeporch.widgets import audio, controls
from deeporch.widgets.audio import player
from deeporch.widgets.controls import Chips, Message, Work, count
from deeporch.widgets.mixture_explorer import MixtureExplorer
from deeporch.widgets.networks import Networks, Remembered
from deeporch.widgets.note_controls import Placed

RATE = 44_100
pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


@pytest.fixture
def explorer(tiny_library, untrained):
    return MixtureExplorer(tiny_library, networks=[untrained], n=3, seed=1)


def row_of(library, instrument, pitch, dynamic="mf"):
    t = library.table
    return int(t.index[(t["instrument"] == instrument) & (t["pitch"] == pitch) & (t["dynamic"] == dynamic)][0])


# ---- Sound -----------------------------------------------------------------------------------------------------------


def decoded(element):
    """The samples of an audio element, and its tag."""
    import base64

    tag, data = re.search(r'(<audio [^>]*?)src="data:audio/\w+;base64,([^"]+)"', element).groups()
    return soundfile.read(io.BytesIO(base64.b64decode(data))), tag


def test_a_player_is_level_labelled_and_waits():
    tone = 0.01 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    shown = player(tone, RATE, label='an "A"').data
    (samples, rate), tag = decoded(shown)
    assert rate == RATE
    assert samples.ndim == 1
    assert 20 * np.log10(np.sqrt(np.mean(samples[2000:-2000] ** 2))) == pytest.approx(-20, abs=0.2)
    assert "autoplay" not in shown
    assert 'aria-label="an &quot;A&quot;"' in tag
    assert "controls" in tag
    with pytest.raises(ValueError, match=r"mono audio \[samples\], but got shape \[2, 100\]"):
        player(np.zeros((2, 100)))


def test_compared_sounds_are_equally_loud_and_none_clips():
    """Noise has the same spectrum whatever its level, so that equal loudness is equal RMS."""
    generator = np.random.default_rng(0)
    noise = generator.normal(size=2 * RATE).astype(np.float32)
    spiky = noise.copy()
    spiky[1000] = 40.0
    ours = audio.matched([0.1 * noise, 0.003 * noise, 0.2 * spiky], RATE)
    levels = [20 * np.log10(np.sqrt(np.mean(s[2000:] ** 2))) for s in ours]
    assert levels[0] == pytest.approx(levels[1], abs=0.05)
    assert levels[2] == pytest.approx(levels[0], abs=0.5)
    assert max(np.abs(s).max() for s in ours) == pytest.approx(0.95, abs=1e-3)
    fading = noise * np.exp(-3 * np.arange(len(noise)) / RATE)
    loud, soft = audio.matched([fading, 3e-4 * fading], RATE)
    np.testing.assert_allclose(loud, soft, atol=1e-4, err_msg="the level it had does not matter")
    silent, _ = audio.matched([np.zeros(1000), noise[:1000]], RATE)
    assert not silent.any()
    low = 0.5 * np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE)
    middle = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(RATE) / RATE)
    quiet, loud = audio.matched([middle, low], RATE)
    assert np.abs(loud).max() > 1.3 * np.abs(quiet).max(), "the ear hears 2 kHz louder than 50 Hz"


# ---- The mixture -----------------------------------------------------------------------------------------------------


def test_a_random_mixture_is_that_of_mixtures(explorer, tiny_library):
    """The same notes and the same samples as the package's own recipe of this seed."""
    recipe = do.Mixtures(tiny_library, do.Classes(tiny_library), n=3, size=1, seed=1)
    assert [note.row for note in explorer.placed] == recipe.indices[0].tolist()
    torch.testing.assert_close(explorer.audio, recipe.audio([0])[0], atol=1e-6, rtol=0)
    assert [f"{i} {p}" for i, p in explorer.truth] == recipe.labels(0)
    assert explorer.message.text == ""


def test_settings_draw_what_they_say(explorer, tiny_library):
    explorer.instruments = ("Ob", "Vc")
    explorer.dynamics = ("pp",)
    explorer.lowest, explorer.highest = 62, 64
    seen = set()
    for seed in range(8):
        explorer.seed = seed
        assert explorer.message.text == ""
        table = tiny_library.table.iloc[[note.row for note in explorer.placed]]
        assert set(table["dynamic"]) == {"pp"}
        assert table["midi"].between(62, 64).all()
        seen |= set(table["instrument"])
    assert seen == {"Ob", "Vc"}
    explorer.n = 5
    assert len(explorer.placed) == len(explorer.truth) == 5
    explorer.next()
    assert explorer.seed == 8


def test_what_is_impossible_is_said_and_changes_nothing(explorer):
    before = explorer.placed
    explorer.lowest, explorer.highest = 70, 65
    assert "lowest pitch lies above the highest" in explorer.message.text
    explorer.lowest, explorer.highest = 72, 72
    assert explorer.message.text == "No note is left: this library has none from C5 to C5."
    explorer.dynamics, explorer.instruments = ("pp",), ("Fl", "Ob")
    assert explorer.message.text == "No note is left: Fl or Ob has none played pp from C5 to C5."
    explorer.dynamics, explorer.instruments = (), ()
    explorer.lowest, explorer.highest = 65, 65
    explorer.instruments = ("Fl",)
    assert "A mixture of 3 distinct classes cannot be drawn: the pool has 1 classes." in explorer.message.text
    explorer.n = 1
    assert explorer.message.text == ""
    assert explorer.truth == [("Fl", "F4")]
    assert explorer.placed != before


def test_notes_placed_by_hand_have_level_onset_mute_and_solo(explorer, tiny_library):
    a, b = row_of(tiny_library, "Ob", "C4"), row_of(tiny_library, "Vc", "E4")
    explorer.placed = (Placed(a, level_db=-6), Placed(b, onset=0.5))
    signal = np.zeros(65_024)
    for row, gain, start in ((a, 10 ** (-6 / 20), 0), (b, 1.0, RATE // 2)):
        note = tiny_library.audio[row, : int(tiny_library.lengths[row])].double().numpy()[: len(signal) - start]
        signal[start : start + len(note)] += gain * note / 2
    np.testing.assert_allclose(explorer.audio.numpy(), signal, atol=1e-6)
    explorer.placed = (Placed(a, muted=True), Placed(b))
    alone = explorer.audio.clone()
    assert explorer.truth == [("Vc", "E4")]
    explorer.placed = (Placed(a), Placed(b, solo=True))
    torch.testing.assert_close(explorer.audio, alone)
    explorer.placed = (Placed(a, muted=True),)
    assert explorer.message.text == "No note sounds: add one, or unmute one."
    assert explorer.heard == {}


def test_the_controls_of_a_note_change_it_and_follow_it(explorer, tiny_library):
    explorer.placed = (Placed(row_of(tiny_library, "Ob", "C4")), Placed(row_of(tiny_library, "Vc", "E4")))
    first = explorer._rows[0]
    first._choices["instrument"].value = "Hn"
    assert explorer.truth == [("Hn", "C4"), ("Vc", "E4")]
    first._choices["pitch"].value = "D4"
    first._choices["dynamic"].value = "ff"
    assert explorer.placed[0] == Placed(row_of(tiny_library, "Hn", "D4", "ff"))
    first._level.value, first._onset.value, first._mute.value = -12, 0.25, True
    assert explorer.placed[0] == Placed(row_of(tiny_library, "Hn", "D4", "ff"), -12, 0.25, True)
    explorer.placed = (Placed(row_of(tiny_library, "Fl", "A4"), solo=True),)
    assert (first._choices["instrument"].value, first._level.value, first._solo.value) == ("Fl", 0, True)
    explorer.add()
    assert len(explorer.placed) == 2
    explorer._removed(0)
    assert len(explorer.placed) == 1


def test_it_sees_and_hears(explorer):
    seen = explorer.picture()
    assert seen.count("<svg") == 3
    for text in ("waveform", "mel spectrogram", "constant-Q", "time / s", "frequency / Hz"):
        assert text in seen
    for instrument, pitch in explorer.truth:
        assert seen.count(f"{instrument} {pitch}</text>") == 2
    assert len(explorer.heard["network 1"]) == 3
    (samples, _), tag = decoded(explorer._player.value)
    assert len(samples) == 65_024
    assert "The mixture" in tag
    assert len([row for row in explorer._rows if "<audio" in row._player.value]) == 3


def test_a_note_alone_in_constant_q_lies_on_its_first_line(tiny_library):
    """The fundamental is drawn where the transform has its energy."""
    features = ConstantQ()
    row = row_of(tiny_library, "Fl", "A4")
    audio = tiny_library.audio[row].float()[None]
    picture = features(audio)
    drawn = spectrogram(features, picture[0], [Partials("Fl A4", 440.0, 0, 1, "#ff0000")])
    y = float(re.search(r'y1="([\d.]+)"[^>]*stroke="#ff0000"', drawn).group(1))
    bin_drawn = (1 - (y - 18) / 200) * features.bins - 0.5
    assert bin_drawn == pytest.approx(int(picture[0, 0, :, 10].argmax()), abs=0.6)


def test_without_a_network_it_says_so(tiny_library):
    explorer = MixtureExplorer(tiny_library, networks=[])
    assert explorer.heard == {}
    assert "No trained network is here" in explorer._answers.value


def test_a_broken_network_is_a_sentence(tiny_library, tmp_path):
    (tmp_path / "broken.safetensors").write_text("nothing")
    explorer = MixtureExplorer(tiny_library, networks=[tmp_path / "broken.safetensors"])
    assert "is no checkpoint of deeporch" in explorer.message.text


def test_saving(explorer, tmp_path, tiny_library):
    path = explorer.save(tmp_path / "mine")
    recipe = do.Mixtures(tiny_library, do.Classes(tiny_library), n=3, size=1, seed=1)
    theirs = recipe.save(tmp_path / "theirs")
    assert path.read_bytes() == theirs.read_bytes()
    assert json.loads(path.with_suffix(".json").read_text()) == json.loads(theirs.with_suffix(".json").read_text())
    explorer._offer()
    assert explorer._saved.value.count("download=") == 2
    explorer.placed = ()
    explorer._offer()
    assert "nothing to save" in explorer.message.text
    with pytest.raises(ValueError, match="nothing to save"):
        explorer.save(tmp_path / "empty")


def test_another_library_is_loaded_beside_the_page(explorer, monkeypatch):
    monkeypatch.delenv("DEEPORCH_SOL_ROOT", raising=False)
    before = explorer.notes
    explorer.library = "sol"
    assert explorer.work.wait(20)
    assert "sol" in explorer.work.message.text
    assert explorer.notes is before
    assert explorer.library == "tiny", "what is shown is what is there"


MOVES = {
    "Level": range(-12, 0),
    "Onset": [i / 20 for i in range(1, 13)],
    "Notes": [4, 5, 6, 7, 8, 9, 10, 9, 8, 7, 6, 5],
    "Seed": range(2, 14),
    "Lowest": range(61, 66),
    "Highest": range(70, 65, -1),
}


@pytest.fixture(scope="module")
def busy(tiny_library):
    """Every network that ships answers."""
    return MixtureExplorer(tiny_library, n=3, seed=1)


@pytest.mark.parametrize("name", MOVES)
def test_a_slider_answers_within_200_ms(busy, name):
    """The median of its moves, sound, pictures and networks included, in the processor's time: others run beside."""
    assert len(busy.chosen_networks) == len(list(CHECKPOINTS.glob("*.safetensors")))
    row = busy._rows[0]
    slider = {"Level": row._level, "Onset": row._onset}.get(name) or busy._sliders[
        {"Notes": "n"}.get(name, name.lower())
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    took, seen = [], set()
    for value in MOVES[name]:
        began = time.thread_time()
        slider.value = value
        took.append(time.thread_time() - began)
        seen.add(busy._player.value)
    torch.set_num_threads(threads)
    assert busy.message.text == ""
    assert len(seen) > 2, "it did something"
    assert sorted(took)[len(took) // 2] < 0.2


def test_networks_that_see_the_same_share_the_work(busy, monkeypatch):
    asked = []
    compute = ConstantQ.transform
    monkeypatch.setattr(ConstantQ, "transform", lambda self, audio: asked.append(len(audio)) or compute(self, audio))
    busy.next()
    seen = {do.Recognizer.load(name).model.features for name in busy.chosen_networks}
    assert asked == [1] * len(seen)
    pictures, sound = Remembered(), torch.from_numpy(np.random.default_rng(0).normal(size=(1, 70_000))).float()
    first, second = (pictures(ConstantQ(bins_per_octave=36), sound) for _ in range(2))
    assert first is second
    assert asked == [1] * (len(seen) + 1)
    alone = [do.Recognizer.load(name).predict(busy.audio, RATE, n=busy.n) for name in busy.chosen_networks]
    assert list(busy.heard.values()) == alone


# ---- What all widgets share ------------------------------------------------------------------------------------------


def test_bars_mark_right_wrong_and_missed(untrained):
    heard = untrained.predict(np.random.default_rng(0).normal(size=20_000), RATE, n=2)
    truth = [(heard[0].instrument, heard[0].pitch), ("Tbn", "C2")]
    shown = heard_bars(heard, truth, title="<net>")
    assert shown.count("✓") == shown.count("✗") == 1
    assert shown.index("✓") < shown.index("✗")
    assert "missed: Tbn C2" in shown
    assert "&lt;net&gt;" in shown


def test_curves():
    drawn = curves([("train", [1, 2, 3], [3.0, 2.0, np.nan]), ("valid", [1, 2], [4, 1])], xlabel="epoch", ylabel="loss")
    points = re.findall(r'points="([^"]+)"', drawn)
    assert [len(p.split()) for p in points] == [2, 2]
    highest = [min(float(p.split(",")[1]) for p in line.split()) for line in points]
    assert highest[1] < highest[0], "4 lies above 3"
    fast = curves([("rate", [1, 2], [765.4, 2613.0])], xlabel="epoch", ylabel="mixtures/s")
    assert ">765</text>" in fast
    assert ">2,610</text>" in fast
    assert "nothing yet" in curves([], xlabel="epoch", ylabel="loss")


def test_chips_are_ticked_and_keep_what_is_chosen():
    chips = Chips({"Fl": "flute", "Ob": "oboe"}, label="Orchestra:")
    chips.value = ("Ob",)
    assert [b.value for b in chips.buttons.values()] == [False, True]
    assert chips.buttons["Ob"].tooltip == "oboe: chosen"
    chips.buttons["Fl"].value = True
    assert chips.value == ("Fl", "Ob")
    told = []
    chips.observe(lambda change: told.append(change["new"]), "value")
    chips.value = ()
    chips.value = ("Fl", "Ob")
    assert told == [(), ("Fl", "Ob")], "no states between"
    chips.set_options(["Ob", "Vn"])
    assert chips.value == ("Ob",)


def test_messages_are_sentences():
    message = Message()
    with message.catching():
        raise ValueError("Give <two> notes.")
    assert message.text == "Give <two> notes."
    assert "&lt;two&gt;" in message.value
    with message.catching():
        raise KeyError("x")
    assert message.text == "That did not work (KeyError: 'x')."
    assert 'role="alert" class="deeporch-error"' in message.value, "errors look like errors"
    message.text = "Done."
    assert 'role="status" class="deeporch-message"' in message.value
    with message.catching():
        pass
    assert message.value == ""


def test_numbers_of_things_are_words():
    assert [count(n, "whole epoch") for n in (0, 1, 1_200)] == ["0 whole epochs", "1 whole epoch", "1,200 whole epochs"]


def test_a_widget_leaves_a_sentence_and_a_picture(explorer, monkeypatch):
    """Beside the view that needs a kernel there is an output that needs none, renewed as the widget changes."""
    shown = []
    place = SimpleNamespace(update=lambda html: shown.append(html.data))
    monkeypatch.setattr(controls, "display", lambda thing, **options: shown.append(thing) or place)
    explorer._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    assert "run this cell to play with it" in shown[1].data
    assert shown[1].data.count("<svg") == 3
    explorer.placed = ()
    explorer.leave()
    assert "<svg" not in shown[2]


def test_work_shows_progress_and_stops():
    work, begun, results = Work(), threading.Event(), []

    def count():
        for i in progress(range(10_000), desc="counting"):
            begun.set()
            time.sleep(0.01)
            if i == 9_999:
                return i
        return None

    work.start(count, done=results.append)
    assert begun.wait(5)
    assert work.running
    work.start(count)
    assert "One thing at a time" in work.message.text
    time.sleep(0.3)
    assert "counting" in work._bar.value
    assert "<progress" in work._bar.value
    work.stop()
    assert work.wait(5)
    assert work.message.text == "Stopped."
    assert results == []
    work.start(lambda: 7, done=results.append)
    assert work.wait(5)
    assert results == [7]
    work.start(lambda: 1 / 0)
    assert work.wait(5)
    assert "ZeroDivisionError" in work.message.text


def test_networks_rank_different_instruments(untrained, tiny_library):
    networks = Networks([untrained])
    audio = tiny_library.audio[0].float()
    found = networks.instruments("network 1", audio, RATE, 2, ["Fl", "Hn", "Vc"])
    everything = untrained.predict(audio, RATE, n=72)
    ranks = {}
    for place, note in enumerate(everything):
        ranks.setdefault(note.instrument, place)
    assert found == sorted(["Fl", "Hn", "Vc"], key=ranks.get)[:2]
    with pytest.raises(ValueError, match="knows none of the instruments Gtr"):
        networks.instruments("network 1", audio, RATE, 2, ["Gtr"])
