"""A library of notes as a card for JupyterLab: counts, pitch ranges, summary."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from .instruments import FAMILY_COLOURS

OTHER = "#808080"
LEFT, STEP, BAR, ROW = 150, 6, 9, 14  # pixels: margin, semitone, bar height, row height
LISTED = 20  # reasons why files were left out


def pitch_range_svg(table: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Return the pitches of every instrument of a library as an ``<svg>``: bars, with gaps where a pitch is missing."""
    low, high = 12 * (table["midi"].min() // 12), 12 * (table["midi"].max() // 12 + 1)
    width, height = LEFT + STEP * (high - low) + 10, ROW * len(summary) + 20
    parts = []
    for octave in range(low, high + 1, 12):
        x = LEFT + STEP * (octave - low)
        parts.append(f'<path d="M{x} 0V{height - 16}" stroke="currentColor" stroke-opacity=".25"/>')
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="middle">C{octave // 12 - 1}</text>')
    for row, (instrument, line) in enumerate(summary.iterrows()):
        y = ROW * row + 2
        name = f"{line['name']} · {instrument}" if line["name"] != instrument else str(instrument)
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR}" text-anchor="end">{escape(name)}</text>')
        pitches = np.unique(table.loc[table["instrument"] == instrument, "midi"])
        for run in np.split(pitches, np.flatnonzero(np.diff(pitches) > 1) + 1):
            parts.append(
                f'<rect x="{LEFT + STEP * (run[0] - low)}" y="{y}" width="{STEP * len(run)}" height="{BAR}" rx="2" '
                f'fill="{FAMILY_COLOURS.get(line["family"], OTHER)}"><title>{escape(str(line["name"]))}</title></rect>'
            )
    return (
        f'<svg role="img" aria-label="Pitch range of each instrument" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="max-width:100%;height:auto" font-size="10" fill="currentColor" '
        f'font-family="sans-serif">{"".join(parts)}</svg>'
    )


def library_html(title: str, table: pd.DataFrame, summary: pd.DataFrame, skipped: pd.DataFrame) -> str:
    """Return the card of a library as a ``<div>`` that follows the theme of the page."""
    if not len(table):
        return f"<div><strong>{escape(title)}</strong></div>"
    families = [family for family in FAMILY_COLOURS if family in set(summary["family"])]
    legend = " ".join(f'<span style="color:{FAMILY_COLOURS[f]}">&#9632;</span> {escape(f)}' for f in families)
    lost = ""
    if len(skipped):
        reasons = skipped.head(LISTED).to_numpy()
        listed = "".join(f"<li>{escape(file)}: {escape(reason)}</li>" for file, reason in reasons)
        rest = len(skipped) - LISTED
        more = f"<li>and {rest} more: the attribute <code>skipped</code> lists all</li>" if rest > 0 else ""
        files = f"{len(skipped):,} file{'s' * (len(skipped) > 1)}"
        lost = f"<details><summary>{files} left out</summary><ul>{listed}{more}</ul></details>"
    return (
        f"<div><p><strong>{escape(title)}</strong></p><p>{legend}</p>{pitch_range_svg(table, summary)}"
        f"<details><summary>Summary by instrument</summary>{summary.to_html(border=0)}</details>{lost}</div>"
    )
