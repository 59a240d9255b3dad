"""Progress bars that are pleasant in a terminal and in JupyterLab, and short in a log."""

from __future__ import annotations

import html
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

_LISTENER: ContextVar[Callable[[float, float | None, str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def told(listener: Callable[[float, float | None, str], None]) -> Iterator[None]:
    """Within the block, in this thread, draw no bars, but call ``listener(count, total, description)`` at each step."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


class _Told(tqdm):
    """A bar that is not drawn: the listener is told how far it is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.listener = _LISTENER.get()
        super().__init__(*arguments, **{**options, "file": io.StringIO(), "mininterval": 0.05, "leave": False})

    def update(self, n: float | None = 1) -> bool | None:
        shown = super().update(n)
        if not self.disable:
            self.listener(self.n, self.total, self.desc.removesuffix(": "))
        return shown


class _InPage(tqdm):
    """A bar in a notebook, as HTML: no widget that a saved page would miss, and nothing is left when it is finished."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._place = None
        super().__init__(*arguments, **{**options, "file": io.StringIO(), "mininterval": 0.2, "leave": False})

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        from IPython.display import HTML, display

        known = {**self.format_dict, "bar_format": _WITH_TOTAL if self.total else _WITHOUT_TOTAL}
        known["prefix"] = f"{self.desc.removesuffix(': ')}: " if self.desc else ""
        value = f'value="{self.n / self.total:.3f}"' if self.total else ""
        bar = f"<progress {value} style='width:16em;vertical-align:middle'></progress>"
        shown = HTML("" if msg == "" else f"<div>{bar} {html.escape(self.format_meter(**known))}</div>")
        if self._place:
            self._place.update(shown)
        elif msg != "":
            self._place = display(shown, display_id=True)
        return True


def has_page() -> bool:
    """Return whether there may be a page that shows outputs as they change: a kernel, and not the runner's."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel") and not os.environ.get("DEEPORCH_HEADLESS")


_WITH_TOTAL = "{desc}{n_fmt} of {total_fmt}{unit}, {remaining} left{postfix}"
_WITHOUT_TOTAL = "{desc}{n_fmt}{unit}, {elapsed}{postfix}"


def progress(iterable: Any = None, **options: Any) -> tqdm:
    """Return a tqdm bar over `iterable` (or a manual one with ``total=``)."""
    if _LISTENER.get() is not None:
        return _Told(iterable, **options)
    if os.environ.get("DEEPORCH_HEADLESS"):
        return tqdm(iterable, mininterval=10, maxinterval=60, ncols=100, ascii=True, **options)
    if has_page():
        return _InPage(iterable, **options)
    options = {"delay": 1.0, **options}  # seconds: what is done, or has failed, before shows no bar
    if sys.stderr.isatty():
        return tqdm(iterable, **options)
    return tqdm(iterable, mininterval=10, ncols=100, **{**options, "leave": True})  # else its line would not end
