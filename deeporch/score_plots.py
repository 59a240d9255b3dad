"""Pictures of a solution: who plays what, when and how loud."""

from __future__ import annotations

from matplotlib.figure import Figure

from .pitches import DYNAMICS, INSTRUMENTS
from .plots import FAMILY_COLOURS, GREY, style
from .score import desk
from .solutions import Solution


def draw_piano_roll(solution: Solution, *, dark: bool | None = None) -> Figure:
    """Draw a solution as a piano roll, one lane a player.

    Parameters
    ----------
    solution : Solution
        Each note is a bar with its pitch and dynamic; louder notes are thicker, colours are families, retuning is
        written in cents.
    dark : bool, optional
        For dark themes; default: as the style around, which is light.

    Returns
    -------
    matplotlib.figure.Figure
    """
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
