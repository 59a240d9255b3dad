"""Targets that change in time: where their sounds begin, and one line a player through the orchestrations of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import librosa
import numpy as np
import torch

from .checks import check_choice
from .solutions import SolutionNote
from .spectra import LONGEST

SHORTEST = 0.2  # seconds of a segment; an onset that comes sooner belongs to the one before
HOP = 256  # samples (5.8 ms at 44.1 kHz): the grid of the onsets
LEAP = 12  # semitones: a player who moves further pays no more


def find_segments(
    sound: torch.Tensor, sample_rate: int, how: str | Sequence[float] = "auto"
) -> list[tuple[float, float]]:
    """Return where each segment of a sound begins and ends, in seconds.

    Parameters
    ----------
    sound : torch.Tensor
        [samples]
    sample_rate : int
        In Hz.
    how : {"auto", "one", "onsets"} or sequence of float
        ``"onsets"``: at each onset that librosa detects; ``"one"``: not at all; ``"auto"``: at onsets, if the sound is
        longer than four seconds. Or the times at which segments begin. Segments of more than four seconds, which no
        note of a library fills, are cut into equal parts.

    Raises
    ------
    ValueError
        If `how` is unknown, or the times do not ascend within the sound.
    """
    end = len(sound) / sample_rate
    if isinstance(how, str):
        check_choice(how, ("auto", "one", "onsets"), "way to find segments")
        onsets = how == "onsets" or (how == "auto" and end > LONGEST)
        times = _onsets(sound, sample_rate) if onsets else []
    else:
        times = [float(time) for time in how]
        if any(b <= a for a, b in zip([-1e-9, *times], [*times, end], strict=True)):
            raise ValueError(f"Segments begin at ascending times between 0 and {end:.2f} s, but are {list(how)}.")
    begins = [0.0]
    for time in times:
        if time - begins[-1] >= SHORTEST and end - time >= SHORTEST:
            begins.append(time)
    segments = []
    for low, high in zip(begins, [*begins[1:], end], strict=True):
        edges = np.linspace(low, high, 1 + int(np.ceil((high - low) / LONGEST - 1e-9)))
        segments += list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return segments


def _onsets(sound: torch.Tensor, sample_rate: int) -> list[float]:
    samples = sound.numpy()
    return librosa.onset.onset_detect(
        y=samples, sr=sample_rate, hop_length=HOP, units="time", backtrack=True, delta=0.1
    ).tolist()


def smoothest_path(costs: Sequence[np.ndarray], moves: Sequence[np.ndarray]) -> list[int]:
    """Return one choice a segment whose costs plus those of the moves between them are least (Viterbi's algorithm).

    Parameters
    ----------
    costs : sequence of arrays [choices]
        Of each segment.
    moves : sequence of arrays [choices, choices of the next]
        One fewer.
    """
    total, back = costs[0], []
    for cost, move in zip(costs[1:], moves, strict=True):
        through = total[:, None] + move
        back.append(through.argmin(0))
        total = through.min(0) + cost
    path = [int(total.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


def movement(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return how far players move, 0 to 1, between choices of two segments.

    Parameters
    ----------
    before, after : numpy.ndarray
        MIDI numbers [choices, players]; NaN rests, and to or from a rest is no move.

    Returns
    -------
    numpy.ndarray
        [choices before, choices after]: the mean over players of the interval, an octave or more being 1.
    """
    steps = np.abs(before[:, None] - after[None]).clip(max=LEAP) / LEAP
    return np.nan_to_num(steps).mean(2)


def tie(notes: Sequence[SolutionNote], lengths: Sequence[float]) -> list[SolutionNote]:
    """Return notes in which those that go on are one: same player and recording, without a gap, and long enough for it.

    Parameters
    ----------
    notes : sequence of SolutionNote
        In the order of their onsets.
    lengths : sequence of float
        The seconds of each recording of the library.
    """
    tied: list[SolutionNote] = []
    last: dict[int, int] = {}  # where each player's latest note is
    for note in notes:
        i = last.get(note.player)
        if i is not None:
            held = tied[i]
            joined = note.onset + note.duration - held.onset
            if (
                held.note == note.note
                and abs(held.onset + held.duration - note.onset) < 1e-6
                and joined <= lengths[note.note] + SHORTEST
            ):
                tied[i] = replace(held, duration=joined)
                continue
        last[note.player] = len(tied)
        tied.append(note)
    return tied
