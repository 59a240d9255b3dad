"""The trained networks that the widgets can ask, by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ..constantq import ConstantQ
from ..features import Mel
from ..recognizer import CHECKPOINTS, Heard, Recognizer

NONE_THERE = (
    "No trained network is here yet, so none answers: `make five-minutes "
    'ARGS="--checkpoint data/checkpoints/mine"` trains one.'
)


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
    """Recognizers by name; each is loaded when it is first asked.

    Parameters
    ----------
    given : sequence of (str, Path or Recognizer), optional
        Checkpoints; default all in data/checkpoints/.

    Attributes
    ----------
    pictures : Remembered
        What they see: they share it.
    """

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

    def hear(self, name: str, audio: torch.Tensor, sample_rate: int, n: int) -> list[Heard]:
        """Return the `n` likeliest notes of a sound."""
        recognizer = self[name]
        return recognizer.predict(audio, sample_rate, n=min(n, len(recognizer.model.classes)))

    def instruments(self, name: str, audio: torch.Tensor, sample_rate: int, n: int, among: Sequence[str]) -> list[str]:
        """Return the `n` likeliest different instruments, among some.

        Raises
        ------
        ValueError
            If the network knows none of them.
        """
        recognizer = self[name]
        if not set(among) & set(recognizer.model.classes.instruments):
            raise ValueError(f"The network {name} knows none of the instruments {', '.join(among)}.")
        ranked = recognizer.predict(audio, sample_rate, n=len(recognizer.model.classes))
        return list(dict.fromkeys(note.instrument for note in ranked if note.instrument in among))[:n]
