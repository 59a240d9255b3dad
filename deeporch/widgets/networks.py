"""The trained networks that the widgets can ask, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..recognizer import CHECKPOINTS, Heard, Recognizer

NONE_THERE = (
    "No trained network is here yet, so none answers: `make five-minutes "
    'ARGS="--checkpoint data/checkpoints/mine"` trains one.'
)


class Networks:
    """Recognizers by name; each is loaded when it is first asked.

    Parameters
    ----------
    given : sequence of (str, Path or Recognizer), optional
        Checkpoints; default all in data/checkpoints/.
    """

    def __init__(self, given: Sequence[str | Path | Recognizer] | None = None) -> None:
        given = sorted(CHECKPOINTS.glob("*.safetensors")) if given is None else given
        self._known: dict[str, str | Path | Recognizer] = {}
        for each in given:
            name = f"network {len(self._known) + 1}" if isinstance(each, Recognizer) else Path(each).stem
            self._known[name] = each

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return list(self._known)

    def __getitem__(self, name: str) -> Recognizer:
        """Return one, loaded."""
        if not isinstance(self._known[name], Recognizer):
            self._known[name] = Recognizer.load(self._known[name])
        return self._known[name]

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
