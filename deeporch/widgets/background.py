"""Work in the background of a widget, and the networks that widgets ask."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import ipywidgets
import torch

from ..features.constantq import ConstantQ
from ..features.mel import Mel
from ..recognition.recognizer import CHECKPOINTS, Heard, Recognizer
from ..util.progress import told
from .controls import Message, button, row

EVERY = 0.1  # seconds between two drawings of the bar


class Stopped(Exception):
    """Raised within work whose stop button was pressed."""


class Work(ipywidgets.VBox):
    """A bar, a stop button and a message for one piece of work at a time."""

    def __init__(self) -> None:
        self.message = Message()
        self._bar = ipywidgets.HTML()
        self._stop = button("Stop", self.stop, tooltip="Stop the work that goes on")
        self._line = row(self._bar, self._stop)
        self._line.layout.display = "none"
        self._thread: threading.Thread | None = None
        self._asked = threading.Event()
        self._drawn = 0.0
        super().__init__(children=(self._line, self.message))

    @property
    def running(self) -> bool:
        """Whether work goes on."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._asked.is_set()

    def start(self, action: Callable[[], object], *, done: Callable[[object], None] | None = None) -> bool:
        """Do `action()` in a thread, then `done(its result)` there; return whether it was begun, else say why not."""
        if self.running:
            self.message.warn("One thing at a time: stop what is running first.")
            return False
        self._asked.clear()
        self.message.text = ""
        self._thread = threading.Thread(target=self._run, args=(action, done), daemon=True)
        self.tell(0, None, "starting")
        self._line.layout.display = "flex"
        self._thread.start()
        return True

    def stop(self) -> None:
        """Ask the work to stop; it does at its next step."""
        self._asked.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work is done; return whether it is."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.running

    def tell(self, count: float, total: float | None, what: str) -> None:
        """Show progress: so many of `total` (None: not known), of what; raise Stopped if it was asked to stop."""
        if self.stopping:
            raise Stopped
        now = time.monotonic()
        if count and now - self._drawn < EVERY and count != total:
            return
        self._drawn = now
        value = f'value="{count / total:.3f}"' if total else ""
        share = f"{count / total:.0%}" if total else ""
        self._bar.value = (
            f'<label style="color:inherit">{html.escape(what)} <progress max="1" {value} '
            f'aria-label="{html.escape(what)}" style="width:16em;vertical-align:middle"></progress> {share}</label>'
        )

    def _run(self, action: Callable[[], object], done: Callable[[object], None] | None) -> None:
        try:
            with self.message.catching(), told(self.tell):
                try:
                    result = action()
                except Stopped:
                    self.message.text = "Stopped."
                else:
                    if done is not None:
                        done(result)
        finally:
            self._line.layout.display = "none"


NONE_THERE = "No trained network is here, so none answers: `deeporch train --checkpoint mine` makes mine.safetensors."


class Remembered:
    """Features that keep their last few pictures: networks that see the same of one sound need it only once."""

    def __init__(self) -> None:
        self._kept: list[tuple[Mel | ConstantQ, torch.Tensor, torch.Tensor]] = []

    def __call__(self, features: Mel | ConstantQ, audio: torch.Tensor) -> torch.Tensor:
        """Return what `features` make of audio [windows, samples]."""
        for known, sound, picture in self._kept:
            if known == features and torch.equal(sound, audio):
                return picture
        picture = features(audio)
        self._kept = [(features, audio.clone(), picture), *self._kept[:3]]
        return picture


class Networks:
    """Recognizers by name, each loaded when first asked: those given (files, names), or all that ship."""

    def __init__(self, given: Sequence[str | Path | Recognizer] | None = None) -> None:
        given = sorted(CHECKPOINTS.glob("*.safetensors")) if given is None else given
        self._known: dict[str, str | Path | Recognizer] = {}
        self.pictures = Remembered()
        for each in given:
            name = f"network {len(self._known) + 1}" if isinstance(each, Recognizer) else Path(each).stem
            self._known[name] = each

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return list(self._known)

    def made_for(self, library: str) -> str:
        """Return the one that is named as a library, whose notes it knows; else the first, or "" without any."""
        return library if library in self._known else next(iter(self._known), "")

    def __getitem__(self, name: str) -> Recognizer:
        """Return one, loaded."""
        known = self._known[name]
        if not isinstance(known, Recognizer):
            known = self._known[name] = Recognizer.load(known)
            known.features = partial(self.pictures, known.model.features)
        return known

    def predict(self, name: str, audio: torch.Tensor, sample_rate: int, n: int) -> list[Heard]:
        """Return the `n` likeliest notes of a sound."""
        recognizer = self[name]
        return recognizer.predict(audio, sample_rate, n=min(n, len(recognizer.model.classes)))

    def instruments(self, name: str, audio: torch.Tensor, sample_rate: int, n: int, among: Sequence[str]) -> list[str]:
        """Return the `n` likeliest different instruments, among some of which the network must know one."""
        recognizer = self[name]
        if not set(among) & set(recognizer.model.classes.instruments):
            raise ValueError(f"The network {name} knows none of the instruments {', '.join(among)}.")
        ranked = recognizer.predict(audio, sample_rate, n=len(recognizer.model.classes))
        return list(dict.fromkeys(note.instrument for note in ranked if note.instrument in among))[:n]
