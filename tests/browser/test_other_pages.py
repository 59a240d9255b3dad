"""The listening room in Notebook 7 and in Voilà: the same widgets, shown, played and clicked."""

import importlib.util
import os
import re

import pytest
from browser.conftest import KERNEL_IS_READY, SHORTER, WIDGETS, Lab, Page, compare, marks

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SOUNDS = "e => [...e.querySelectorAll('audio')].map(a => [a.readyState > 0 || a.preload == 'metadata', a.autoplay])"
ICONS = "fontawesome"  # Voilà fetches these icons from outside; ours have words beside them


@pytest.fixture(scope="module", params=["notebook", "voila"])
def room(request, browser, tmp_path_factory):
    """The notebook in one of them, run from top to bottom."""
    if importlib.util.find_spec(request.param) is None:
        message = f"{request.param} is not installed: pip install -r requirements.txt"
        if os.environ.get("DEEPORCH_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    server = Lab(tmp_path_factory.mktemp(request.param), browser, request.param)
    if request.param == "voila":
        opened = Page(server, "voila/render/10_listening_room.ipynb")
    else:
        opened = Page(server, "notebooks/10_listening_room.ipynb")
        opened.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        opened.page.evaluate(KERNEL_IS_READY)
        opened.problems.clear()  # what Notebook itself complains of before a cell has run
        opened.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        opened.page.locator(".jp-CodeCell").last.get_by_text(re.compile(r"\[\d+\]")).wait_for(timeout=180_000)
    opened.name = request.param
    yield opened
    opened.close()
    server.stop()
    assert "Traceback" not in server.log.read_text()


def widget(room, name):
    return room.page.locator(f".deeporch-{name}").first


def test_every_widget_is_there_and_works(room):
    for name in WIDGETS:
        widget(room, name).wait_for(timeout=180_000)
    explorer = widget(room, "MixtureExplorer")
    before = explorer.get_by_label("The mixture").get_attribute("src")
    slider = explorer.get_by_role("slider", name="Notes")
    slider.focus()
    slider.press("ArrowRight")
    explorer.get_by_label("Note 4:").wait_for()
    room.page.wait_for_function(
        "([e, old]) => e.querySelector('audio').src != old", arg=[explorer.element_handle(), before]
    )
    audio = explorer.get_by_label("The mixture")
    audio.focus()
    audio.press("Space")
    room.page.wait_for_function("audio => audio.currentTime > 0.05 && audio.error === null", arg=audio.element_handle())
    test = widget(room, "EarTest")
    test.get_by_role("button", name="Answer").click()
    test.get_by_text("There are 2 instruments: choose as many; you chose 0.").wait_for()
    monitor = widget(room, "TrainingMonitor")
    monitor.get_by_role("button", name="Start").click()
    monitor.get_by_text(f"Done: {SHORTER['EPOCHS']} epochs").wait_for(timeout=120_000)
    studio = widget(room, "OrchestrationExplorer")
    studio.get_by_role("radio").nth(1).check()
    room.page.wait_for_function(
        "e => e.querySelector('audio').ariaLabel.startsWith('solution 1')", arg=studio.element_handle()
    )
    studio.get_by_role("button", name="Record a sound").click()
    stop = studio.get_by_role("button", name="Stop recording")
    stop.wait_for()
    room.page.wait_for_timeout(1_500)
    stop.click()
    studio.get_by_text(re.compile(r"A sound of \d\.\d s: search\.")).wait_for(timeout=60_000)
    for name in WIDGETS:
        assert all(ready and not plays for ready, plays in widget(room, name).evaluate(SOUNDS))
    assert [problem for problem in room.problems if ICONS not in problem] == []
    assert [address for address in room.outside if ICONS not in address] == []


@pytest.mark.parametrize("width", [900, 1400])
def test_it_fits_and_looks_alike_in_light_and_dark(room, width):
    room.page.set_viewport_size({"width": width, "height": 2600})
    seen = {}
    for theme in ("light", "dark"):
        room.set_theme(f"JupyterLab {theme.capitalize()}")
        for name in WIDGETS:
            room.page.wait_for_function("e => e.scrollWidth <= e.clientWidth", arg=widget(room, name).element_handle())
            seen[name, theme] = marks(widget(room, name), f"{room.name}_{name}_{theme}_{width}")
    for name in WIDGETS:
        compare(seen[name, "light"], seen[name, "dark"])
