"""What a recognizer makes of a sound, as a distance: the angle between two embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.distances import Distance, angle

if TYPE_CHECKING:
    from deeporch.features.constantq import ConstantQ
    from deeporch.recognition.recognizer import Recognizer

BATCH = 32  # sounds that the network sees at a time


def embedding_distance(recognizer: Recognizer) -> Distance:
    """Return one minus the cosine between what a recognizer's network knows of two sounds before it names notes.

    That is `PitchNet.embed`: some dozens of numbers for each pitch. An evaluation costs some milliseconds, many times
    as much as under the other distances: made to be judged (`distance_validation.judge`) and measured, not searched.

    Parameters
    ----------
    recognizer : Recognizer
        With a PitchNet. It sees the first second and a half.

    Returns
    -------
    Distance
        Named ``"embedding"``. Its energies are complex constant-Qs, which add up exactly.
    """
    frames, model = Frames(recognizer.model.features), recognizer.model

    @torch.inference_mode()
    def embed(views: torch.Tensor) -> torch.Tensor:
        pictures = (frames.features.decibels(part.unflatten(-1, (-1, 2))) for part in views.split(BATCH))
        return torch.cat([model.embed(picture).flatten(1) for picture in pictures])

    return Distance("embedding", frames, angle, about="angle between a recognizer's embeddings", represent=embed)


@dataclass(frozen=True)
class Frames:
    """Complex constant-Qs in the place of a distance's energies: real and imaginary parts, [..., frames, 2 x bins]."""

    features: ConstantQ

    def __call__(self, sounds: torch.Tensor, seconds: float) -> torch.Tensor:
        """Return those of sounds [batch, samples]; the duration does not matter."""
        return self.features.frames_of(sounds).flatten(2)

    def of_notes(self, notes: NoteLibrary, seconds: float, rows: np.ndarray) -> torch.Tensor:
        """Return those of some notes of a library."""
        rows, every = torch.from_numpy(np.asarray(rows)), self.features.notes(notes)
        values = every.window(rows, torch.zeros_like(rows), self.features.frames).float()
        return (values * every.gain[rows, None, None, None]).flatten(2)
