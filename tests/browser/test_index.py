"""The page of an orchestration's folder, as a browser shows it: to hear, to read, in light and dark, in two widths."""

import numpy as np
import pytest
from browser.conftest import CONTRASTS, compare, marks

from deeporch.export.folder import write_folder
from deeporch.orchestration.orchestrate import orchestrate

SOUNDS = """async () => await Promise.all([...document.querySelectorAll("audio")].map(async (audio) => {
    if (!Number.isFinite(audio.duration))
        await new Promise((done) => audio.addEventListener("loadedmetadata", done, { once: true }));
    return [audio.duration > 0.5, audio.paused && !audio.autoplay];
}))"""
SCORES = "() => [...document.querySelectorAll('img')].map((i) => i.complete && i.naturalWidth > 100)"


@pytest.fixture(scope="module")
def folder(tiny_library, tmp_path_factory):
    rows = [tiny_library.table.index[tiny_library.table["pitch"] == pitch][0] for pitch in ("A4", "E4")]
    sound = sum(np.pad(tiny_library.sound(int(row)).float().numpy(), (0, 44_100))[:44_100] for row in rows)
    found = orchestrate(
        sound, tiny_library, "Fl Ob ClBb Hn Vn Vc", sample_rate=44_100, solutions=2, evaluations=600, progress=None
    )
    written, failed = write_folder(tmp_path_factory.mktemp("orchestration") / "bell", found, sound, {})
    assert failed == []
    return written


@pytest.mark.parametrize("width", [900, 1400])
def test_it_is_heard_and_read_in_both_schemes(browser, folder, width):
    seen = []
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        problems = []
        page.on("console", lambda message, problems=problems: problems.append(message.text))
        page.goto((folder / "index.html").as_uri())
        assert page.evaluate(SOUNDS) == [[True, True]] * 3
        assert page.evaluate(SCORES) == [True] * 2
        contrasts = page.evaluate(f"() => ({CONTRASTS})(document.body)")
        assert len(contrasts) > 20
        assert {text: ratio for text, ratio in contrasts if ratio < 4.5} == {}
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert page.evaluate("() => [...document.images].every((i) => i.width <= i.naturalWidth && i.width < 400)")
        seen.append(marks(page.locator("html"), f"index_{scheme}_{width}"))
        assert problems == []
        page.close()
    compare(*seen)
