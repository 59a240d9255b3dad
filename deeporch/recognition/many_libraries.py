"""Mixtures across libraries, for a network that knows instruments, not sessions: of many of them.

What a library's notes have in common and others' have not (tuning, microphone, room, noise, loudness, length, attack)
is a shortcut to the instrument's name. Each is drawn anew for every note or mixture, so that it says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
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

PITCHES = 88  # from A0
HALVES = np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float32)  # what each float16 is
WAVES = 8  # cosines over log-frequency that make up a random equalizer
PEAK = 128.0  # of every note before it is transformed, so that float16 holds its frames
ATTACK = 3  # frames that keep their pace when a note is drawn out


@dataclass(frozen=True)
class Changes:
    """A constant-Q seen through changes of notes and mixtures, for ``fit(features=…)``; each is switched off by 0."""

    features: ConstantQ
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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, bins, frames of one mixture."""
        return self.features.shape

    def of(self, mixtures: LibraryMixtures, which: torch.Tensor, *, device: str | torch.device = "cpu") -> torch.Tensor:
        """Return the changed features of some mixtures: [batch, 1, bins, frames]."""
        bank, random = mixtures.bank, np.random.default_rng([mixtures.seed, int(which[0]), len(which)])
        batch, _ = np.nonzero(mixtures.rows[which] >= 0)
        rows = mixtures.rows[which][mixtures.rows[which] >= 0]
        place, late = self._places(bank, rows, random)
        total = np.zeros((len(which), *bank.frames.shape[1:]), np.float32)
        mix(bank.frames, HALVES, rows, place, self._gains(bank, rows, batch, random), late, batch, total)
        return self._recorded(self.features.decibels(torch.from_numpy(total).to(device)), random)

    def _gains(self, bank: Bank, rows: np.ndarray, which: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return what each bin of each note is multiplied by: another microphone, instrument and level."""
        table, count, bins = bank.table.iloc[rows], len(rows), self.features.bins
        waves = np.arange(1, WAVES + 1)[:, None]
        basis = np.cos(math.pi * waves * np.linspace(0, 1, bins)) / np.sqrt(waves)
        level = random.normal(0, self.equalizer, (count, WAVES)) * (random.random((count, 1)) < 0.8) @ basis
        octave = np.arange(bins) / self.features.bins_per_octave - (table["midi"].to_numpy()[:, None] - A0) / 12
        level += random.normal(0, self.tilt, (count, 1)) * octave
        if self.interpolate:
            keys = zip(table["instrument"], table["midi"], strict=True)
            others = np.array([random.choice(bank.same[key]) for key in keys])
            apart = np.clip(bank.envelope[others] - bank.envelope[rows], -20, 20)
            smooth = np.cumsum(np.pad(apart, ((0, 0), (3, 2)), "edge"), 1)
            share = random.uniform(0, 1.2, (count, 1)) * (random.random((count, 1)) < self.interpolate)
            level += share * (smooth[:, 5:] - smooth[:, :-5]) / 5
        known = table["instrument"] < len(bank.classes.instruments)
        as_recorded = (random.random(which.max() + 1) < 0.5)[which] & known
        recorded = 20 * np.log10(table["peak"].clip(lower=1e-3)) + random.normal(0, 3, count)
        level += np.where(as_recorded, recorded, random.normal(0, 6, count))[:, None]
        return (10 ** (np.clip(level, -80, 40) / 20)).astype(np.float32)

    def _places(self, bank: Bank, rows: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return which frame of each note stands at each time (-1: none), and how many frames late it starts."""
        count, frames = len(rows), self.features.frames
        time = np.arange(frames)
        changed = random.random(count) < self.time
        factor = np.where(changed, 1.7 ** random.uniform(-1, 1, count), 1.0)[:, None]
        first = np.where(changed & (random.random(count) < self.no_attack), random.integers(2, 13, count), 0)[:, None]
        late = np.where(changed & (random.random(count) < 0.25), random.integers(1, 6, count), 0)
        attack = np.where(time < ATTACK, time, ATTACK + (time - ATTACK) / factor)
        place = np.where(first > 0, first + time / factor, attack).astype(np.int64)
        last = np.minimum(frames, np.maximum(first[:, 0] + 4, bank.table["frames"].to_numpy()[rows]))
        cut = np.where(changed & (random.random(count) < 0.15), random.integers(3, frames, count), frames)
        return np.where((place < last[:, None]) & (time < cut[:, None]), place, -1), late

    def _recorded(self, x: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        """Return features [batch, 1, bins, frames] as if recorded elsewhere: room, noise, low-pass."""
        batch, bins = len(x), x.shape[2]
        generator = torch.Generator().manual_seed(int(random.integers(1 << 60)))

        def draw(*shape: int) -> torch.Tensor:
            return torch.rand(*shape, generator=generator)

        if self.room:
            x = reverberate(x, self.room * draw(batch) * (draw(batch) < 0.5), self.features)
        if self.noise:
            slope = torch.linspace(-0.5, 0.5, bins)[:, None] * torch.randn(batch, 1, 1, 1, generator=generator) * 0.25
            floor = self.noise * draw(batch, 1, 1, 1) + slope + 0.04 * torch.randn(x.shape, generator=generator)
            x = torch.where(draw(batch, 1, 1, 1) < 0.6, torch.maximum(x, floor.clamp(min=0)), x)
            cut = torch.randint(150 * bins // 216, bins, (batch, 1, 1, 1), generator=generator)
            low_pass = (draw(batch, 1, 1, 1) < 0.15) & (torch.arange(bins)[:, None] > cut)
            x = x.masked_fill(low_pass, 0)
        return x


class Bank:
    """The constant-Q frames of the notes of several libraries, in detuned versions."""

    def __init__(self, libraries: Sequence[NoteLibrary], classes: Classes, changes: Changes, *, seed: int = 0) -> None:
        self.classes, features = classes, changes.features
        random, rows = np.random.default_rng(seed), []
        instrument = [*classes.instrument_of_class.tolist(), len(classes.instruments)]  # the last: of no class
        for number, library in enumerate(libraries):
            middle, class_of = float(library.table["peak"].median()), classes.match(library).tolist()
            tuned = [
                -tuning(library.sound(note).numpy(), row.midi, library.sample_rate) if row.midi >= A0 else 0.0
                for note, row in enumerate(progress(list(library.table.itertuples()), desc="tuning"))
            ]
            for version in range(changes.versions):
                for note, row in enumerate(library.table.itertuples()):
                    if not A0 <= row.midi < A0 + PITCHES:
                        continue
                    rows.append({
                        "library": number, "midi": row.midi, "version": version, "note": note,
                        "instrument": instrument[class_of[note]],
                        "class": class_of[note] if class_of[note] >= 0 else len(classes) + row.midi - A0,
                        "peak": row.peak / middle,
                        "cents": tuned[note] + (version > 0) * np.clip(random.normal(0, changes.detune), -50, 50),
                        "frames": -(-round(row.seconds * library.sample_rate) // features.hop),
                    })  # fmt: skip
        self.table = pd.DataFrame(rows)
        self.rows = self.table.groupby(["library", "instrument", "midi"]).indices
        self.same = self.table.groupby(["instrument", "midi"]).indices
        self.frames = np.empty((len(rows), features.frames, features.bins, 2), np.int16)
        self.envelope = np.empty((len(rows), features.bins), np.float32)
        for part in progress(np.array_split(np.arange(len(rows)), max(1, len(rows) // 16)), desc="constant-Q"):
            sounds = [libraries[rows[i]["library"]].sound(rows[i]["note"]).numpy().astype(np.float32) for i in part]
            detuned = [fill(sound, rows[i]["cents"], features.samples) for sound, i in zip(sounds, part, strict=True)]
            frames = features.frames_of(torch.from_numpy(np.stack(detuned)))
            self.frames[part] = frames.numpy().astype(np.float16).view(np.int16)
            power = frames.square().sum(-1).mean(1, keepdim=True)
            widest = torch.nn.functional.max_pool1d(power, 5, 1, 2)[:, 0]
            self.envelope[part] = (10 * torch.log10(widest + 1e-6)).numpy()


def tuning(sound: np.ndarray, midi: int, rate: int) -> float:
    """Return by how many cents a note's first partials are sharp of its name, -60 to 60; 0 within 10."""
    part = sound[round(0.1 * rate) :][: rate // 2] if len(sound) > 0.3 * rate else sound
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 4 * rate)) ** 0.5
    cents = np.arange(-60, 61, 2)
    first = 440 * 2 ** ((midi - 69 + cents / 100) / 12)
    partials = np.arange(1, 9)[:, None] * first
    found = spectrum[np.round(4 * partials[partials[:, -1] < 0.45 * rate]).astype(int)].sum(0)
    sharp = float(cents[found.argmax()]) if found.any() else 0.0
    return sharp if abs(sharp) > 10 else 0.0


def fill(sound: np.ndarray, cents: float, samples: int) -> np.ndarray:
    """Return a note, moved by some cents, as a window has it: float32 [samples], of peak `PEAK`."""
    if cents:
        sound = np.interp(np.arange(0, len(sound) - 1, 2 ** (cents / 1200)), np.arange(len(sound)), sound)
    out = np.zeros(samples, np.float32)
    out[: len(sound)] = sound[: len(out)] * (PEAK / max(np.abs(sound).max(), 1e-6))
    return out


class LibraryMixtures:
    """Mixtures of 1 to 10 of a bank's notes; ``fit`` is given `epoch`, of which no two are alike."""

    n = 10

    def __init__(
        self, bank: Bank, changes: Changes, *, size: int, weights: Sequence[float] | None = None, seed: int = 0
    ) -> None:
        self.bank, self.changes, self.classes, self.seed = bank, changes, bank.classes, seed
        self.columns = len(self.classes) + PITCHES  # of targets: the last are notes of instruments without a name
        table = bank.table
        self.key = f"{size} mixtures of {len(table)} notes of {table['library'].max() + 1} libraries, seed {seed}"
        self.rows = np.full((size, self.n), -1)
        self.weights = np.ones(table["library"].max() + 1) if weights is None else np.asarray(weights, float)
        self.pitches = {key: part["midi"].unique() for key, part in table.groupby(["library", "instrument"])}
        self.libraries = {i: part["library"].unique() for i, part in table.groupby("instrument")}
        named = len(self.classes.instruments)
        share = np.zeros(named + 1)
        for i, count in table.groupby("instrument")["midi"].nunique().items():
            share[i] = math.sqrt(count)
        share[named] = share[:named].sum() * changes.unknown if share[named] else 0
        self.share = share / share.sum()

    def __len__(self) -> int:
        return len(self.rows)

    def epoch(self, number: int) -> LibraryMixtures:
        """Return the mixtures of an epoch."""
        made, random = copy(self), np.random.default_rng([self.seed, number])
        made.seed, made.rows = int(random.integers(1 << 60)), self.rows.copy()
        for row in made.rows:
            drawn = self._draw(random)
            row[: len(drawn)] = drawn
        return made

    def class_indices(self) -> torch.Tensor:
        """Return the column of each note, int64 [mixtures, n]; one past the last where there is none."""
        columns = self.bank.table["class"].to_numpy()[self.rows]
        return torch.from_numpy(np.where(self.rows < 0, self.columns, columns))

    def _draw(self, random: np.random.Generator) -> np.ndarray:
        """Return the rows of one mixture: 1 to 10 notes, every fourth time 1 to 3."""
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
            found.setdefault((instrument, midi), int(random.choice(self.bank.rows[library, instrument, midi])))
        return np.array(list(found.values()))


def named_classes(libraries: Sequence[NoteLibrary]) -> Classes:
    """Return the notes of all instruments that have a name, in any of the libraries."""
    table = pd.concat([library.table[["instrument", "midi"]] for library in libraries], ignore_index=True)
    table = table.query(f"instrument != '{OTHER}' and {A0} <= midi < {A0 + PITCHES}").value_counts()
    table = table.rename("recordings").reset_index().sort_values(["instrument", "midi"])
    table["name"] = table["instrument"] + " " + table["midi"].map(midi_to_pitch)
    return Classes.from_dict({"by": "note", **table.to_dict("list")})


@numba.njit(fastmath=True, cache=True)
def mix(
    frames: np.ndarray, halves: np.ndarray, rows: np.ndarray, place: np.ndarray, gain: np.ndarray, late: np.ndarray,
    which: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
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
