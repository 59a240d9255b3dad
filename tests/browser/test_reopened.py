"""What is left of a notebook that is opened again: results, and instead of widgets a sentence and a picture."""

import pytest
from browser.conftest import KERNEL_IS_READY, Lab, Page

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
BROKEN = "text=/Error displaying widget|Loading widget/ >> visible=true"


@pytest.fixture(scope="module")
def own_lab(browser, tmp_path_factory):
    """Not the listening room's: kernels are ended here."""
    started = Lab(tmp_path_factory.mktemp("reopened"), browser)
    yield started
    started.stop()


def reopen(page):
    page.page.reload()
    page.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.page.evaluate(KERNEL_IS_READY)
    page.page.wait_for_timeout(3_000)  # in which widgets would be restored, or be found missing


def test_a_reload_shows_the_widgets_and_a_new_kernel_what_is_left_of_them(own_lab):
    page = Page(own_lab, "lab/tree/10_listening_room.ipynb")
    page.run_all(timeout=300_000)
    rooms, left = page.page.locator(".deeporch-room"), page.page.locator(".deeporch-left >> visible=true")
    rooms.nth(3).wait_for()
    assert left.count() == 0
    page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    reopen(page)
    rooms.nth(3).wait_for()
    assert page.page.locator(BROKEN).count() == left.count() == 0
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    reopen(page)
    left.nth(3).wait_for()
    assert page.page.locator(BROKEN).count() == 0
    assert left.first.get_by_text("MixtureExplorer: run this cell to play with it").is_visible()
    assert left.first.locator("svg").count() == 3
    assert rooms.count() == 0
    page.shot("reopened")
    page.close()


def test_bars_leave_nothing(own_lab):
    page = Page(own_lab, "lab/workspaces/bars/tree/00_notes_and_mixtures.ipynb")
    page.run_all(timeout=300_000)
    page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    reopen(page)
    assert page.page.locator(BROKEN).count() == 0
    assert page.page.locator(".jp-Notebook progress").count() == 0
    page.close()
