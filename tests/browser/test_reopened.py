"""What is left of a notebook that is opened again: results, and instead of widgets a sentence and a picture.

The listening room that was walked through before is opened again; the first notebook is run, and opened again.
These tests come last: of kernels that end beside their pages the server's log complains.
"""

import pytest
from browser.conftest import BROKEN, Page
from browser.test_committed_notebooks import NAMES, look

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_a_reload_shows_the_widgets_and_a_new_kernel_what_is_left_of_them(room):
    rooms, left = room.page.locator(".deeporch-room"), room.page.locator(".deeporch-left >> visible=true")
    rooms.nth(3).wait_for()
    assert left.count() == 0
    room.save()
    room.reopen()
    rooms.nth(3).wait_for(timeout=120_000)
    assert room.page.locator(BROKEN).count() == left.count() == 0
    room.end_kernel()
    room.reopen()
    left.nth(3).wait_for(timeout=120_000)
    assert room.page.locator(BROKEN).count() == 0
    assert left.first.get_by_text("MixtureExplorer: run this cell to play with it").is_visible()
    assert left.first.locator("svg").count() == 3
    assert rooms.count() == 0
    room.shot("reopened")


def test_the_first_notebook_runs_and_sounds_and_its_bars_leave_nothing(lab):
    page = Page(lab, f"lab/workspaces/first/tree/{NAMES[0]}.ipynb")
    page.run_all(timeout=300_000)
    look(page, NAMES[0])
    page.save()
    page.end_kernel()
    page.reopen()
    assert page.page.locator(BROKEN).count() == 0
    assert page.page.locator(".jp-Notebook progress").count() == 0
    page.close()
