"""A real JupyterLab, Notebook or Voilà on loopback, and Debian's Chromium to look at it."""

import io
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "runs" / "screenshots"  # looked at by people; git ignores it
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # it beeps, and is allowed
SHORTER = {
    "EPOCHS": 2,
    "MIXTURES": 400,
    "ROUNDS": 4,
    "SEARCH_SECONDS": 1.0,
}  # of notebook 10
WIDGETS = ("MixtureExplorer", "EarTest", "TrainingMonitor", "OrchestrationExplorer")
CELL = 12  # pixels: the side of the squares in which pictures are compared
SERVER = ("--ServerApp.port_retries=0", "--ServerApp.root_dir={files}", "--IdentityProvider.token={token}")
APPLICATIONS = {  # what each is started with, beside its port
    "jupyterlab": (*SERVER, "--ip=127.0.0.1", "--allow-root", "--LabApp.expose_app_in_browser=True"),
    "notebook": (*SERVER, "--ip=127.0.0.1", "--allow-root", "--JupyterNotebookApp.expose_app_in_browser=True"),
    "voila": (
        *("{files}", "--Voila.ip=127.0.0.1", "--Voila.port_retries=0", "--token={token}"),
        # Notebook's own, beside Voilà in this environment, asks for parts of JupyterLab that Voilà does not have
        "--VoilaConfiguration.extension_denylist=@jupyter-notebook/lab-extension",
    ),
}


def find_chromium():
    """Return the browser; skip without it, or fail where CI says that it must be there."""
    found = os.environ.get("DEEPORCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    message = "the browser tests did not run: there is no Chromium (on Debian: apt install chromium)"
    if os.environ.get("DEEPORCH_REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    return pytest.skip(message)


def pytest_terminal_summary(terminalreporter):
    """Say it where nobody can overlook it."""
    if any(
        "the browser tests did not run" in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())
    ):
        terminalreporter.write_line("The browser tests did not run: there is no Chromium.", yellow=True)


@pytest.fixture(scope="package")
def browser():
    """Chromium, headless. It is closed before other tests start event loops of their own."""
    executable = find_chromium()
    options = [*MICROPHONE, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=options)
        yield chromium
        chromium.close()


class Lab:
    """A `jupyter lab`, `notebook` or `voila` with a copy of the notebooks, and its own settings.

    In JupyterLab the notebooks are as they are, elsewhere those of `SHORTER` are.
    """

    def __init__(self, folder, browser, application="jupyterlab"):
        self.browser, self.token, self.port = browser, secrets.token_hex(16), free_port()
        self.files = folder / "files"
        self.settings = folder / "settings"
        self.files.mkdir()
        for notebook in (ROOT / "notebooks").glob("*.ipynb"):
            text = notebook.read_text(encoding="utf-8")
            for name, value in SHORTER.items() if application != "jupyterlab" else ():
                text = re.sub(rf'"{name} = \S+', f'"{name} = {value}', text)
            (self.files / notebook.name).write_text(text, encoding="utf-8")
        shutil.copytree(ROOT / "notebooks" / "experiments", self.files / "experiments")  # as `make lab` does
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JUPYTER_CONFIG_PATH": str(ROOT / ".jupyter"),  # as `make lab`: no news, larger uploads
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "IPYTHONDIR": str(folder / "ipython"),
            "OMP_NUM_THREADS": "1",
        }
        self.set_theme("JupyterLab Light")
        self.write_setting("@jupyterlab/notebook-extension/tracker", {"windowingMode": "none"})  # all cells are there
        options = [option.format(files=self.files, token=self.token) for option in APPLICATIONS[application]]
        command = [sys.executable, "-m", application, "--no-browser", f"--port={self.port}", *options]
        self.log = folder / "log.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self.wait()

    def write_setting(self, name, values):
        path = self.settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def set_theme(self, theme):
        self.write_setting("@jupyterlab/apputils-extension/themes", {"theme": theme})

    def wait(self):
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.1)
        pytest.fail(f"The server did not start:\n{self.log.read_text()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:  # on a busy machine its kernels take long to end
            self.process.kill()
            self.process.wait()

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="package")
def lab(browser, tmp_path_factory):
    started = Lab(tmp_path_factory.mktemp("lab"), browser)
    yield started
    started.stop()


KERNEL_IS_READY = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
}"""


CONTRASTS = """(room) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).map((v) => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (colour.startsWith("rgb(")) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    return [...room.querySelectorAll("label, output, button, td, p, legend, svg > text, .widget-label, a")]
        .filter((e) => e.textContent.trim() && e.getClientRects().length && !e.style.color && !e.hasAttribute("stroke"))
        .map((e) => {
            const style = getComputedStyle(e), front = light(e.tagName == "text" ? style.fill : style.color);
            const back = light(behind(e));
            return [e.textContent.slice(0, 30), (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05)];
        });
}"""
OWN_COLOURS = """(room) => [...room.querySelectorAll("image, img, audio")].map((e) => {
    const a = e.getBoundingClientRect(), { left, top } = room.getBoundingClientRect();
    return [a.left - left - 2, a.top - top - 2, a.right - left + 2, a.bottom - top + 2].map((v) => Math.max(0, v));
})"""
BROKEN = "text=/Error displaying widget|Loading widget/ >> visible=true"


class Page:
    """A page of a server, with what went wrong in it."""

    def __init__(self, lab, path, *, width=1600):
        self.problems, self.outside = [], []
        self.page = lab.browser.new_page(viewport={"width": width, "height": 1400}, accept_downloads=True)
        self.page.set_default_timeout(30_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on("request", self._request)
        self.page.goto(lab.url(path), wait_until="commit")

    def _console(self, message):
        if message.type == "error":
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def _request(self, request):
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.outside.append(request.url)

    def run_all(self, *, timeout=120_000):
        """Run all cells and wait for the last."""
        page = self.page
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.evaluate(KERNEL_IS_READY)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        last = page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea-prompt").last
        page.wait_for_function("e => /\\[\\d+\\]/.test(e.textContent)", arg=last.element_handle(), timeout=timeout)

    def save(self):
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        self.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")

    def end_kernel(self):
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")

    def reopen(self):
        self.page.reload()
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        self.page.evaluate(KERNEL_IS_READY)
        self.page.wait_for_timeout(3_000)  # in which widgets would be restored, or be found missing

    def set_theme(self, name):
        if "/voila/" in self.page.url:  # whose page has the style sheet of its theme
            sheet = f"share/jupyter/nbconvert/templates/lab/static/theme-{name.split()[1].lower()}.css"
            self.page.add_style_tag(path=Path(sys.prefix) / sheet)
            return
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")

    def shot(self, name, locator=None):
        SHOTS.mkdir(parents=True, exist_ok=True)
        (locator or self.page).screenshot(path=SHOTS / f"{name}.png")

    def close(self):
        self.page.close()


def marks(element, name):
    """Keep a picture; return its background's grey, and which squares have marks: text, lines, edges of controls."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    png = element.screenshot(path=SHOTS / f"{name}.png", animations="disabled")
    grey = plt.imread(io.BytesIO(png))[:, :, :3].mean(2)
    background = np.median(grey)
    height, width = (side - side % CELL for side in grey.shape)
    cells = np.abs(grey - background)[:height, :width].reshape(height // CELL, CELL, width // CELL, CELL)
    marked = cells.max((1, 3)) > 0.25  # the grey of a button is no mark
    for x, y, right, bottom in element.evaluate(OWN_COLOURS):
        marked[int(y // CELL) : int(bottom // CELL) + 1, int(x // CELL) : int(right // CELL) + 1] = False
    return background, marked


def compare(light, dark):
    """Compare what `marks` found in two themes: as large, on white and on black, with marks at the same places."""
    (white, seen), (black, also) = light, dark
    assert white > 0.9
    assert black < 0.2
    assert seen.shape == also.shape
    print(f"of {seen.sum()} marked squares in light, and {also.sum()} in dark, {(seen ^ also).sum()} only in one")
    assert (seen & ~also).sum() < 0.03 * seen.sum(), "what is seen in light is seen in dark"
    assert (also & ~seen).sum() < 0.03 * also.sum(), "and the other way round"


@pytest.fixture(scope="package")
def room(lab):
    """The listening room in JupyterLab, run from top to bottom."""
    opened = Page(lab, "lab/tree/10_listening_room.ipynb")
    opened.run_all()
    yield opened
    opened.close()
