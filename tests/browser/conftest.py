"""A real JupyterLab, Notebook or Voilà on loopback, and Debian's Chromium to look at it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "runs" / "screenshots"  # looked at by people; git ignores it
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page
}
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
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=options)
        yield chromium
        chromium.close()


class Lab:
    """A `jupyter lab`, `notebook` or `voila` with a copy of the notebooks, and its own settings."""

    def __init__(self, folder, browser, application="jupyterlab"):
        self.browser, self.token, self.port = browser, secrets.token_hex(16), free_port()
        self.files = folder / "files"
        self.settings = folder / "settings"
        self.files.mkdir()
        for notebook in (ROOT / "notebooks").glob("*.ipynb"):
            shutil.copy(notebook, self.files)
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
        for name, values in SETTINGS.items():
            self.write_setting(name, values)
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
        self.process.wait(20)

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

    def set_theme(self, name):
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")

    def shot(self, name, locator=None):
        SHOTS.mkdir(parents=True, exist_ok=True)
        (locator or self.page).screenshot(path=SHOTS / f"{name}.png")

    def close(self):
        self.page.close()
