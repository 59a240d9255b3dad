"""Progress bars that are pleasant in a terminal and in JupyterLab, and short in a log."""

from __future__ import annotations

import os
import sys
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as notebook_tqdm


def progress(iterable: Any = None, **options: Any) -> tqdm:
    """Return a tqdm bar over `iterable` (or a manual one with ``total=``).

    In JupyterLab it is a widget, in a terminal a line. In a log (no terminal, or ``DEEPORCH_HEADLESS`` is set by the
    runner) it prints at most one plain line every ten seconds.

    Parameters
    ----------
    iterable : iterable, optional
        What to walk through.
    **options
        Passed to tqdm: ``desc``, ``unit``, ``total``, ``leave`` …
    """
    if os.environ.get("DEEPORCH_HEADLESS"):
        return tqdm(iterable, mininterval=10, maxinterval=60, ncols=100, ascii=True, **options)
    in_notebook = "ipykernel" in sys.modules
    if in_notebook or sys.stderr.isatty():
        return notebook_tqdm(iterable, **options)
    return tqdm(iterable, mininterval=10, ncols=100, **options)
