"""The listening room in JupyterLab, in Chromium: what is clicked happens, sounds can be played, nothing goes wrong.

The tests walk through one page in order, as a visitor would.
"""

import io
import json
import re
import time
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import soundfile
from browser.conftest import CONTRASTS, WIDGETS, compare, marks

from deeporch.recognition.recognizer import CHECKPOINTS

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PLAYED = """async (audio) => {
    if (!Number.isFinite(audio.duration))
        await new Promise((done) => audio.addEventListener("loadedmetadata", done, { once: true }));
    const before = { duration: audio.duration, paused: audio.paused, autoplay: audio.autoplay };
    audio.muted = true;
    await audio.play();
    await new Promise((done) => setTimeout(done, 300));
    const time = audio.currentTime;
    audio.pause();
    return { ...before, time };
}"""


@pytest.fixture(autouse=True)
def _in_order(room):
    yield
    assert room.problems == []
    assert room.outside == []
    assert room.page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert room.page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def widget(room, name):
    return room.page.locator(f".deeporch-{name}").first


def move(slider, key, times=1):
    slider.focus()
    for _ in range(times):
        slider.press(key)


def seen_soon(locator, *, seconds=30):
    locator.wait_for(state="visible", timeout=1000 * seconds)
    return locator


def saved(page, link):
    with page.expect_download() as download:
        link.click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_nobody_is_asked_about_news(room):
    assert room.page.get_by_text("Jupyter news").count() == 0
    assert room.page.locator(".jp-Dialog").count() == 0


def test_a_mixture_can_be_played(room):
    explorer = widget(room, "MixtureExplorer")
    audio = seen_soon(explorer.get_by_label("The mixture"))
    played = audio.evaluate(PLAYED)
    assert played["duration"] == pytest.approx(65_024 / 44_100, abs=0.02)
    assert played["paused"]
    assert not played["autoplay"]
    assert 0.05 < played["time"] < 1
    assert explorer.locator("audio").count() == 4
    assert explorer.locator("svg[role=img]").count() == 3
    assert explorer.locator("strong", has_text="soundfont").is_visible()
    networks = len(list(CHECKPOINTS.glob("*.safetensors")))
    assert explorer.locator("td[aria-label=right], td[aria-label=wrong]").count() == 3 * networks
    room.shot("mixture_explorer", explorer)


ANSWERS = """async ([room, moves]) => {
    const input = room.querySelector("input[aria-label='Level of note 1']");
    const sound = () => room.querySelector("audio[aria-label='The mixture']").src;
    const picture = () => room.querySelector("svg[aria-label^=constant-Q]").outerHTML;
    const times = [];
    for (let move = 0; move < moves; move++) {
        const before = [sound(), picture()], began = performance.now();
        const pause = () => new Promise((next) => setTimeout(next, 5));
        input.value = -1 - move;
        input.dispatchEvent(new Event("input"));
        while (sound() == before[0]) await pause();
        const heard = performance.now() - began;
        while (picture() == before[1]) await pause();
        times.push([heard, performance.now() - began]);
        await new Promise((rested) => setTimeout(rested, 500));
    }
    return times;
}"""
DRAGGED = """async (room) => {
    const input = room.querySelector("input[aria-label='Level of note 1']");
    for (let value = -20; value <= 0; value++) {
        input.value = value;
        input.dispatchEvent(new Event("input"));
        await new Promise((next) => setTimeout(next, 25));
    }
    const audio = () => room.querySelector("audio[aria-label='The mixture']").src, began = performance.now();
    let last = audio(), changed = began;
    while (performance.now() - changed < 1000) {
        await new Promise((next) => setTimeout(next, 10));
        if (audio() != last) { last = audio(); changed = performance.now(); }
    }
    return changed - began;
}"""


def slowdown():
    """How many times longer than its own processor time a computation takes here: 1 where nothing runs beside it."""
    began, own = time.perf_counter(), time.process_time()
    while time.process_time() - own < 0.5:
        pass
    return (time.perf_counter() - began) / 0.5


def test_a_slider_answers_within_200_ms(room):
    """From the hand's event to the new sound, and to the new pictures, in the page.

    The median of twelve moves counts, networks' answers included, and of pictures the fastest: on two idle cores the
    slowest sound took 84 ms and the slowest picture 122. Where other programs take the processor, all of it takes
    longer, and may. What the kernel needs for all of it is held below 200 ms in `tests/test_widgets.py`.
    """
    explorer = widget(room, "MixtureExplorer")
    limit = 200 * max(slowdown() for _ in range(3))
    heard, seen = zip(*room.page.evaluate(ANSWERS, [explorer.element_handle(), 12]), strict=True)
    for what, times in (("sound", heard), ("pictures", seen)):
        print(f"a slider is answered, {what}: " + ", ".join(f"{each:.0f}" for each in sorted(times)), "ms")
    limit = max(limit, 200 * slowdown())
    assert sorted(heard)[6] < limit
    assert min(heard) < min(seen) < limit


def test_a_dragged_slider_leaves_no_queue(room):
    """Twenty-one values in half a second: the last one is heard soon after the hand has stopped."""
    lag = widget(room, "MixtureExplorer").evaluate(DRAGGED)
    print(f"after a drag the sound follows in {lag:.0f} ms")
    assert lag < 1000


def test_sliders_are_reached_by_keyboard_and_change_the_mixture(room):
    explorer = widget(room, "MixtureExplorer")
    slider = explorer.get_by_role("slider", name="Notes")
    before = explorer.get_by_label("The mixture").get_attribute("src")
    move(slider, "ArrowRight", 2)
    seen_soon(explorer.get_by_label("Note 5:"))
    assert slider.get_attribute("aria-valuetext") == "5"
    room.page.wait_for_function(
        "([e, old]) => e.querySelector('audio').src != old", arg=[explorer.element_handle(), before]
    )
    names = {explorer.get_by_role("slider").nth(i).get_attribute("aria-label") for i in range(14)}
    assert {"Notes", "Lowest", "Highest", "Seed", "Level of note 1", "Onset of note 5"} <= names


def test_solo_leaves_one_note(room):
    explorer = widget(room, "MixtureExplorer")
    explorer.get_by_role("button", name="Solo").nth(1).click()
    lines = "e => e.querySelectorAll('svg[aria-label^=constant-Q] text[font-weight=bold]').length"
    room.page.wait_for_function(f"e => ({lines})(e) == 1", arg=explorer.element_handle())


def test_play_is_pressed(room):
    """With the keyboard, as by those who have no mouse."""
    audio = widget(room, "MixtureExplorer").get_by_label("Note 1:")
    audio.focus()
    audio.press("Space")
    room.page.wait_for_function("audio => audio.currentTime > 0.05 && audio.error === null", arg=audio.element_handle())


def test_a_library_that_is_not_here_is_a_sentence(room):
    explorer = widget(room, "MixtureExplorer")
    choice = explorer.get_by_label("Library")
    choice.select_option("sol")
    seen_soon(explorer.get_by_role("alert").get_by_text("DEEPORCH_SOL_ROOT"))
    room.page.wait_for_function("e => e.selectedOptions[0].text == 'soundfont'", arg=choice.element_handle())


def test_the_mixture_is_saved(room):
    explorer = widget(room, "MixtureExplorer")
    explorer.get_by_role("button", name="Save WAV and labels").click()
    name, wav = saved(room.page, explorer.get_by_role("link", name="mixture.wav"))
    assert name == "mixture.wav"
    samples, rate = soundfile.read(io.BytesIO(wav))
    assert (samples.shape, rate) == ((65_024,), 44_100)
    _, labels = saved(room.page, explorer.get_by_role("link", name="mixture.json"))
    assert len(json.loads(labels)["notes"]) == 1


def test_what_is_impossible_is_a_sentence(room):
    explorer = widget(room, "MixtureExplorer")
    move(explorer.get_by_role("slider", name="Lowest"), "End")
    move(explorer.get_by_role("slider", name="Highest"), "Home")
    seen_soon(explorer.get_by_role("alert").get_by_text("The lowest pitch lies above the highest"))


def test_errors_look_like_errors(room):
    """A red edge, which information has not; the message before says that nothing is left."""
    edge = "e => getComputedStyle(e).borderLeftColor"
    error = widget(room, "MixtureExplorer").locator(".deeporch-error[role=alert]")
    assert error.evaluate(edge) == "rgb(213, 64, 43)"
    room.shot("error", widget(room, "MixtureExplorer"))


def test_the_ear_test_is_answered_by_keyboard(room):
    test = widget(room, "EarTest")
    assert test.get_by_label("What is this?").evaluate(PLAYED)["time"] > 0.05
    test.get_by_role("button", name="Answer").press("Enter")
    seen_soon(test.get_by_text("There are 2 instruments: choose as many; you chose 0."))
    for name in ("Fl", "Vn"):
        chip = test.get_by_role("button", name=name, exact=True)
        chip.press("Space")
        seen_soon(test.locator(f"button[title$=': chosen']:has-text('{name}')"))
    test.get_by_role("button", name="Answer").press("Enter")
    seen_soon(test.get_by_text("It was"))
    assert test.locator("table").nth(0).inner_text().count("✓") <= 4
    assert test.get_by_text("instruments named").is_visible()
    test.get_by_role("button", name="Save the rounds as CSV").click()
    name, table = saved(room.page, test.get_by_role("link", name="ear_test.csv"))
    assert name == "ear_test.csv"
    assert pd.read_csv(io.BytesIO(table))["your_guess"].tolist() == ["Fl Vn"]
    room.shot("ear_test", test)


def test_a_training_is_watched_stopped_and_resumed(room):
    monitor = widget(room, "TrainingMonitor")
    monitor.get_by_role("button", name="Start").click()
    seen_soon(monitor.get_by_role("progressbar").first)
    seen_soon(monitor.locator("polyline").first, seconds=120)  # after an epoch: a line of one point is not seen
    monitor.get_by_role("button", name="Stop").click()
    seen_soon(monitor.get_by_text("Resume goes on from there."))
    monitor.get_by_role("button", name="Resume").click()
    seen_soon(monitor.get_by_text("Done: 5 epochs"), seconds=120)
    assert monitor.locator("svg[aria-label='loss / nats'] polyline").count() == 2
    room.shot("training_monitor", monitor)


@pytest.fixture(scope="module")
def chime(tmp_path_factory):
    path = tmp_path_factory.mktemp("upload") / "chime.flac"
    time = np.arange(66_150) / 44_100
    soundfile.write(path, sum(np.exp(-2 * time) * np.sin(2 * np.pi * f * time) / 4 for f in (330, 660, 990)), 44_100)
    return path


def test_a_sound_is_recorded(room):
    """Chromium's own microphone beeps; where the page may have none, a sentence says what to do."""
    studio = widget(room, "OrchestrationExplorer")
    record = studio.get_by_role("button", name="Record a sound")
    record.click(timeout=120_000)
    stop = seen_soon(studio.get_by_role("button", name="Stop recording"))
    room.page.wait_for_timeout(2_000)
    stop.click()
    said = seen_soon(studio.get_by_text(re.compile(r"A sound of \d\.\d s: search\.")), seconds=60)
    assert 0.5 < float(said.inner_text().split()[3]) < 9
    assert record.is_visible()
    assert studio.locator("audio").evaluate(PLAYED)["duration"] > 0.5
    room.page.evaluate("() => { navigator.mediaDevices.getUserMedia = async () => { throw new Error('not today') } }")
    record.click()
    seen_soon(studio.get_by_role("alert").get_by_text("The microphone cannot be used (not today): allow it"))


def test_a_sound_is_uploaded_orchestrated_and_taken_home(room, chime):
    studio = widget(room, "OrchestrationExplorer")
    with room.page.expect_file_chooser() as chooser:
        studio.get_by_role("button", name="Upload a sound").click(timeout=120_000)
    assert chooser.value.element.get_attribute("accept") == ".wav,.aif,.aiff,.aifc,.flac,.mp3,.ogg,.opus,.caf,.au"
    chooser.value.set_files(chime)
    seen_soon(studio.get_by_text("A sound of 1.5 s: search."))
    move(studio.get_by_role("slider", name="Search for"), "End")
    studio.get_by_role("button", name="Search").click()
    seen_soon(studio.get_by_role("progressbar"))
    seen_soon(studio.locator("svg[aria-label^=distance] polyline"))
    studio.get_by_role("button", name="Stop").click()
    seen_soon(studio.get_by_text("Stopped: "))
    move(studio.get_by_role("slider", name="Search for"), "Home")
    studio.get_by_role("button", name="Search").click()
    seen_soon(studio.get_by_text("Done: "))
    target = studio.locator("audio").evaluate(PLAYED)
    assert target["duration"] == pytest.approx(1.5, abs=0.02)
    studio.get_by_role("radio").nth(1).check()
    room.page.wait_for_function(
        "e => e.querySelector('audio').ariaLabel.startsWith('solution 1')", arg=studio.element_handle()
    )
    ours = studio.locator("audio").evaluate(PLAYED)
    assert ours["duration"] == pytest.approx(1.5, abs=0.02)
    assert not ours["autoplay"]
    studio.get_by_role("button", name="Mute").first.click()
    studio.get_by_role("button", name="Lock").first.click()
    studio.get_by_role("button", name="Files of this solution").click()
    name, score = saved(room.page, studio.get_by_role("link", name="MusicXML"))
    assert name == "solution_1.musicxml"
    assert ElementTree.fromstring(score).tag == "score-partwise"
    _, midi = saved(room.page, studio.get_by_role("link", name="MIDI"))
    assert midi.startswith(b"MThd")
    studio.get_by_role("button", name="Score").click()
    paper = seen_soon(studio.locator(".deeporch-score"), seconds=120)
    assert paper.locator("svg").count() > 0
    assert paper.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)", "in dark themes too"
    room.shot("orchestration_explorer", studio)


def test_what_is_asked_for_is_played(room):
    studio = widget(room, "OrchestrationExplorer")
    studio.get_by_role("button", name="More").click()
    must = seen_soon(studio.get_by_label("Must sound"))
    must.fill("Vn A4 mf")
    must.press("Tab")
    studio.get_by_label("Texture").select_option("sparse")
    studio.get_by_role("button", name="Search").click()
    seen_soon(studio.get_by_text("Done: "), seconds=120)
    seen_soon(studio.get_by_text("Vn: A4 mf"))
    must.fill("Vn A9")
    must.press("Tab")
    studio.get_by_role("button", name="Search").click()
    seen_soon(studio.locator(".deeporch-error"), seconds=60)
    must.fill("")
    must.press("Tab")


@pytest.mark.parametrize("width", [900, 1400])
def test_it_can_be_read_in_both_themes(room, width):
    """WCAG AA asks for a contrast of 4.5 between text and what is behind it; what is there in one is in the other."""
    room.page.set_viewport_size({"width": width, "height": 2600})  # the largest widget fits
    seen = {}
    for theme in ("light", "dark"):
        room.set_theme(f"JupyterLab {theme.capitalize()}")
        for name in WIDGETS:
            narrow = widget(room, name)
            room.page.wait_for_function("e => e.scrollWidth <= e.clientWidth", arg=narrow.element_handle())
            contrasts = narrow.evaluate(CONTRASTS)
            assert len(contrasts) > 5
            assert {text: ratio for text, ratio in contrasts if ratio < 4.5} == {}
            seen[name, theme] = marks(narrow, f"{name}_{theme}_{width}")
    for name in WIDGETS:
        compare(seen[name, "light"], seen[name, "dark"])


def test_a_note_has_one_line_in_a_window_of_1400(room):
    room.page.set_viewport_size({"width": 1400, "height": 1400})
    explorer = widget(room, "MixtureExplorer")
    explorer.get_by_role("button", name="New mixture").click()
    lines = explorer.locator(".widget-hbox:has(> .deeporch-slider), .widget-hbox:has(audio.deeporch-short)")
    heights = lines.evaluate_all("rows => rows.filter(r => r.querySelector('audio')).map(r => r.clientHeight)")
    assert heights
    assert max(heights) < 50, "controls are 28 pixels high, players 32"
    settings = explorer.locator(".widget-hbox:has(> button):has-text('New mixture')").first
    assert settings.evaluate("e => e.clientHeight") < 50


@pytest.mark.parametrize("width", [700, 1100])
def test_nothing_sticks_out_of_a_narrow_page(room, width):
    """Rows wrap, and pictures shrink; what is still too wide would be cut off, or scroll away from its name."""
    room.page.set_viewport_size({"width": width + 430, "height": 1400})  # beside the file browser and the prompts
    for name in WIDGETS:
        narrow = widget(room, name)
        assert narrow.evaluate("e => e.clientWidth") <= width
        room.page.wait_for_function("e => e.scrollWidth <= e.clientWidth", arg=narrow.element_handle())
        room.shot(f"{name}_{width}", narrow)


def test_every_control_has_a_name(room):
    """What a screen reader would say, of every control that the Tab key reaches."""
    nameless = """(room) => [...room.querySelectorAll("button, input, select, audio, progress, a")]
        .filter((e) => e.getClientRects().length && e.tabIndex >= 0)
        .filter((e) => ![e.ariaLabel, e.title, e.textContent, ...[...(e.labels ?? [])].map((l) => l.textContent)]
            .some((name) => name?.trim()))
        .map((e) => e.outerHTML)"""
    for name in WIDGETS:
        assert widget(room, name).evaluate(nameless) == []


def test_the_log_has_no_traceback(lab):
    log = lab.log.read_text()
    assert "Kernel started" in log
    assert "Traceback" not in log
