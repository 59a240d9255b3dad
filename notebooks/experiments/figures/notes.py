"""Figures of notebook 00: mel spectrograms and pitch ranges."""

from __future__ import annotations

import numpy as np
import torch
from librosa import mel_frequencies
from matplotlib.axes import Axes

from deeporch.features.mel import Mel
from deeporch.notes.library import NoteLibrary
from deeporch.plots.theme import FAMILY_COLOURS, GREY, style


def mel_picture(ax: Axes, mel: torch.Tensor, features: Mel) -> None:
    """Draw one mel spectrogram [bands, frames] in decibels below its maximum, over seconds and Hz."""
    mel = mel.squeeze()
    decibels = mel * 100 if features.scale == "log" else 10 * mel.clamp(min=1e-12).log10()
    decibels = (decibels - decibels.max()).clamp(min=-80)
    seconds = features.frames * features.hop / features.sample_rate
    extent = (0, seconds, 0, features.n_mels)
    image = ax.imshow(decibels.numpy(), origin="lower", aspect="auto", cmap="magma", extent=extent)
    hertz = mel_frequencies(features.n_mels + 2, fmax=features.sample_rate / 2)[1:-1]
    ticks = [100, 440, 1000, 2000, 5000, 10_000, 20_000]
    ax.set_yticks(np.interp(ticks, hertz, np.arange(len(hertz)) + 0.5), [f"{t:,}" for t in ticks])
    ax.set(xlabel="time / s", ylabel="frequency / Hz")
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label="level / dB", pad=0.01)


@style()
def pitch_ranges(ax: Axes, notes: NoteLibrary) -> None:
    """Draw which pitches each instrument of a library has: a dot a pitch, darker with more recordings."""
    counts = notes.table.groupby(["instrument", "family", "midi"]).size().rename("recordings").reset_index()
    order = counts.groupby("instrument").agg(family=("family", "first"), low=("midi", "mean"))
    order = order.sort_values(["family", "low"]).index.tolist()
    for family, part in counts.groupby("family"):
        alpha = (part["recordings"] / counts["recordings"].max()).clip(0.25, 1)
        rows = part["instrument"].map(order.index)
        colour = FAMILY_COLOURS.get(family, GREY)
        ax.scatter(part["midi"], rows, s=22, marker="s", color=colour, alpha=alpha, linewidth=0)
        ax.scatter([], [], s=30, marker="s", color=colour, label=family)
    octaves = range(int(counts["midi"].min()) // 12 * 12, int(counts["midi"].max()) + 12, 12)
    ax.set_xticks(list(octaves), [f"C{m // 12 - 1}" for m in octaves])
    ax.set_yticks(range(len(order)), order)
    ax.set(xlabel="pitch", ylabel="instrument")
    ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
