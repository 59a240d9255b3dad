"""Waveforms."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes

from .theme import BLUE


def envelope(audio: torch.Tensor, points: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how many samples of mono audio fall on each of so many points, and their lowest and highest there."""
    step = max(1, len(audio) // points)
    parts = audio[: len(audio) // step * step].float().reshape(-1, step)
    return step, parts.amin(1).numpy(), parts.amax(1).numpy()


def waveform(ax: Axes, audio: torch.Tensor, sample_rate: int = 44_100, *, colour: str = BLUE) -> None:
    """Draw a mono signal [samples] over seconds."""
    step, low, high = envelope(audio, 800)  # finer than the pixels it would be pale
    seconds = np.arange(len(low)) * step / sample_rate
    ax.fill_between(seconds, low, high, color=colour, linewidth=0)
    ax.set(xlabel="time / s", ylabel="amplitude", xlim=(0, seconds[-1]))
