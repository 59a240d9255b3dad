"""Solutions as stereo WAV, the players seated on the stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import fftconvolve

from ..notes.instruments import writing
from ..util.audio import loudness, write_sound
from ..util.checks import check_range

if TYPE_CHECKING:
    from ..orchestration.solution import Solution

PEAK = 0.95
WET = 10 ** (-9 / 20)  # the room, against the direct sound


def to_wav(solution: Solution, path: str | Path, *, room: float = 0.0, gain: float = 1.0) -> Path:
    """Write a solution as 24-bit stereo, its players panned over the stage as an orchestra sits."""
    stereo = gain * stage(solution, room=room)
    write_wav(path, stereo * min(1.0, PEAK / max(float(np.abs(stereo).max()), 1e-9)), solution.library.sample_rate)
    return Path(path)


def stage(solution: Solution, *, room: float = 0.0) -> np.ndarray:
    """Return a solution as stereo float32 [samples, 2], as loud as its target where that is known."""
    check_range(room, 0, 10, "room")
    stereo = np.einsum("ps,pc->sc", solution.stems(), panning(solution))
    now = loudness(stereo)
    stereo *= solution.loudness / now if solution.loudness and now else 1.0
    return _reverberate(stereo, room, solution.library.sample_rate) if room else stereo


def write_wav(path: str | Path, audio: np.ndarray, rate: int) -> None:
    """Write 24-bit WAV, atomically."""
    write_sound(path, audio, rate, subtype="PCM_24")


def panning(solution: Solution) -> np.ndarray:
    """Return each player's gain to the left and to the right: float32 [players, 2], of equal power everywhere."""
    seats = np.array([writing(player.split("|")[0]).seat for player in solution.orchestra])
    for seat in np.unique(seats):  # players of one instrument sit side by side
        group = np.flatnonzero(seats == seat)
        seats[group] += 0.08 * (np.arange(len(group)) - (len(group) - 1) / 2)
    angle = (seats.clip(-1, 1) + 1) * np.pi / 4
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def _reverberate(stereo: np.ndarray, seconds: float, rate: int) -> np.ndarray:
    """Return stereo [samples, 2] with a room's exponentially decaying noise added, and its tail."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal((len(time), 2)) * 10 ** (-3 * time / seconds)[:, None]
    noise *= WET / np.linalg.norm(noise, axis=0)
    wet = fftconvolve(stereo, noise, axes=0)
    wet[: len(stereo)] += stereo
    return wet.astype(np.float32)
