"""Mixtures across libraries, for a network that knows instruments, not sessions: of many of them.

What a library's notes have in common and others' have not (tuning, microphone, room, noise, loudness, length, attack)
is a shortcut to the instrument's name. Each is drawn anew for every note or mixture, so that it says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import pandas as pd
import torch

from ..features.constantq import ConstantQ
from ..features.recoloured import reverberate
from ..mixtures.classes import Classes
from ..models.pitchnet import A0
from ..notes.instruments import midi_to_pitch
from ..notes.library import NoteLibrary
from ..notes.sources.soundfont import OTHER
from ..util.progress import progress

HALVES = np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float32)  # what each float16 is
WAVES = 8  # cosines over log-frequency that make up a random equalizer
PEAK = 128.0  # of every note before it is transformed, so that float16 holds its frames
ATTACK = 3  # frames that keep their pace when a note is drawn out


@dataclass(frozen=True)
class Changes:
    """How training notes are changed; each is switched off by 0."""

    versions: int = 3
    detune: float = 22.0
    equalizer: float = 5.0
    tilt: float = 1.5
    interpolate: float = 0.6
    time: float = 0.7
    no_attack: float = 0.4
    room: float = 0.8
    noise: float = 0.35
    single: float = 0.4
    unknown: float = 0.06


class Bank:
    """The constant-Q frames of the notes of several libraries, in detuned versions."""

    def __init__(
        self,
        libraries: Sequence[NoteLibrary],
        features: ConstantQ,
        instruments: Sequence[str],
        *,
        versions: int = 3,
        detune: float = 22.0,
        seed: int = 0,
    ) -> None:
        self.features, self.instruments = features, list(instruments)
        random, rows = np.random.default_rng(seed), []
        for number, library in enumerate(libraries):
            middle = float(library.table["peak"].median())
            for version in range(versions):
                for note, row in enumerate(library.table.itertuples()):
                    if not A0 <= row.midi < A0 + 88:
                        continue
                    known = row.instrument in self.instruments
                    rows.append({
                        "library": number, "midi": row.midi, "version": version, "note": note,
                        "instrument": self.instruments.index(row.instrument) if known else len(self.instruments),
                        "peak": row.peak / middle,
                        "cents": float(np.clip(random.normal(0, detune), -50, 50)) if version else 0.0,
                        "frames": -(-round(row.seconds * library.sample_rate) // features.hop),
                    })  # fmt: skip
        self.table = pd.DataFrame(rows)
        self.frames = np.empty((len(rows), features.frames, features.bins, 2), np.int16)
        self.envelope = np.empty((len(rows), features.bins), np.float32)
        for part in progress(np.array_split(np.arange(len(rows)), max(1, len(rows) // 16)), desc="constant-Q"):
            sounds = [self._sound(libraries[rows[i]["library"]], rows[i]) for i in part]
            frames = features.frames_of(torch.from_numpy(np.stack(sounds)))
            self.frames[part] = frames.numpy().astype(np.float16).view(np.int16)
            power = frames.square().sum(-1).mean(1, keepdim=True)
            widest = torch.nn.functional.max_pool1d(power, 5, 1, 2)[:, 0]
            self.envelope[part] = (10 * torch.log10(widest + 1e-6)).numpy()

    def _sound(self, library: NoteLibrary, row: dict) -> np.ndarray:
        """Return one version of a note as the features' window has it, float32 [samples]."""
        sound = library.sound(row["note"]).numpy().astype(np.float32)
        if row["cents"]:
            sound = np.interp(np.arange(0, len(sound) - 1, 2 ** (row["cents"] / 1200)), np.arange(len(sound)), sound)
        out = np.zeros(self.features.samples, np.float32)
        out[: len(sound)] = sound[: len(out)] * (PEAK / max(np.abs(sound).max(), 1e-6))
        return out


class LibraryMixtures:
    """Endless mixtures of a bank's notes, no two alike."""

    def __init__(self, bank: Bank, changes: Changes, *, weights: Sequence[float] | None = None, seed: int = 0) -> None:
        self.bank, self.changes, self.random = bank, changes, np.random.default_rng(seed)
        table = bank.table
        self.weights = np.ones(table["library"].max() + 1) if weights is None else np.asarray(weights, float)
        self.rows = {
            key: part.to_numpy() for key, part in table.groupby(["library", "instrument", "midi"]).groups.items()
        }
        self.same = {key: part.to_numpy() for key, part in table.groupby(["instrument", "midi"]).groups.items()}
        self.pitches = {key: part["midi"].unique() for key, part in table.groupby(["library", "instrument"])}
        self.libraries = {i: part["library"].unique() for i, part in table.groupby("instrument")}
        named = len(bank.instruments)
        share = np.zeros(named + 1)
        for i, count in table.groupby("instrument")["midi"].nunique().items():
            share[i] = math.sqrt(count)
        share[named] = share[:named].sum() * changes.unknown if share[named] else 0
        self.share = share / share.sum()
        waves = np.arange(1, WAVES + 1)[:, None]
        self.basis = np.cos(math.pi * waves * np.linspace(0, 1, bank.features.bins)) / np.sqrt(waves)

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return features, pitches and instruments of some mixtures."""
        drawn = [self._draw() for _ in range(size)]
        which = np.repeat(np.arange(size), [len(notes) for notes in drawn])
        rows = np.concatenate(drawn)
        place, delay = self._places(rows)
        total = np.zeros((size, *self.bank.frames.shape[1:]), np.float32)
        mix(self.bank.frames, HALVES, rows, place, self._gains(rows, which), delay, which, total)
        pitches, instruments = torch.zeros(size, 88), torch.zeros(size, 88, len(self.bank.instruments) + 1)
        midi, instrument = (torch.from_numpy(self.bank.table[c].to_numpy()[rows]) for c in ("midi", "instrument"))
        pitches[which, midi - A0] = 1
        instruments[which, midi - A0, instrument] = 1
        return self._recorded(self.bank.features.decibels(torch.from_numpy(total))), pitches, instruments

    def _draw(self) -> np.ndarray:
        """Return the rows of one mixture: 1 to 10 notes, every fourth time 1 to 3."""
        random = self.random
        count = random.integers(1, 4 if random.random() < 0.25 else 11)
        one = random.choice(len(self.weights), p=self.weights / self.weights.sum())
        one = one if random.random() < self.changes.single else None
        found: dict[tuple[int, int], int] = {}
        while len(found) < count:
            instrument = int(random.choice(len(self.share), p=self.share))
            those = self.libraries[instrument]
            weights = self.weights[those] / self.weights[those].sum()
            library = one if one in those else int(random.choice(those, p=weights))
            midi = int(random.choice(self.pitches[library, instrument]))
            found.setdefault((instrument, midi), int(random.choice(self.rows[library, instrument, midi])))
        return np.array(list(found.values()))

    def _gains(self, rows: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return what each bin of each note is multiplied by: another microphone, instrument and level."""
        random, changes, table = self.random, self.changes, self.bank.table.iloc[rows]
        count, bins = len(rows), self.bank.envelope.shape[1]
        level = random.normal(0, changes.equalizer, (count, WAVES)) * (random.random((count, 1)) < 0.8) @ self.basis
        octave = np.arange(bins) / self.bank.features.bins_per_octave - (table["midi"].to_numpy()[:, None] - A0) / 12
        level += random.normal(0, changes.tilt, (count, 1)) * octave
        if changes.interpolate:
            keys = zip(table["instrument"], table["midi"], strict=True)
            others = np.array([random.choice(self.same[key]) for key in keys])
            apart = np.clip(self.bank.envelope[others] - self.bank.envelope[rows], -20, 20)
            smooth = np.cumsum(np.pad(apart, ((0, 0), (3, 2)), "edge"), 1)
            share = random.uniform(0, 1.2, (count, 1)) * (random.random((count, 1)) < changes.interpolate)
            level += share * (smooth[:, 5:] - smooth[:, :-5]) / 5
        as_recorded = (random.random(which.max() + 1) < 0.5)[which] & (table["instrument"] < len(self.bank.instruments))
        recorded = 20 * np.log10(table["peak"].clip(lower=1e-3)) + random.normal(0, 3, count)
        level += np.where(as_recorded, recorded, random.normal(0, 6, count))[:, None]
        return (10 ** (np.clip(level, -80, 40) / 20)).astype(np.float32)

    def _places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which frame of each note stands at each time (-1: none), and how many frames late it starts."""
        random, changes, frames = self.random, self.changes, self.bank.features.frames
        count, time = len(rows), np.arange(frames)
        changed = random.random(count) < changes.time
        factor = np.where(changed, 1.7 ** random.uniform(-1, 1, count), 1.0)[:, None]
        first = np.where(changed & (random.random(count) < changes.no_attack), random.integers(2, 13, count), 0)[
            :, None
        ]
        late = np.where(changed & (random.random(count) < 0.25), random.integers(1, 6, count), 0)
        attack = np.where(time < ATTACK, time, ATTACK + (time - ATTACK) / factor)
        place = np.where(first > 0, first + time / factor, attack).astype(np.int64)
        last = np.minimum(frames, np.maximum(first[:, 0] + 4, self.bank.table["frames"].to_numpy()[rows]))
        cut = np.where(changed & (random.random(count) < 0.15), random.integers(3, frames, count), frames)
        return np.where((place < last[:, None]) & (time < cut[:, None]), place, -1), late

    def _recorded(self, x: torch.Tensor) -> torch.Tensor:
        """Return features [batch, 1, bins, frames] as if recorded elsewhere: room, noise, low-pass."""
        changes, batch, bins = self.changes, len(x), x.shape[2]
        generator = torch.Generator().manual_seed(int(self.random.integers(1 << 60)))

        def draw(*shape: int) -> torch.Tensor:
            return torch.rand(*shape, generator=generator)

        if changes.room:
            x = reverberate(x, changes.room * draw(batch) * (draw(batch) < 0.5), self.bank.features)
        if changes.noise:
            slope = torch.linspace(-0.5, 0.5, bins)[:, None] * torch.randn(batch, 1, 1, 1, generator=generator) * 0.25
            floor = changes.noise * draw(batch, 1, 1, 1) + slope + 0.04 * torch.randn(x.shape, generator=generator)
            x = torch.where(draw(batch, 1, 1, 1) < 0.6, torch.maximum(x, floor.clamp(min=0)), x)
            cut = torch.randint(150 * bins // 216, bins, (batch, 1, 1, 1), generator=generator)
            low_pass = (draw(batch, 1, 1, 1) < 0.15) & (torch.arange(bins)[:, None] > cut)
            x = x.masked_fill(low_pass, 0)
        return x


def named_classes(libraries: Sequence[NoteLibrary]) -> Classes:
    """Return the notes of all instruments that have a name, in any of the libraries."""
    table = pd.concat([library.table[["instrument", "midi"]] for library in libraries], ignore_index=True)
    table = table.query(f"instrument != '{OTHER}' and {A0} <= midi < {A0 + 88}").value_counts()
    table = table.rename("recordings").reset_index().sort_values(["instrument", "midi"])
    table["name"] = table["instrument"] + " " + table["midi"].map(midi_to_pitch)
    return Classes.from_dict({"by": "note", **table.to_dict("list")})


@numba.njit(fastmath=True, cache=True)
def mix(
    frames: np.ndarray,
    halves: np.ndarray,
    rows: np.ndarray,
    place: np.ndarray,
    gain: np.ndarray,
    late: np.ndarray,
    which: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add notes' frames, each bin times its gain, to the mixtures that they belong to."""
    for k in range(len(rows)):
        note, mixture = frames[rows[k]], out[which[k]]
        for time in range(place.shape[1] - late[k]):
            p = place[k, time]
            if p < 0:
                break
            for b in range(note.shape[1]):
                mixture[time + late[k], b, 0] += gain[k, b] * halves[np.uint16(note[p, b, 0])]
                mixture[time + late[k], b, 1] += gain[k, b] * halves[np.uint16(note[p, b, 1])]
