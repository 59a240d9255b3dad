"""`TrainingMonitor`: a running `fit` to look at, to stop and to resume."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
import traitlets
from torch import nn

from ..mixtures.mixtures import Mixtures
from ..plots import svg
from ..training.loop import History, copy_weights, fit
from ..util.progress import has_page, told
from .background import Work
from .controls import Message, Room, button, count, row


class TrainingMonitor(Room):
    """Live curves of a training, with buttons to start, stop and resume it."""

    status = traitlets.Unicode("ready")

    def __init__(
        self,
        model: nn.Module,
        train: Mixtures | Callable[[int], Mixtures],
        valid: Mixtures | None = None,
        *,
        folder: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(prefix="deeporch-") if folder is None else None
        self.folder = Path(folder or self._temporary.name)
        self.model, self._train, self._valid, self._options = model, train, valid, options
        self._before = copy_weights(model)
        self.history: History | None = None
        self.latest: dict = {}
        self.work = Work()
        self.message: Message = self.work.message
        self._start = button("Start", self.start, tooltip="Train, or go on after the last whole epoch")
        self._curves = ipywidgets.HTML()
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

    def stop(self) -> None:
        """Stop within a fraction of a second; the epoch at hand is lost, those before it are kept."""
        self.work.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it stops; return whether it has."""
        return self.work.wait(timeout)

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
        by_hand = history.stopped == "by the callback"
        self.status = "stopped" if by_hand else "done"
        self._start.description = "Resume" if by_hand else "Start"
        because = f" ({history.stopped})" if history.stopped and not by_hand else ""
        self.message.text = (
            f"Stopped after {count(history.epochs, 'whole epoch')}: Resume goes on from there."
            if by_hand
            else f"Done: {count(history.epochs, 'epoch')} in {history.seconds:,.1f} s{because}."
        )
        self._draw()
        self.leave()

    def _draw(self) -> None:
        rows, state = self.latest.get("history", []), self.latest
        epochs = [row["epoch"] for row in rows]
        within = state.get("epoch", 1) - 1 + state.get("seen", 0) / state.get("size", 1)  # of the epoch at hand
        parts = []
        for what, label, scale in (("loss", "loss / nats", 1), ("recall", "notes recognised / %", 100)):
            train = [scale * row[f"train_{what}"] for row in rows]
            valid = [scale * row[f"valid_{what}"] for row in rows]
            x = list(epochs)
            if what in state and (not epochs or within > epochs[-1]):
                x, train = [*epochs, round(within, 2)], [*train, scale * state[what]]
            parts.append(svg.curves([("training", x, train), ("test", epochs, valid)], xlabel="epoch", ylabel=label))
        rates = [row["mixtures_per_second"] for row in rows]
        parts.append(svg.curves([("", epochs, rates)], xlabel="epoch", ylabel="mixtures/s"))
        self._curves.value = f'<div style="display:flex;flex-wrap:wrap">{"".join(parts)}</div>'


def seconds_left(state: dict) -> float:
    """Return how long a training will take, from what `fit` tells: the epochs so far, or else the rate of this one."""
    rows = state["history"]
    an_epoch = rows[-1]["seconds"] / len(rows) if rows else state["size"] / state["mixtures_per_second"]
    return an_epoch * (state["epochs"] - state["epoch"] + 1 - state["seen"] / state["size"])
