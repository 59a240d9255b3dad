"""Progress bars that are pleasant in a terminal and in JupyterLab, and short in a log."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as notebook_tqdm

_LISTENER: ContextVar[Callable[[float, float | None, str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def told(listener: Callable[[float, float | None, str], None]) -> Iterator[None]:
    """Within the block, in this thread, draw no bars, but call ``listener(count, total, description)`` at each step.

    What it raises breaks off the work that is measured.
    """
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


def progress(iterable: Any = None, **options: Any) -> tqdm:
    """Return a tqdm bar over `iterable` (or a manual one with ``total=``).

    In JupyterLab it is a widget, in a terminal a line; within `told` it is not drawn. In a log (no terminal, or
    ``DEEPORCH_HEADLESS`` is set by the runner) it prints at most one plain line every ten seconds.

    Parameters
    ----------
    iterable : iterable, optional
        What to walk through.
    **options
        Passed to tqdm: ``desc``, ``unit``, ``total``, ``leave`` …
    """
    if _LISTENER.get() is not None:
        return _Told(iterable, **options)
    if os.environ.get("DEEPORCH_HEADLESS"):
        return tqdm(iterable, mininterval=10, maxinterval=60, ncols=100, ascii=True, **options)
    in_notebook = "ipykernel" in sys.modules
    if in_notebook or sys.stderr.isatty():
        return notebook_tqdm(iterable, **options)
    return tqdm(iterable, mininterval=10, ncols=100, **{**options, "leave": True})  # else its line would not end
