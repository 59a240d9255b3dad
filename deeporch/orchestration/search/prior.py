"""A recognizer's answer as a prior: notes that it finds likely cost less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...util.audio import read_sound
from .problem import SearchProblem

if TYPE_CHECKING:
    from ...recognition.recognizer import Recognizer

TRUST = 0.05  # of the network's log-odds in what a note costs
PREFERENCE = 0.02  # of the same beside a spectral correlation of 0 to 1, where notes are screened
LEAST, MOST = 0.02, 0.9999  # probabilities below and above these count as these: soft notes are often missed


def ask(problem: SearchProblem, recognizer: Recognizer) -> torch.Tensor:
    """Return the probability of each candidate's class in the target, float32 [candidates]; NaN where it has none."""
    sound = read_sound(problem.sound, problem.notes.sample_rate, recognizer.sample_rate)
    probabilities = recognizer.calibration.probabilities(recognizer.logits([sound]))[0]
    classes = recognizer.model.classes.match(problem.notes)[torch.from_numpy(problem.rows)]
    return torch.where(classes >= 0, probabilities[classes.clamp(min=0)], torch.nan)


def propose(problem: SearchProblem, recognizer: Recognizer) -> SearchProblem:
    """Return the problem with a prior: what is minimised is the distance times the product of odds ** −TRUST."""
    evidence = ask(problem, recognizer).clamp(LEAST, MOST).logit().nan_to_num(0.0)
    return problem.informed(evidence, TRUST, PREFERENCE)
