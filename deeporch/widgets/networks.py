"""The networks that widgets ask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ..features.constantq import ConstantQ
from ..features.mel import Mel
from ..recognition.recognizer import CHECKPOINTS, Heard, Recognizer

Given = Sequence[str | Path | Recognizer] | None  # files and names of networks, or networks; None: all that ship

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
        self._kept = [(features, audio.clone(), features(audio)), *self._kept[:3]]
        return self._kept[0][2]


class Networks:
    """Recognizers by name, each loaded when first asked: those given (files, names), or all that ship."""

    def __init__(self, given: Given = None) -> None:
        given = sorted(CHECKPOINTS.glob("*.safetensors")) if given is None else given
        self._known = {f"network {k}" if isinstance(x, Recognizer) else Path(x).stem: x for k, x in enumerate(given, 1)}
        self.names, self.pictures = list(self._known), Remembered()

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
        classes = self[name].model.classes
        if not set(among) & set(classes.instruments):
            raise ValueError(f"The network {name} knows none of the instruments {', '.join(among)}.")
        ranked = self.predict(name, audio, sample_rate, len(classes))
        return list(dict.fromkeys(note.instrument for note in ranked if note.instrument in among))[:n]
