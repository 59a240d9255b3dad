"""The listening room in JupyterLab, in Chromium: what is clicked happens, sounds can be played, nothing goes wrong.

The tests walk through one page in order, as a visitor would.
"""

import io
import json

import pytest
import soundfile
from conftest import Page

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


@pytest.fixture(scope="module")
def room(lab):
    """The notebook, run from top to bottom."""
    opened = Page(lab, "lab/tree/10_listening_room.ipynb")
    opened.run_all()
    yield opened
    opened.close()


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


def seen_soon(locator):
    locator.wait_for(state="visible")
    return locator


def saved(page, link):
    with page.expect_download() as download:
        link.click()
    return download.value.suggested_filename, download.value.path().read_bytes()


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
    room.shot("mixture_explorer", explorer)


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
