"""The front picture of the README: a mixture, what it is made of, and what a network hears in it.

``python notebooks/experiments/front_picture.py`` redraws figures/front.png from the embedded library.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from deeporch.features.constantq import ConstantQ
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.mixtures.splits import split
from deeporch.notes.library import load_library
from deeporch.plots.audio import waveform
from deeporch.plots.theme import COLOURS, GREY, ink, style
from deeporch.recognition.recognizer import Recognizer
from deeporch.results import ROOT
from deeporch.util.files import atomic_path

CHECKPOINT = "soundfont"  # of data/checkpoints: anybody can redraw the picture
NOTES, SEED = 5, 0
RANGE_DB = 60.0  # that the colours fade over
SHOWN = 8  # bars


def draw_front(
    mixtures: Mixtures,
    which: int,
    ranked: Sequence[tuple[str, str, float]],
    *,
    features: ConstantQ | None = None,
    dark: bool | None = None,
) -> Figure:
    """Draw one mixture: its waveform, its constant-Q with each note's partials, and a network's answer as bars.

    Parameters
    ----------
    mixtures : Mixtures
        A set, by note.
    which : int
        Which of it.
    ranked : sequence of (instrument, pitch, probability)
        The network's answer, the likeliest first, as `Recognizer.predict` returns it; at most eight are drawn. What
        plays is marked as right, anything else as wrong.
    features : ConstantQ, optional
        Default: ``ConstantQ()``.
    dark : bool, optional
        For dark themes; default: as the style around.

    Raises
    ------
    ValueError
        If nothing is ranked, or the set has no such mixture.
    """
    if not 0 <= which < len(mixtures):
        raise ValueError(f"There is no mixture {which}: the set has {len(mixtures)}, numbered from 0.")
    if not len(ranked):
        raise ValueError("There is no answer to draw: give the network's notes as (instrument, pitch, probability).")
    audio = mixtures.audio([which])[0]
    played = mixtures.notes.table.iloc[mixtures.indices[which].tolist()]
    with style(dark=dark):
        figure = Figure(figsize=(11, 4.6))
        left, right = figure.subplots(1, 2, width_ratios=(2.2, 1))
        above = left.inset_axes((0, 1.06, 1, 0.16), sharex=left)
        waveform(above, audio, mixtures.notes.sample_rate, colour=GREY)
        above.set(xlabel="", yticks=[], ylabel="")
        above.tick_params(labelbottom=False)
        above.set_title(f"A mixture of {mixtures.n} notes, and the partials of each")
        _draw_partials(left, _notes_alone(mixtures, which), played, features or ConstantQ())
        _draw_answer(right, ranked, list(zip(played["instrument"], played["pitch"], strict=True)))
    return figure


def _notes_alone(mixtures: Mixtures, which: int) -> torch.Tensor:
    """Return each note of a mixture by itself, as it is in it: [n, samples]."""
    recipe = (mixtures.indices, mixtures.gains, mixtures.starts)
    each = (None if part is None else part[which][:, None] for part in recipe)
    alone = Mixtures.from_recipe(mixtures.notes, mixtures.classes, *each, samples=mixtures.samples)
    return alone.audio(range(mixtures.n))


def _draw_partials(ax: Axes, sounds: torch.Tensor, played: pd.DataFrame, features: ConstantQ) -> None:
    """Draw the constant-Q of a sum of notes [n, samples]; each point has the colours of the notes that sound there."""
    level = features(sounds.sum(0, keepdim=True))[0, 0].numpy()
    level = np.clip(1 + features.floor_db * (1 - level) / RANGE_DB, 0, 1)
    padded = torch.nn.functional.pad(sounds, (0, max(0, features.samples - sounds.shape[1])))[:, : features.samples]
    with warnings.catch_warnings(action="ignore"):  # librosa: the lowest octave's filters are longer than the sound
        power = np.abs(features.transform(padded.numpy()))[..., : features.frames] ** 2
    colours = np.array([to_rgb(colour) for colour in (COLOURS * 2)[: len(sounds)]])
    share = power / np.maximum(power.sum(0), 1e-20)
    background = np.array(to_rgb(ax.get_facecolor()))
    picture = background + level[..., None] * (np.einsum("nbf,nc->bfc", share, colours) - background)
    seconds = features.frames * features.hop / features.sample_rate
    ax.imshow(picture, origin="lower", aspect="auto", extent=(0, seconds, -0.5, features.bins - 0.5))
    for colour, note in zip(colours, played.itertuples(), strict=True):
        place = features.bins_per_octave * (np.log2(440 * 2 ** ((note.midi - 69) / 12) / features.fmin))
        mark = {"marker": "<", "color": colour, "markersize": 9, "markeredgecolor": ink(), "linestyle": "none"}
        ax.plot(0.985 * seconds, place, label=f"{note.instrument} {note.pitch}", **mark)
    octaves = range(2, features.octaves + 1)
    ax.set_yticks([(12 * o - 9) * features.bins_per_octave // 12 for o in octaves], [f"C{o}" for o in octaves])
    ax.set(xlabel=f"time / s   (colour fades over {RANGE_DB:.0f} dB)", ylabel="pitch")
    ax.set(xlim=(0, seconds), ylim=(features.bins_per_octave, features.bins - 1))
    ax.grid(False)
    ax.legend(loc="upper right", ncols=5, fontsize=9, frameon=True, framealpha=0.85, handlelength=1)


def _draw_answer(ax: Axes, ranked: Sequence[tuple[str, str, float]], played: list[tuple[str, str]]) -> None:
    """Draw the ranked notes as lying bars: right ones in their colour with a tick, wrong ones hatched with a cross."""
    shown = [(instrument, pitch, float(probability)) for instrument, pitch, probability in ranked[:SHOWN]]
    for place, (instrument, pitch, probability) in enumerate(shown):
        right = (instrument, pitch) in played
        look = {"facecolor": "none", "edgecolor": GREY, "hatch": "///"}
        if right:
            look = {"color": (COLOURS * 2)[played.index((instrument, pitch))]}
        ax.barh(place, 100 * probability, 0.7, **look)
        mark = f" {'✓' if right else '✗'} {100 * probability:.0f} %"
        ax.text(100 * probability, place, mark, va="center", fontsize=9)
    missed = [" ".join(note) for note in played if note not in {note[:2] for note in shown}]
    ax.set_yticks(range(len(shown)), [f"{instrument} {pitch}".strip() for instrument, pitch, _ in shown])
    ax.set(xlabel="probability / %" + (f"\nnot heard: {', '.join(missed)}" if missed else ""), xlim=(0, 125))
    ax.set_xticks(range(0, 101, 25))
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_title("What the network hears")


def _mixture() -> Mixtures:
    """Return the first mixture of held-out notes that the seed gives in which no two play the same pitch class."""
    notes = load_library("soundfont")
    classes = Classes(notes)
    pools = split(notes, classes, by="recording")
    tries = Mixtures(notes, classes, n=NOTES, size=100, seed=SEED, per_instrument=1, pool=pools.test)
    pitches = torch.tensor(notes.table["midi"].tolist())[tries.indices.long()] % 12
    first = next(i for i, row in enumerate(pitches.tolist()) if len(set(row)) == NOTES)
    return Mixtures.from_recipe(notes, classes, tries.indices[first : first + 1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Redraw figures/front.png: one mixture of held-out notes, whatever the network answers."""
    names = list(sys.argv[1:] if arguments is None else arguments)
    if len(names) > 1:
        print("usage: python notebooks/experiments/front_picture.py [CHECKPOINT]", file=sys.stderr)
        return 2
    try:
        recognizer = Recognizer.load(names[0] if names else CHECKPOINT)
        mixtures = _mixture()
        answer = recognizer.predict(mixtures.audio([0])[0], mixtures.notes.sample_rate, n=SHOWN)
        path = ROOT / "figures" / "front.png"
        figure = draw_front(mixtures, 0, answer)
        with atomic_path(path) as temporary, style():
            figure.savefig(temporary, metadata={"Software": None})
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
