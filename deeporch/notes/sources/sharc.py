"""SHARC: the steady spectra of orchestral instruments, turned back into sound.

Citation: Gregory J. Sandell, *SHARC: Sandell harmonic archive*, 1994, from the McGill University Master Samples.
Licence:  none is stated in the file.
URL:      https://github.com/gregsandell/sharc-timbre (``sharc.xml``)
Checksum: none is published.
Grammar:  <instrument id><note keyNum (MIDI number - 12) fundHz><a n p>: a harmonic's amplitude and phase (radians).

A spectrum has no attack, no vibrato and no end: each note is given its own, drawn at random from its name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ...util.files import file_hash
from ..recordings import SAMPLE_RATE, Found, Notes, as_filter, prepare

VERSION = 1
LENGTH = 1.6  # seconds that are synthesised
HIGHEST = 18_000.0  # Hz: partials above are left out
WHERE = "Get sharc.xml from https://github.com/gregsandell/sharc-timbre: give it as root= or set DEEPORCH_SHARC_ROOT."

# Abbreviation and technique; what is not listed (pizzicato, mutes of the brass, ensembles) has no name of ours.
NAMES = {
    "violin_vibrato": ("Vn", "ord"), "violin_martele": ("Vn", "martele"), "viola_vibrato": ("Va", "ord"),
    "viola_martele": ("Va", "martele"), "cello_vibrato": ("Vc", "ord"), "cello_martele": ("Vc", "martele"),
    "CB": ("Cb", "ord"), "CB_martele": ("Cb", "martele"), "CB_muted": ("Cb", "muted"), "flute_vibrato": ("Fl", "ord"),
    "piccolo": ("Picc", "ord"), "oboe": ("Ob", "ord"), "English_horn": ("EH", "ord"), "Bb_clarinet": ("ClBb", "ord"),
    "bass_clarinet": ("BClBb", "ord"), "bassoon": ("Bn", "ord"), "contrabassoon": ("CBn", "ord"),
    "C_trumpet": ("TpC", "ord"), "Bach_trumpet": ("TpC", "bach"), "trombone": ("Tbn", "ord"),
    "alto_trombone": ("Tbn", "alto"), "tuba": ("BTb", "ord"), "French_horn": ("Hn", "ord"),
}  # fmt: skip


def find(
    root: Path | None, *, instruments: str | Iterable[str] | None = None, technique: str | Iterable[str] | None = None
) -> Found:
    """List the spectra."""
    if root is None or not root.is_file():
        raise FileNotFoundError(WHERE if root is None else f"There is no file {str(root)!r}. {WHERE}")
    wanted, techniques = as_filter(instruments), as_filter(technique)
    rows, skipped = [], []
    for identity, note in _notes(root):
        file = f"{identity}-{note.get('keyNum')}"
        if identity not in NAMES:
            skipped.append((file, "no instrument of ours"))
            continue
        instrument, how = NAMES[identity]
        if (wanted is None or instrument in wanted) and (techniques is None or how in techniques):
            row = {"instrument": instrument, "midi": int(note.get("keyNum")) + 12, "dynamic": "mf", "technique": how}
            rows.append({**row, "take": "1", "file": file})
    return Found(root, rows, skipped, f"{VERSION} {LENGTH} {file_hash(root)}")


def _notes(root: Path) -> list[tuple[str, ElementTree.Element]]:
    """Return the id of its instrument and the element of every note."""
    try:
        tree = ElementTree.parse(root).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{str(root)!r} is no XML ({error}): give SHARC's sharc.xml as root=.") from None
    return [(part.get("id"), note) for part in tree.iter("instrument") for note in part.findall("note")]


def read(found: Found, seconds: float) -> Notes:
    """Synthesise the notes, at most `seconds` (and 1.6 s) of each."""
    elements = {f"{identity}-{note.get('keyNum')}": note for identity, note in _notes(found.root)}
    for row in found.rows:
        element = elements[row["file"]]
        partials = [(int(a.get("n")), float(a.text), float(a.get("p"))) for a in element.findall("a")]
        sound = synthesise(float(element.get("fundHz")), np.array(partials), seed=zlib.crc32(row["file"].encode()))
        yield prepare(row, sound[:, None], SAMPLE_RATE, seconds=min(seconds, LENGTH))


def synthesise(frequency: float, partials: np.ndarray, *, seed: int) -> np.ndarray:
    """Return a note, float32 [samples], of partials [partials, (number, amplitude, phase)]: peak 0.5."""
    random = np.random.default_rng(seed)
    time = np.arange(round(LENGTH * SAMPLE_RATE)) / SAMPLE_RATE
    rate, depth = random.uniform(4.5, 6.5), random.uniform(0, 0.012) * random.integers(0, 2)
    drift = 0.0007 * np.interp(time, np.linspace(0, LENGTH, 17), np.cumsum(random.normal(0, 1, 17)))
    vibrato = depth * np.sin(2 * np.pi * rate * time + random.uniform(0, 2 * np.pi)) * np.clip(time / 0.3, 0, 1)
    phase = 2 * np.pi * np.cumsum(1 + vibrato + drift) / SAMPLE_RATE
    attack = 10 ** random.uniform(-2, -0.9)
    sound = np.zeros_like(time)
    for number, amplitude, start in partials[partials[:, 0] * frequency < HIGHEST]:
        rise = 1 - np.exp(-time / (attack * random.uniform(0.6, 1.6) * (1 + number / 20)))
        swell = 1 + random.uniform(0, 0.15) * np.sin(2 * np.pi * rate * time + random.uniform(0, 2 * np.pi))
        sound += amplitude * rise * swell * np.sin(number * frequency * phase + start)
    breath = np.convolve(random.normal(0, 1, len(time)), np.ones(4) / 4, "same")
    sound += breath * np.abs(sound).max() * 10 ** random.uniform(-4, -2.2)
    release = np.exp(-np.clip(time - random.uniform(0.6, LENGTH), 0, None) / 0.08)
    return (0.5 * sound * release / np.abs(sound).max()).astype(np.float32)
