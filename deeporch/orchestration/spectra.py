"""What a search sees of a sound: its energy over time and bands, which adds up when notes sound together."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_array

from ..notes.library import NoteLibrary
from ..util.checks import check_choice
from ..util.compiled import librosa
from ..util.files import cache_path, cached_array
from ..util.progress import progress

VERSION = 2  # of what is cached
BATCH = 32  # notes that are transformed at a time
EDGES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # seconds: energy is kept between these
LONGEST = EDGES[-1]
ENDING = 0.15  # seconds at the end of a recording in which it may already die away


@dataclass(frozen=True)
class Bands:
    """Energy in slots of time and bands of frequency, from a short-time Fourier transform."""

    scale: str = "log"
    count: int = 128
    per_octave: int = 36
    low: float = 27.5
    high: float = 10_960.0
    n_fft: int = 8192
    hop: int = 2048
    sample_rate: int = 44_100

    def __post_init__(self) -> None:
        check_choice(self.scale, ("log", "mel"), "scale of bands")

    @cached_property
    def filters(self) -> csr_array:
        """float32 [bands, n_fft // 2 + 1], sparse: the weight of each bin's power in each band."""
        if self.scale == "mel":
            return csr_array(librosa.filters.mel(sr=self.sample_rate, n_fft=self.n_fft, n_mels=self.count))
        octaves = math.log2(self.high / self.low)
        centres = self.low * 2 ** (np.arange(round(octaves * self.per_octave) + 1) / self.per_octave)
        bins = np.arange(self.n_fft // 2 + 1) * self.sample_rate / self.n_fft
        width = np.maximum(centres * (2 ** (1 / self.per_octave) - 1), self.sample_rate / self.n_fft)
        weights = np.clip(1 - np.abs(bins - centres[:, None]) / width[:, None], 0, None)
        return csr_array((weights / weights.sum(1, keepdims=True)).astype(np.float32))

    def __call__(self, audio: torch.Tensor, seconds: float = LONGEST) -> torch.Tensor:
        """Return the energy of sounds, float32 [batch, slots, bands], of audio [batch, samples]."""
        seconds = min(seconds, LONGEST)
        audio = audio[:, : round(seconds * self.sample_rate)].float()
        window = torch.hann_window(self.n_fft)
        padded = torch.nn.functional.pad(audio, (self.n_fft // 2, self.n_fft // 2))
        spectra = torch.stft(padded, self.n_fft, self.hop, window=window, center=False, return_complex=True)
        weights = slot_weights(spectra.shape[2], self.hop / self.sample_rate, seconds) / window.square().sum()
        power = spectra.real.square() + spectra.imag.square()
        power = torch.einsum("bkf,sf->kbs", power, weights)
        energy = self.filters @ power.flatten(1).numpy()
        return torch.from_numpy(energy).view(-1, *power.shape[1:]).permute(1, 2, 0)

    def of_notes(self, notes: NoteLibrary, seconds: float = LONGEST, rows: np.ndarray | None = None) -> torch.Tensor:
        """Return the energy of a library's notes, float32 [rows, slots, bands]; transform and cache them once."""
        values, gain = _cached(self, notes)
        rows = np.arange(len(notes)) if rows is None else rows
        slots, part = covered(seconds)
        energy = torch.from_numpy(values[rows, :slots]).float().mul_(torch.from_numpy(gain[rows])[:, None, None])
        return energy.square_().mul_(part[:, None])

    def retuned(self, energy: torch.Tensor, cents: np.ndarray) -> torch.Tensor:
        """Return energies [rows, slots, bands] moved along a logarithmic scale; mel bands stay as they are."""
        if self.scale != "log":
            return energy
        shift = torch.from_numpy(np.asarray(cents, dtype=np.float32)) * self.per_octave / 1200
        place = torch.arange(energy.shape[-1]) - shift[:, None]
        low = place.floor()
        part = (place - low)[:, None]
        gathered = []
        for index in (low.long(), low.long() + 1):
            inside = ((index >= 0) & (index < energy.shape[-1]))[:, None]
            index = index.clamp(0, energy.shape[-1] - 1)[:, None].expand_as(energy)
            gathered.append(energy.gather(-1, index) * inside)
        return gathered[0] * (1 - part) + gathered[1] * part


@dataclass(frozen=True)
class Resolutions:
    """Several bands of one sound beside each other: fine in frequency, and fine in time."""

    parts: tuple[Bands, ...]

    @property
    def counts(self) -> list[int]:
        """How many bands each part has."""
        return [part.filters.shape[0] for part in self.parts]

    def __call__(self, audio: torch.Tensor, seconds: float = LONGEST) -> torch.Tensor:
        """Return the energy of sounds, float32 [batch, slots, bands of all parts], of audio [batch, samples]."""
        return torch.cat([part(audio, seconds) for part in self.parts], -1)

    def of_notes(self, notes: NoteLibrary, seconds: float = LONGEST, rows: np.ndarray | None = None) -> torch.Tensor:
        """Return the energy of a library's notes, float32 [rows, slots, bands of all parts]."""
        return torch.cat([part.of_notes(notes, seconds, rows) for part in self.parts], -1)

    def retuned(self, energy: torch.Tensor, cents: np.ndarray) -> torch.Tensor:
        """Return energies [rows, slots, bands of all parts], each part moved along its scale."""
        pairs = zip(self.parts, energy.split(self.counts, -1), strict=True)
        return torch.cat([part.retuned(one, cents) for part, one in pairs], -1)


@dataclass(frozen=True)
class Spectrum:
    """Energy of the whole sound over frequency: |rfft|² of the sound, zero-padded to a power of two."""

    bands: int = 4096
    sample_rate: int = 44_100

    def __call__(self, audio: torch.Tensor, seconds: float | None = None) -> torch.Tensor:
        """Return float32 [batch, 1, bands] of audio [batch, samples], cut to `seconds`."""
        samples = audio.shape[1] if seconds is None else round(seconds * self.sample_rate)
        n = 1 << max(samples - 1, 1).bit_length()
        power = torch.fft.rfft(audio[:, :samples].float(), n).abs().square()
        pool = (n // 2) // self.bands if self.bands else 1
        if pool > 1:
            power = power[:, : n // 2].reshape(len(audio), -1, pool).mean(2)
        return power[:, None]

    def of_notes(self, notes: NoteLibrary, seconds: float = LONGEST, rows: np.ndarray | None = None) -> torch.Tensor:
        """Return the energy of a library's notes, cut to `seconds`: float32 [rows, 1, bands]."""
        rows = np.arange(len(notes)) if rows is None else rows
        return _spectra(self, notes, seconds, rows.astype(np.int64).tobytes())

    @property
    def exact(self) -> Spectrum:
        """The same with all bins."""
        return replace(self, bands=0)


def sustained(energy: torch.Tensor, lengths: np.ndarray, seconds: float) -> torch.Tensor:
    """Return energies [rows, slots, bands] of recordings so many seconds long as if held for `seconds`."""
    slots, part = covered(seconds)
    lengths = np.where(np.asarray(lengths) >= seconds - ENDING, np.inf, lengths)
    widths = torch.from_numpy(np.diff(EDGES)[:slots].astype(np.float32)) * part
    ends = np.minimum(EDGES[1 : slots + 1], max(seconds, EDGES[1]))
    filled = torch.from_numpy(ends[None] <= lengths[:, None] - ENDING)
    filled[:, :2] = True
    steady = filled.clone()
    steady[:, 0] = slots < 2
    power = torch.einsum("rsb,rs->rb", energy, steady.float()) / (steady * widths).sum(1, keepdim=True)
    return torch.where(filled[..., None], energy, power[:, None] * widths[:, None])


def covered(seconds: float) -> tuple[int, torch.Tensor]:
    """Return how many slots begin before `seconds`, and how much of each lies before it (0 to 1)."""
    starts, ends = np.array(EDGES[:-1]), np.array(EDGES[1:])
    slots = max(1, int((starts < seconds - 1e-9).sum()))
    part = np.clip((seconds - starts) / (ends - starts), 0, 1)[:slots]
    return slots, torch.from_numpy(part.astype(np.float32))


@lru_cache(maxsize=256)
def slot_weights(frames: int, step: float, seconds: float) -> torch.Tensor:
    """Return float32 [slots, frames]: what turns the power of frames into the energy of slots."""
    slots, _ = covered(seconds)
    first = (np.arange(frames) - 0.5) * step
    weights = []
    for low, high in pairwise(EDGES[: slots + 1]):
        high = min(high, max(seconds, low + 1e-3))
        overlap = np.clip(np.minimum(first + step, high) - np.maximum(first, low), 0, None)
        weights.append(overlap)
    return torch.from_numpy(np.array(weights, dtype=np.float32))


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


@lru_cache(maxsize=3)
def _spectra(spectrum: Spectrum, notes: NoteLibrary, seconds: float, rows: bytes) -> torch.Tensor:
    """Return the energy of some notes; that of the last three durations is kept, since targets often share theirs."""
    batches = _batches(np.frombuffer(rows, dtype=np.int64))
    batches = progress(batches, desc="spectra", unit=f" x {BATCH} notes", leave=False)
    return torch.cat([spectrum(notes.audio[torch.tensor(part)], seconds) for part in batches])


@lru_cache(maxsize=8)
def _cached(bands: Bands, notes: NoteLibrary) -> tuple[np.ndarray, np.ndarray]:
    """Return the roots of all notes' energies, float16 [notes, slots, bands], and each note's gain, from the cache."""
    path = cache_path("spectra", notes.name, [VERSION, notes.key, asdict(bands), EDGES], ".npy")
    gain = notes.table["peak"].to_numpy(dtype=np.float32).clip(min=1e-6)

    def fill(out: np.ndarray) -> None:
        batches = _batches(np.arange(len(notes)))
        for rows in progress(batches, desc="spectra", unit=f" x {BATCH} notes", leave=False):
            audio = notes.audio[torch.from_numpy(rows), : int(notes.lengths[rows].max())].float()
            out[rows] = bands(audio / torch.from_numpy(gain[rows])[:, None]).sqrt().half().numpy()

    return cached_array(path, (len(notes), len(EDGES) - 1, bands.filters.shape[0]), fill), gain
