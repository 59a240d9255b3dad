"""Is every recording what its name says? `audit` lists those that sound otherwise, with how sure it is."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import torch

from ..features.constantq import ConstantQ
from ..notes.instruments import midi_to_pitch
from ..notes.library import NoteLibrary

COLUMNS = ("file", "instrument", "pitch", "dynamic", "finding", "sounds", "confidence", "detail")
FEATURES = ConstantQ(bins_per_octave=36)
HARMONICS = np.array([1, 2, 3, 4, 5, 6, 7, 8])
FURTHEST = 13  # semitones from the name that are looked at
SURE = 0.5  # pitch findings with less confidence are not listed
SILENT_DB = -60.0  # peaks below this are silence
CLIPPED = 4  # consecutive samples at the very same extreme
MISLEADING = ("pitch", "octave", "silent", "clipped", "truncated")  # findings that may make a test unfair
WITHOUT = "{}, without suspects"  # name of a test from which they are left out
CUT_DB = -15.0  # a note that is still so loud (below its loudest) in its last 5 ms was cut off


def audit(notes: NoteLibrary) -> pd.DataFrame:
    """Return the suspicious recordings of a library; nothing is dropped.

    Parameters
    ----------
    notes : NoteLibrary
        The library. Its constant-Q (36 bins an octave) is computed and cached if that has not been done.

    Returns
    -------
    pandas.DataFrame
        A row a finding, the surest first: note (row of the library), file, instrument, pitch, dynamic, finding
        (``"pitch"``: sounds some semitones off its name; ``"octave"``: an octave off; ``"silent"``, ``"clipped"``,
        ``"truncated"``, ``"duplicate"``), sounds (the pitch that is heard, "" otherwise), confidence (0 to 1), detail.
    """
    rows = [*_pitch_findings(notes), *_signal_findings(notes), *_duplicates(notes)]
    table = pd.DataFrame(rows, columns=["note", "finding", "sounds", "confidence", "detail"])
    named = notes.table.loc[table["note"], ["file", "instrument", "pitch", "dynamic"]].reset_index(drop=True)
    table = pd.concat([table, named], axis=1).sort_values(["confidence", "note"], ascending=[False, True])
    return table[["note", *COLUMNS]].reset_index(drop=True)


def suspects(notes: NoteLibrary) -> set[int]:
    """Return the rows of a library on which a test may be unfair, as its `audit` finds."""
    found = audit(notes)
    return set(found.loc[found["finding"].isin(MISLEADING), "note"])


def spectra(notes: NoteLibrary) -> np.ndarray:
    """Return each note's mean magnitude over time, float32 [notes, bins]."""
    frames = FEATURES.notes(notes)
    out = np.empty((len(notes), FEATURES.bins), dtype=np.float32)
    for i in range(len(notes)):
        part = frames.values[i * FEATURES.frames : (i + 1) * FEATURES.frames].float()
        out[i] = part.square().sum(-1).sqrt().mean(0).numpy()
    return out


def pitch_scores(spectrum: np.ndarray, midi: int) -> np.ndarray:
    """Return how well a spectrum fits each pitch from `FURTHEST` semitones below a MIDI number to as many above."""
    step = FEATURES.bins_per_octave // 12
    loud = np.sqrt(spectrum / max(float(spectrum.max()), 1e-12))
    loud = np.maximum.reduce([loud, np.roll(loud, 1), np.roll(loud, -1)])  # partials may be a third of a semitone off
    weight = 0.85 ** np.arange(len(HARMONICS))

    def strength(harmonics: np.ndarray, at: int) -> float:
        bins = np.rint(at * step + FEATURES.bins_per_octave * np.log2(harmonics)).astype(int)
        inside = (bins >= 0) & (bins < len(loud))
        return float((loud[bins[inside]] * weight[inside]).sum() / weight[inside].sum()) if inside.any() else 0.0

    candidates = midi - 21 + np.arange(-FURTHEST, FURTHEST + 1)
    return np.array([strength(HARMONICS, at) - strength(HARMONICS - 0.5, at) for at in candidates])


def _pitch_findings(notes: NoteLibrary) -> list[tuple]:
    """Compare each note with its name; what all notes of an instrument have in common is the instrument's tuning."""
    scores = np.stack([pitch_scores(s, m) for s, m in zip(spectra(notes), notes.table["midi"], strict=True)])
    found = []
    for instrument, group in notes.table.groupby("instrument"):
        usual = np.median(scores[group.index], axis=0)  # an instrument's spectrum favours some wrong pitches always
        offsets = np.arange(-FURTHEST, FURTHEST + 1)
        if (whole := int(usual.argmax())) != FURTHEST:  # numbered with another middle C, or named as written
            semitones = int(offsets[whole])
            off = group.index[scores[group.index, whole] > scores[group.index, FURTHEST]]
            share = len(off) / len(group)
            if share > SURE:
                text = f"{instrument} sounds {semitones:+d} semitones from its names, in {share:.0%} of its notes"
                kind = "octave" if abs(semitones) == 12 else "pitch"
                pitches = np.clip(notes.table["midi"] + semitones, 0, 127)
                found += [(i, kind, midi_to_pitch(int(pitches[i])), share, text) for i in off]
                continue
        for i in group.index:
            gain = (scores[i] - scores[i][FURTHEST]) - (usual - usual[FURTHEST])
            best = int(gain.argmax())
            confidence = float(np.clip(gain[best] / 0.5, 0, 1))
            if best == FURTHEST or confidence < SURE or scores[i][best] <= scores[i][FURTHEST]:
                continue
            semitones = int(offsets[best])
            kind = "octave" if abs(semitones) == 12 else "pitch"
            sounds = midi_to_pitch(int(notes.table["midi"][i]) + semitones)
            found.append((i, kind, sounds, confidence, f"sounds {semitones:+d} semitones from its name"))
    return found


def _signal_findings(notes: NoteLibrary) -> list[tuple]:
    found = []
    for i, length in enumerate(notes.lengths.tolist()):
        audio = notes.audio[i, :length].float()
        peak = float(audio.abs().max()) if length else 0.0
        if peak < 10 ** (SILENT_DB / 20):
            found.append((i, "silent", "", 1.0, f"its peak is {20 * np.log10(max(peak, 1e-9)):.0f} dB"))
            continue
        run = _longest_run(audio.abs() >= peak * (1 - 1e-3))
        if run >= CLIPPED and peak > 0.5:
            found.append((i, "clipped", "", min(1.0, run / 16 + 0.5), f"{run} samples in a row at its peak {peak:.2f}"))
        width = min(length, notes.sample_rate // 200)
        power = audio[: length // width * width].reshape(-1, width).square().mean(1)
        below = float(10 * torch.log10(power[-1] / power.max()))
        if below > CUT_DB and length < notes.audio.shape[1]:  # the longest are cut by the library itself
            detail = f"ends {-below:.0f} dB below its loudest"
            found.append((i, "truncated", "", min(1.0, 1 - below / CUT_DB / 2), detail))
    return found


def _longest_run(flags: torch.Tensor) -> int:
    """Return the length of the longest run of true."""
    edges = torch.diff(torch.nn.functional.pad(flags.int(), (1, 1)))
    starts, ends = torch.nonzero(edges == 1).flatten(), torch.nonzero(edges == -1).flatten()
    return int((ends - starts).max()) if len(starts) else 0


def _duplicates(notes: NoteLibrary) -> list[tuple]:
    """Find recordings with the same samples as an earlier one, but for their level."""
    seen: dict[str, int] = {}
    found = []
    for i, length in enumerate(notes.lengths.tolist()):
        audio = notes.audio[i, : min(length, notes.sample_rate)].float()
        shape = (audio / audio.abs().max().clamp(min=1e-9) * 64).round().to(torch.int8)
        key = hashlib.sha256(shape.numpy().tobytes()).hexdigest()
        if key in seen:
            found.append((i, "duplicate", "", 1.0, f"the same sound as {notes.table['file'][seen[key]]}"))
        seen.setdefault(key, i)
    return found
