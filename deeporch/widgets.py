"""Listening in JupyterLab: players that are short, mono, level, and never start by themselves."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
import soundfile
import torch
from IPython.display import HTML

LOUDNESS_DB = -20.0  # RMS of what is played, re full scale
PEAK = 0.95


def player(audio: torch.Tensor | np.ndarray, sample_rate: int = 44_100, *, label: str = "") -> HTML:
    """Return an audio player to show in a notebook.

    Parameters
    ----------
    audio : torch.Tensor or numpy.ndarray
        Mono [samples]. Played at −20 dB RMS, or softer where it would clip: loudness carries no information here.
    sample_rate : int
        In Hz.
    label : str
        What is heard; shown before the player and read to those who cannot see it.

    Raises
    ------
    ValueError
        If the audio is not mono, empty, or has samples that are not finite.
    """
    samples = np.asarray(audio, dtype=np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ValueError(f"A player needs finite mono audio [samples], but got shape {list(samples.shape)}.")
    rms, peak = np.sqrt(np.mean(samples**2)), np.abs(samples).max()
    gain = min(10 ** (LOUDNESS_DB / 20) / rms, PEAK / peak) if peak > 0 else 1.0
    file = io.BytesIO()
    soundfile.write(file, samples * gain, sample_rate, format="MP3")
    data = base64.b64encode(file.getvalue()).decode()
    return HTML(
        '<div style="display:flex;align-items:center;gap:.75em;margin:.2em 0">'
        f'<span style="min-width:16em">{html.escape(label)}</span>'
        f'<audio controls preload="metadata" aria-label="{html.escape(label or "sound")}" '
        f'src="data:audio/mpeg;base64,{data}"></audio></div>'
    )
