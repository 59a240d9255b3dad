"""The notebooks in JupyterLab as a newcomer opens them: with their pictures and sounds."""

import pytest
from browser.conftest import ROOT, Lab, Page

from deeporch.runner.notebooks import read_notebook

NAMES = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if path.stem != "10_listening_room"]
PICTURES = "() => [...document.querySelectorAll('.jp-RenderedImage img')].map(i => i.complete && i.naturalWidth > 300)"
SOUNDS = """async () => await Promise.all([...document.querySelectorAll('.jp-Notebook audio')].map(async (audio) => {
    audio.load();
    if (!Number.isFinite(audio.duration))
        await new Promise((done) => audio.addEventListener("loadedmetadata", done, { once: true }));
    return [audio.duration > 0.3, audio.paused, !audio.autoplay, audio.previousSibling.textContent.length > 1];
}))"""


def outputs(name):
    cells = read_notebook(ROOT / "notebooks" / f"{name}.ipynb").cells
    return [output.data for cell in cells for output in cell.get("outputs", ()) if "data" in output]


def look(page, name):
    """Check that every stored picture and sound is in the page, and that nothing went wrong."""
    stored = outputs(name)
    pictures = sum("image/png" in data for data in stored)
    sounds = sum(data.get("text/html", "").count("<audio") for data in stored)
    assert pictures
    page.page.wait_for_function(f"() => document.querySelectorAll('.jp-RenderedImage img').length == {pictures}")
    assert page.page.evaluate(PICTURES) == [True] * pictures
    assert page.page.evaluate(SOUNDS) == [[True] * 4] * sounds
    assert page.page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.problems == []
    assert page.outside == []


@pytest.fixture(scope="module")
def own_lab(browser, tmp_path_factory):
    """Not the listening room's: pages are closed here while their kernels start, of which a server's log complains."""
    started = Lab(tmp_path_factory.mktemp("committed"), browser)
    yield started
    started.stop()


@pytest.fixture
def opened(own_lab, request):
    # in a workspace of its own: else all would open in one window
    page = Page(own_lab, f"lab/workspaces/{request.param}/tree/{request.param}.ipynb")
    page.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    yield page, request.param
    page.close()


@pytest.mark.parametrize("opened", NAMES, indirect=True)
def test_pictures_and_sounds_are_there_before_anything_is_run(opened):
    page, name = opened
    look(page, name)
    page.shot(f"committed_{name}")
