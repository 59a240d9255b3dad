"""Solutions as stereo WAV, the players seated on the stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from ..notes.instruments import writing
from ..util.checks import check_range
from ..util.files import writing_to

if TYPE_CHECKING:
    from ..orchestration.solution import Solution

PEAK = 0.95
WET = 10 ** (-9 / 20)  # the room, against the direct sound


def to_wav(solution: Solution, path: str | Path, *, room: float = 0.0) -> Path:
    """Write a solution as 24-bit stereo, its players panned over the stage as an orchestra sits.

    Parameters
    ----------
    solution : Solution
        What to write.
    path : str or Path
        The file; its folder is made if it is missing.
    room : float
        Reverberation time in seconds, 0 to 10: how long the room takes to fall by 60 dB. Default: no room.

    Returns
    -------
    Path
        The file. It is as loud as the solution renders, or softer so that no peak exceeds 0.95.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If `room` lies outside its range.
    """
    check_range(room, 0, 10, "room")
    rate = solution.library.sample_rate
    stereo = np.einsum("ps,pc->sc", solution.stems(), panning(solution))
    if room:
        stereo = _reverberate(stereo, room, rate)
    stereo *= min(1.0, PEAK / max(float(np.abs(stereo).max()), 1e-9))
    with writing_to(path) as temporary:
        soundfile.write(temporary, stereo, rate, subtype="PCM_24", format="WAV")
    return Path(path)


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
