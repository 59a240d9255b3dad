"""A library of notes as a card for JupyterLab: counts, pitch ranges, summary."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

# Mid-tones that stand out on white and on black alike; all text takes the colour of the page.
COLOURS = {
    "woodwinds": "#2f8f5b",
    "brass": "#b5722b",
    "strings": "#c2544d",
    "keyboards": "#5f76d6",
    "plucked strings": "#8a6bbf",
}
OTHER = "#808080"
LEFT, STEP, BAR, ROW = 60, 6, 9, 14  # pixels: margin, semitone, bar height, row height


def pitch_range_svg(table: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Return a chart of the pitches of every instrument as SVG.

    Parameters
    ----------
    table, summary : pandas.DataFrame
        Of a NoteLibrary. Each instrument is a row of bars; a gap in it is a pitch that is missing.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    low, high = 12 * (table["midi"].min() // 12), 12 * (table["midi"].max() // 12 + 1)
    width, height = LEFT + STEP * (high - low) + 10, ROW * len(summary) + 20
    parts = []
    for octave in range(low, high + 1, 12):
        x = LEFT + STEP * (octave - low)
        parts.append(f'<path d="M{x} 0V{height - 16}" stroke="currentColor" stroke-opacity=".25"/>')
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="middle">C{octave // 12 - 1}</text>')
    for row, (instrument, line) in enumerate(summary.iterrows()):
        y = ROW * row + 2
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR}" text-anchor="end">{escape(str(instrument))}</text>')
        pitches = np.unique(table.loc[table["instrument"] == instrument, "midi"])
        for run in np.split(pitches, np.flatnonzero(np.diff(pitches) > 1) + 1):
            parts.append(
                f'<rect x="{LEFT + STEP * (run[0] - low)}" y="{y}" width="{STEP * len(run)}" height="{BAR}" rx="2" '
                f'fill="{COLOURS.get(line["family"], OTHER)}"><title>{escape(str(line["name"]))}</title></rect>'
            )
    return (
        f'<svg role="img" aria-label="Pitch range of each instrument" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="max-width:100%;height:auto" font-size="10" fill="currentColor" '
        f'font-family="sans-serif">{"".join(parts)}</svg>'
    )


def library_html(title: str, table: pd.DataFrame, summary: pd.DataFrame, skipped: pd.DataFrame) -> str:
    """Return the card of a library as HTML.

    Parameters
    ----------
    title : str
        The heading.
    table, summary, skipped : pandas.DataFrame
        Of a NoteLibrary.

    Returns
    -------
    str
        A ``<div>`` that follows the light or dark theme of the page.
    """
    if not len(table):
        return f"<div><strong>{escape(title)}</strong></div>"
    families = [family for family in COLOURS if family in set(summary["family"])]
    legend = " ".join(f'<span style="color:{COLOURS[f]}">&#9632;</span> {escape(f)}' for f in families)
    lost = ""
    if len(skipped):
        listed = "".join(f"<li>{escape(file)}: {escape(reason)}</li>" for file, reason in skipped.head(20).to_numpy())
        more = f"<li>and {len(skipped) - 20} more in <code>.skipped</code></li>" if len(skipped) > 20 else ""
        lost = f"<details><summary>{len(skipped):,} files skipped</summary><ul>{listed}{more}</ul></details>"
    return (
        f"<div><p><strong>{escape(title)}</strong></p><p>{legend}</p>{pitch_range_svg(table, summary)}"
        f"<details><summary>Summary by instrument</summary>{summary.to_html(border=0)}</details>{lost}</div>"
    )
