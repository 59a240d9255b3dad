"""Figures of orchestrations: spectra beside the target's, the score as a piano roll."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from deeporch.export.staves import desk
from deeporch.notes.instruments import DYNAMICS, INSTRUMENTS
from deeporch.orchestration.solution import Solution
from deeporch.orchestration.target import find_partials
from deeporch.plots.theme import BLUE, FAMILY_COLOURS, GREY, RED, style


def draw_match(target: np.ndarray, solution: Solution) -> Figure:
    """Draw the spectra of a target and a solution over each other, their common partials marked."""
    import torch

    rate = solution.library.sample_rate
    sounds = {"target": np.asarray(target, dtype=np.float32), "solution": solution.render()}
    partials = {name: find_partials(torch.from_numpy(x), rate, threshold=0.02)[0] for name, x in sounds.items()}
    near = [p for p in partials["target"] if len(partials["solution"]) and np.abs(partials["solution"] - p).min() < 0.5]
    with style():
        figure = Figure(figsize=(10, 3.2))
        ax = figure.subplots()
        for (name, sound), colour in zip(sounds.items(), (GREY, BLUE), strict=True):
            n = 1 << (len(sound) - 1).bit_length()
            magnitude = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n))
            hertz = np.arange(len(magnitude)) * rate / n
            keep = (hertz > 40) & (hertz < 8000)
            level = 20 * np.log10(np.maximum(magnitude, 1e-9) / magnitude.max())
            ax.plot(hertz[keep], np.maximum(level[keep], -80), color=colour, linewidth=0.8, alpha=0.8, label=name)
        marks = 440 * 2 ** ((np.array(near) - 69) / 12)
        ax.plot(marks, np.full(len(marks), 3.0), "v", color=RED, markersize=5, label="matched partial")
        ax.set(xscale="log", xlabel="frequency / Hz", ylabel="level / dB", ylim=(-80, 8))
        ax.set_title(f"{len(near)} of {len(partials['target'])} partials of the target are matched")
        ax.legend(fontsize=8, ncols=3, loc="lower left")
    return figure


def draw_piano_roll(solution: Solution, *, dark: bool | None = None) -> Figure:
    """Draw a solution as a piano roll, one lane a player."""
    players = len(solution.orchestra)
    with style(dark=dark):
        figure = Figure(figsize=(9, 0.6 + 0.42 * players))
        ax = figure.subplots()
        for note in solution.notes:
            loud = DYNAMICS.index(note.dynamic) if note.dynamic in DYNAMICS else 4
            family = INSTRUMENTS.get(note.instrument, ("", ""))[1]
            length = max(0.0, min(note.duration, solution.seconds - note.onset))
            ax.barh(
                note.player, length, 0.25 + 0.08 * loud, left=note.onset, color=FAMILY_COLOURS.get(family, GREY),
                alpha=0.55, linewidth=0,
            )  # fmt: skip
            doubled = f"{note.instrument} " if "|" in solution.orchestra[note.player] else ""
            cents = f" {note.cents:+.0f} c" if round(note.cents) else ""
            text = f" {doubled}{note.pitch} $\\mathit{{{note.dynamic}}}${cents}"
            ax.text(note.onset, note.player, text, va="center", fontsize=9)
        ax.set_yticks(range(players), [plays + desk(solution, i) for i, plays in enumerate(solution.orchestra)])
        ax.set(xlabel="time / s", xlim=(0, solution.seconds), ylim=(players - 0.5, -0.5))
        ax.grid(axis="y", visible=False)
        for line in range(1, players):
            ax.axhline(line - 0.5, color=GREY, linewidth=0.4, alpha=0.5)
    return figure
