"""`TrainingMonitor`: a running `fit` to look at, to stop and to resume."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import traitlets
from torch import nn

from ..mixtures.mixtures import Mixtures
from ..plots import svg
from ..training.loop import History, copy_weights, fit
from ..util.progress import has_page, told
from .controls import Room, blank, button, count, row, side_by_side


class TrainingMonitor(Room):
    """Live curves of a training, with buttons to start, stop and resume it; the epoch at hand is lost by stopping."""

    status = traitlets.Unicode("ready")

    def __init__(
        self, model: nn.Module, train: Mixtures | Callable[[int], Mixtures], valid: Mixtures | None = None, *,
        folder: str | Path | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(prefix="deeporch-") if folder is None else None
        self.folder = Path(folder or self._temporary.name)
        self.model, self._train, self._valid, self._options = model, train, valid, options
        self._before = copy_weights(model)
        self.history: History | None = None
        self.latest: dict = {}
        self._start = button("Start", self.start, tooltip="Train, or go on after the last whole epoch")
        (self._curves,) = blank(1)
        self.furnish(row(self._start), self.work, self._curves)

    @property
    def table(self) -> pd.DataFrame:
        """The epochs that are done."""
        return pd.DataFrame(self.latest.get("history", []))

    def start(self) -> None:
        """Start or resume the training: in a thread beside the page, or, where there is no page, here, with tqdm."""
        if self.work.running:
            self.message.warn("It is running already.")
            return
        self.status = "running"
        if not has_page():
            self._finish(self._fit())
            return
        self._start.disabled = True
        self.work.start(self._fit_quietly, done=self._finish)

    def still(self) -> str:
        """Return the curves."""
        return self._curves.value

    def _fit(self) -> History:
        if not (self.folder / "last.safetensors").is_file():  # stopped in its first epoch: from the beginning
            self.model.load_state_dict(self._before)
        callback = self._tell
        return fit(self.model, self._train, self._valid, folder=self.folder, callback=callback, **self._options)

    def _fit_quietly(self) -> History:
        try:
            with told(lambda *_: None):  # the bar is our own, and `fit` must not be broken off between two epochs
                return self._fit()
        except BaseException:
            self.status = "failed"
            raise
        finally:
            self._start.disabled = False

    def _tell(self, state: dict) -> bool:
        """Show what `fit` tells; True stops it."""
        self.latest = {**state, "history": list(state["history"])}
        done, total = (state["epoch"] - 1) * state["size"] + state["seen"], state["epochs"] * state["size"]
        if has_page() and not self.work.stopping:
            rate, left = state["mixtures_per_second"], seconds_left(state)
            what = f"epoch {state['epoch']} of {state['epochs']}, {rate:,.0f} mixtures/s, {left:,.0f} s left"
            self.work.tell(done, total, what)
            self._draw()
        return self.work.stopping

    def _finish(self, history: History) -> None:
        self.history = history
        self.latest["history"] = history.table.to_dict("records")
        if history.stopped == "by the callback":
            self.status, self._start.description = "stopped", "Resume"
            done = f"Stopped after {count(history.epochs, 'whole epoch')}: Resume goes on from there."
        else:
            self.status, self._start.description = "done", "Start"
            because = f" ({history.stopped})" if history.stopped else ""
            done = f"Done: {count(history.epochs, 'epoch')} in {history.seconds:,.1f} s{because}."
        self.message.text = done
        self._draw()
        self.leave()

    def _draw(self) -> None:
        state, table = self.latest, self.table
        epochs = table["epoch"].tolist() if len(table) else []
        within = round(state.get("epoch", 1) - 1 + state.get("seen", 0) / state.get("size", 1), 2)  # the epoch at hand
        begun = "loss" in state and (not epochs or within > epochs[-1])

        def column(name: str, scale: float = 1.0) -> list[float]:
            return (scale * table[name]).tolist() if epochs else []

        parts = []
        for what, label, scale in (("loss", "loss / nats", 1), ("recall", "notes recognised / %", 100)):
            train, valid = column(f"train_{what}", scale), column(f"valid_{what}", scale)
            x, train = ([*epochs, within], [*train, scale * state[what]]) if begun else (epochs, train)
            parts.append(svg.curves([("training", x, train), ("test", epochs, valid)], xlabel="epoch", ylabel=label))
        rates = [("", epochs, column("mixtures_per_second"))]
        self._curves.value = side_by_side(*parts, svg.curves(rates, xlabel="epoch", ylabel="mixtures/s"))


def seconds_left(state: dict) -> float:
    """Return how long a training will take, from what `fit` tells: the epochs so far, or else the rate of this one."""
    rows = state["history"]
    an_epoch = rows[-1]["seconds"] / len(rows) if rows else state["size"] / state["mixtures_per_second"]
    return an_epoch * (state["epochs"] - state["epoch"] + 1 - state["seen"] / state["size"])
