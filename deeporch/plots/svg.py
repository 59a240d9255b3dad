"""Waveforms, spectrograms, answers and curves as SVG, for widgets."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.image import imsave

from ..features.constantq import ConstantQ
from ..features.mel import Mel
from ..util.compiled import librosa
from .audio import envelope

if TYPE_CHECKING:
    from ..recognition.recognizer import Heard

# Okabe and Ito's palette in mid-tones that stand out on white, on black and on the grey of a spectrogram
COLOURS = ("#3b9be8", "#e69f00", "#1fae82", "#d97bb0", "#e0682a", "#c9bd2a", "#8fd0f5")
RIGHT, WRONG = "#3b8fd0", "#d5702b"
WIDTH, LEFT, RIGHT_EDGE, TOP, BOTTOM = 380, 54, 8, 18, 32
HIGH = 250  # pixels, of pictures that stand side by side
TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
PARTIALS = 8  # drawn of each note


@dataclass(frozen=True)
class Partials:
    """Where a note's partials are drawn: its name, fundamental in Hz, start and end in s, and colour."""

    name: str
    frequency: float
    start: float
    end: float
    colour: str


def colour_of(index: int) -> str:
    """Return the colour of a note of a mixture."""
    return COLOURS[index % len(COLOURS)]


def waveform(audio: torch.Tensor, sample_rate: int, *, points: int = 400) -> str:
    """Return mono audio [samples] over seconds as an ``<svg>``."""
    _, low, high = envelope(audio, points)
    top = float(audio.abs().max()) or 1.0
    height, inner = HIGH, HIGH - TOP - BOTTOM
    x = LEFT + np.arange(len(low)) / len(low) * (WIDTH - LEFT - RIGHT_EDGE)
    middle = TOP + inner / 2
    upper, lower = (middle - edge / top * inner / 2 for edge in (high, low))
    outline = [*zip(x, upper, strict=True), *zip(x[::-1], lower[::-1], strict=True)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in outline)
    seconds = len(audio) / sample_rate
    body = f'<polygon points="{path}" fill="{COLOURS[0]}"/>' + _time_axis(seconds, height)
    for value, y in ((top, TOP + 8), (0, middle + 4), (-top, TOP + inner)):
        body += f'<text x="{LEFT - 6}" y="{y}" text-anchor="end">{value:.2g}</text>'
    return _svg(body, height, "waveform, of full scale")


def spectrogram(features: Mel | ConstantQ, picture: torch.Tensor, partials: Sequence[Partials]) -> str:
    """Return features [bins, frames], 0 to 1, of a mixture as an ``<svg>``, with its notes' partials as named lines."""
    levels = picture.reshape(picture.shape[-2:]).numpy()
    height, inner = HIGH, HIGH - TOP - BOTTOM
    wide = WIDTH - LEFT - RIGHT_EDGE
    file = io.BytesIO()
    shade = np.clip(levels[::-1], 0, 1) ** 1.5  # darker between the partials
    imsave(file, shade, cmap="Greys_r", vmin=0, vmax=1.6, format="png", pil_kwargs={"compress_level": 1})
    data = base64.b64encode(file.getvalue()).decode()
    body = [
        f'<image x="{LEFT}" y="{TOP}" width="{wide}" height="{inner}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{data}"/>'
    ]
    seconds = features.frames * features.hop / features.sample_rate

    def y(hertz: float) -> float:
        return TOP + inner * (1 - _position(features, hertz))

    lowest = TOP + inner + 6
    for hertz in TICKS:
        if TOP <= y(hertz) <= lowest:
            lowest = y(hertz) - 12  # where the next number may stand
            text = f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"
            body.append(f'<text x="{LEFT - 5}" y="{y(hertz) + 4:.1f}" text-anchor="end">{text}</text>')
    for note in partials:
        x1, x2 = (LEFT + wide * min(time, seconds) / seconds for time in (note.start, note.end))
        for k in range(1, PARTIALS + 1):
            if TOP <= y(k * note.frequency) <= TOP + inner:
                line = f'x1="{x1:.1f}" x2="{x2:.1f}" y1="{y(k * note.frequency):.1f}" y2="{y(k * note.frequency):.1f}"'
                thin = 'stroke-width="1" stroke-opacity=".85" stroke-dasharray="7 5"'
                look = 'stroke-width="2.2"' if k == 1 else thin
                body.append(f'<line {line} stroke="{note.colour}" {look}/>')
    body += _names(partials, y)
    middle = TOP + inner / 2
    body.append(f'<text x="10" y="{middle}" transform="rotate(-90 10 {middle})">frequency / Hz</text>')
    name = "mel spectrogram" if isinstance(features, Mel) else "constant-Q transform"
    return _svg("".join(body) + _time_axis(seconds, height), height, f"{name}; lines: the notes' partials")


def heard_bars(heard: Sequence[Heard], truth: Sequence[tuple[str, str]], *, title: str) -> str:
    """Return a network's answer as ranked bars, right (✓) and wrong (✗) marked, and what it missed."""
    rows, missed = [], list(truth)
    for note in heard:
        match = next((t for t in missed if t[0] == note.instrument and note.pitch in ("", t[1])), None)
        if match:
            missed.remove(match)
        mark, colour, word = ("✓", RIGHT, "right") if match else ("✗", WRONG, "wrong")
        rows.append(
            f'<tr><td style="color:{colour};font-weight:bold" title="{word}" aria-label="{word}">{mark}</td>'
            f"<td style='padding:0 .6em'>{escape(f'{note.instrument} {note.pitch}'.strip())}</td>"
            f'<td style="width:12em"><div style="background:{colour};height:.8em;border-radius:2px;'
            f'width:{max(0.5, 100 * note.probability):.1f}%"></div></td>'
            f'<td style="text-align:right">{note.probability:.0%}</td></tr>'
        )
    lost = ", ".join(f"{i} {p}".strip() for i, p in missed)
    note = f"<div>missed: {escape(lost)}</div>" if lost else "<div>all named</div>"
    return (
        f'<div style="min-width:20em;margin-right:2em;line-height:1.5"><strong>{escape(title)}</strong>'
        f'<table style="border-collapse:collapse;color:inherit">{"".join(rows)}</table>{note}</div>'
    )


def curves(lines: Sequence[tuple[str, Sequence[float], Sequence[float]]], *, xlabel: str, ylabel: str) -> str:
    """Return curves (name, x, y) over common axes as an ``<svg>``, each with its own dashes and its name at its end."""
    height, inner, wide = 170, 170 - TOP - BOTTOM, WIDTH - LEFT - RIGHT_EDGE - 76
    known = []
    for name, x, y in lines:
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if np.isfinite(y).any():
            known.append((name, x[np.isfinite(y)], y[np.isfinite(y)]))
    if not known:
        return _svg("", height, f"{ylabel}: nothing yet")
    (first, last), (low, high) = (_span(np.concatenate([line[axis] for line in known])) for axis in (1, 2))
    corner = f"M{LEFT} {TOP}V{TOP + inner}H{LEFT + wide}"
    body, used = [f'<path d="{corner}" fill="none" stroke="currentColor" stroke-opacity=".5"/>'], []
    for index, (name, x, y) in enumerate(known):
        px, py = LEFT + wide * (x - first) / (last - first), TOP + inner * (1 - (y - low) / (high - low))
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
        colour, dashes = colour_of(index), ("", "6 3", "2 3")[index % 3]
        stroke = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        body.append(f'<polyline points="{path}" {stroke}/>')
        body.append(f'<circle cx="{px[-1]:.1f}" cy="{py[-1]:.1f}" r="3" fill="{colour}"/>')
        body.append(f'<text x="{px[-1] + 7:.1f}" y="{_free(py[-1] + 4, used):.1f}">{escape(name)}</text>')
    for value, y in ((low, TOP + inner), (high, TOP + 8)):
        body.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end">{_short(float(f"{value:.3g}"))}</text>')
    for value, x, anchor in ((first, LEFT, "start"), (last, LEFT + wide, "end")):
        body.append(f'<text x="{x}" y="{height - 18}" text-anchor="{anchor}">{_short(value)}</text>')
    body.append(f'<text x="{LEFT + wide / 2}" y="{height - 4}" text-anchor="middle">{escape(xlabel)}</text>')
    return _svg("".join(body), height, ylabel)


def _short(value: float) -> str:
    """Return a number as it is read most easily: thousands apart, and no more decimals than it has."""
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _span(values: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest value, apart."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _position(features: Mel | ConstantQ, hertz: float) -> float:
    """Return how high a frequency lies in a picture, 0 to 1 (outside: above or below it)."""
    if isinstance(features, ConstantQ):
        return (features.bins_per_octave * np.log2(hertz / features.fmin) + 0.5) / features.bins
    top = librosa.hz_to_mel(features.sample_rate / 2)
    return float((librosa.hz_to_mel(hertz) / top * (features.n_mels + 1) - 0.5) / features.n_mels)


def _names(partials: Sequence[Partials], y: object) -> list[str]:
    used: list[float] = []
    texts = []
    for note in sorted(partials, key=lambda note: note.frequency):
        place = _free(y(note.frequency) - 3, used, step=-4)
        style = f'fill="{note.colour}" stroke="#000" stroke-width="2.5" paint-order="stroke" font-weight="bold"'
        at = f'x="{WIDTH - RIGHT_EDGE - 4}" y="{place:.1f}" text-anchor="end"'
        texts.append(f"<text {at} {style}>{escape(note.name)}</text>")
    return texts


def _free(place: float, used: list[float], *, step: float = 4) -> float:
    """Return the first place for a line of text from this one down (or up) that no other text has."""
    while any(abs(place - other) < 11 for other in used):
        place += step
    used.append(place)
    return place


def _time_axis(seconds: float, height: int) -> str:
    wide = WIDTH - LEFT - RIGHT_EDGE
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 30, 60, 600) if seconds / s <= 8)
    ticks = "".join(
        f'<text x="{LEFT + wide * t / seconds:.1f}" y="{height - 18}" text-anchor="middle">{t:g}</text>'
        for t in np.arange(0, seconds, step)
    )
    return f'{ticks}<text x="{LEFT + wide / 2}" y="{height - 4}" text-anchor="middle">time / s</text>'


def _svg(body: str, height: int, title: str) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return (
        f'<svg role="img" aria-label="{escape(title)}" {size} '
        'style="flex:1 1 330px;max-width:min(100%,420px);height:auto;margin-right:6px" '
        'font-size="11" font-family="sans-serif" '
        f'fill="currentColor"><text x="{LEFT}" y="12">{escape(title)}</text>{body}</svg>'
    )
