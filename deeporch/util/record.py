"""Named results of a notebook, shown as a table and stored in it for tests, the runner and the README."""

from __future__ import annotations

import html
import math
from typing import Any

METRICS_MIME = "application/x-deeporch-metrics+json"


def record(**metrics: Any) -> None:
    """Show named results as a small table, and store them in the notebook for `read_metrics`.

    Call it in a notebook's last cell. Tests, the results table of the README and the runner read the numbers there.

    Parameters
    ----------
    **metrics : bool, int, float or str
        Name and value. NumPy and PyTorch scalars are converted.

    Raises
    ------
    TypeError, ValueError
        If a value is not a scalar, or not a finite number.

    Examples
    --------
    >>> record(accuracy=0.86625, mixtures=50_000)
    accuracy  0.86625
    mixtures  50,000
    """
    values = {name: _scalar(name, value) for name, value in metrics.items()}
    width = max(map(len, values), default=0)
    shown = {name: _format(value) for name, value in values.items()}
    plain = "\n".join(f"{name:{width}}  {text}" for name, text in shown.items())
    rows = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(t)}</td></tr>" for n, t in shown.items())
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(plain)
    else:
        display({METRICS_MIME: values, "text/plain": plain, "text/html": f"<table>{rows}</table>"}, raw=True)


def _scalar(name: str, value: Any) -> bool | int | float | str:
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"Metric {name} must be a number or a string, but is a {type(value).__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"Metric {name} is {value}: only finite numbers are recorded.")
    return value


def _format(value: bool | int | float | str) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
