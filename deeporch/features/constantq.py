"""`ConstantQ`: a constant-Q transform that is mixed, not computed: each note is transformed once, mixtures are sums."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np
import scipy.sparse
import soxr
import torch

from ..mixtures import mixing
from ..mixtures.mixtures import Mixtures
from ..notes.library import NoteLibrary
from ..util.compiled import librosa
from ..util.files import atomic_path, cache_path, cached_array
from ..util.processor import free_cores
from ..util.progress import progress
from .note_frames import NoteFrames, _move, stretched

VERSION = 1  # of what is cached
ROOM = 128.0  # a note's frames are kept as float16, times this, divided by its peak: no overflow, no loss of quiet ones
BATCH = 16  # notes that are transformed at a time


@dataclass(frozen=True)
class ConstantQ:
    """Constant-Q transform in decibels below the mixture's own maximum, so that its level does not matter.

    The transform is librosa's. It is linear, so that a mixture's transform is the sum of its notes' complex frames;
    each note is transformed once, cached, and `of` only adds, takes the magnitude and its logarithm.

    Source: C. Schörkhuber, A. Klapuri: Constant-Q transform toolbox for music processing, SMC 2010.
    """

    bins_per_octave: int = 24  # a quarter-tone a bin; or another multiple of 12
    octaves: int = 9  # from `fmin` upwards; 9 from A0 reach 14.1 kHz
    hop: int = 1024  # samples; a multiple of 2 to the power of octaves - 1
    frames: int = 64  # of the window, the study's 1.47 s: shorter sounds are padded, of longer ones the beginning
    fmin: float = 27.5  # Hz, centre of the lowest bin
    floor_db: float = -80.0  # level that becomes 0, below the maximum (which becomes 1); silence is 0
    sample_rate: int = 44_100  # Hz

    def __post_init__(self) -> None:
        if self.bins_per_octave < 12 or self.bins_per_octave % 12:
            raise ValueError(f"bins_per_octave must be a multiple of 12, but is {self.bins_per_octave}.")
        if self.hop % 2 ** (self.octaves - 1):
            step = 2 ** (self.octaves - 1)
            raise ValueError(f"hop must be a multiple of {step} for {self.octaves} octaves, but is {self.hop}.")
        if self.floor_db >= 0 or self.frames < 1:
            raise ValueError(f"floor_db must be below 0 and frames ≥ 1, but are {self.floor_db} and {self.frames}.")

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.bins_per_octave * self.octaves

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, bands, frames of one mixture's picture."""
        return 1, self.bins, self.frames

    @property
    def samples(self) -> int:
        """Length of the window in samples."""
        return self.frames * self.hop - self.hop // 2

    @property
    def lead(self) -> int:
        """Frames before a note's onset in which the longest filter hears it already."""
        ratio = 4 ** (1 / self.bins_per_octave)
        longest = (ratio + 1) / (ratio - 1) * self.sample_rate / self.fmin
        return math.ceil(longest / 2 / self.hop) + 2

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch of any audio."""
        return self.decibels(self.frames_of(audio))

    def frames_of(self, audio: torch.Tensor) -> torch.Tensor:
        """Return the complex frames of a batch of any audio [batch, samples]: real [batch, frames, bins, 2]."""
        if audio.ndim != 2:
            raise ValueError(f"ConstantQ needs audio of shape [batch, samples], but got {list(audio.shape)}.")
        device, audio = audio.device, audio[:, : self.samples].float().cpu()
        audio = torch.nn.functional.pad(audio, (0, self.samples - audio.shape[1])).numpy()
        parts = [self.transform(audio[i : i + BATCH]) for i in range(0, len(audio), BATCH)]
        frames = torch.from_numpy(np.concatenate(parts)[..., : self.frames])
        return torch.view_as_real(frames.transpose(1, 2)).to(device)

    def transform(self, audio: np.ndarray) -> np.ndarray:
        """Return the complex transform, complex64 [batch, bins, frames], of float32 [batch, samples].

        It is `librosa.cqt`, which computes its filters anew with every call; here they are computed once and kept, so
        that a command need not even import librosa. Nor is the sound resampled where only low octaves are asked for.
        """
        filters, lengths = _filters(self)
        octaves, hop = [], self.hop
        for basis, n_fft in filters:
            padded = np.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2)))
            frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, ::hop]
            spectra = (np.fft.rfft(part.astype(float)).astype(np.complex64) for part in frames)
            octaves.append(np.stack([basis @ spectrum.T for spectrum in spectra]))
            audio, hop = _halved(audio), hop // 2
        frames = min(part.shape[2] for part in octaves)
        return np.concatenate([part[..., :frames] for part in reversed(octaves)], 1) / np.sqrt(lengths[:, None])

    def decibels(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the features [batch, 1, bins, frames] of complex frames, real [batch, frames, bins, 2]."""
        power = frames[..., 0].square().addcmul_(frames[..., 1], frames[..., 1])
        top = power.amax((1, 2), keepdim=True).clamp(min=1e-20)
        level = power.div_(top).clamp_(min=10 ** (self.floor_db / 10)).log10_()
        return level.mul_(-10 / self.floor_db).add_(1).transpose(1, 2).unsqueeze(1)

    def of(self, mixtures: Mixtures, which: Iterable[int], *, device: str | torch.device = "cpu") -> torch.Tensor:
        """Return the features of some mixtures of a set: [batch, 1, bins, frames].

        Equal to the features of their audio. Where notes start late or are entered at random (`mixtures.starts`),
        times are rounded to whole frames, and the window is a view of the whole sound, silence before it included: the
        filters at its ends hear what sounds before and after.
        """
        return self.decibels(self.mix(mixtures, which, device=device))

    def mix(
        self,
        mixtures: Mixtures,
        which: Iterable[int],
        *,
        device: str | torch.device = "cpu",
        colour: torch.Tensor | None = None,
        stretch: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
        moved: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the complex frames of some mixtures: real [batch, frames, bins, 2], sum of the notes / N.

        `colour` [batch, n, bins] multiplies each note's bins (another microphone, room or instrument), `stretch`
        [batch, n] draws out its frames after the attack, `rows` int64 [batch, n] are other notes of the library in its
        place, and `moved` int64 [batch, n] are bins by which it goes upwards. On a GPU all frames are copied once.
        """
        which = torch.as_tensor(list(which) if not isinstance(which, torch.Tensor) else which)
        notes = self.notes(mixtures.notes, whole=mixtures.starts is not None).on(torch.device(device))
        rows = mixtures.indices[which].long() if rows is None else rows
        gains = torch.ones(rows.shape) if mixtures.gains is None else mixtures.gains[which].float()
        starts = torch.zeros_like(rows)
        if mixtures.starts is not None:
            starts = (mixtures.starts[which] / self.hop).round().long()
        gains = (notes.gain[rows] * gains / mixtures.n).to(device)
        total = torch.zeros(len(rows), self.frames, self.bins, 2, device=device)
        places = None if stretch is None else stretched(stretch, self.frames)
        if total.device.type == "cpu" and colour is None and notes.lead == 0:  # note by note stays in the cache: faster
            if places is None and moved is None:
                return self._add_whole(total, notes, rows, gains)
            return self._add_each(total, notes, rows, gains, places, moved)
        for k in range(mixtures.n):
            gain = gains[:, k, None, None, None]
            if colour is not None:
                gain = gain * colour[:, k, None, :, None]
            window = notes.window(rows[:, k], starts[:, k], self.frames)
            if places is not None:
                place = places[:, k].to(device)
                window = window[torch.arange(len(rows), device=device)[:, None], place.clamp(max=self.frames - 1)]
                window = window * (place < self.frames)[..., None, None]
            total.addcmul_(window if moved is None else _move(window, moved[:, k].to(device)), gain)
        return total

    def _add_whole(
        self, total: torch.Tensor, notes: NoteFrames, rows: torch.Tensor, gains: torch.Tensor
    ) -> torch.Tensor:
        """Add the notes' windows to `total`, and return it."""
        half = notes.values.view(torch.int16).view(-1, total[0].numel()).numpy()
        lengths, starts = np.full(len(half), half.shape[1]), np.zeros(rows.shape[1], np.int64)
        for out, *recipe in zip(total.view(len(rows), -1).numpy(), rows.numpy(), gains.numpy(), strict=True):
            mixing.mix(half, lengths, *recipe, starts, out)
        return total

    def _add_each(
        self, total: torch.Tensor, notes: NoteFrames, rows: torch.Tensor, gains: torch.Tensor,
        places: torch.Tensor | None, moved: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        """Add one note after the other to `total`, and return it."""
        wide = torch.empty_like(total[0])
        ups = [[0] * rows.shape[1]] * len(rows) if moved is None else moved.tolist()
        for b, (out, *mixture) in enumerate(zip(total, rows.tolist(), gains.tolist(), ups, strict=True)):
            for k, (i, gain, up) in enumerate(zip(*mixture, strict=True)):
                if not gain:
                    continue
                window = notes.values[i * self.frames : (i + 1) * self.frames]
                if places is not None:
                    window = window[places[b, k][places[b, k] < self.frames]]
                part = wide[: len(window)].copy_(window)  # adding float16 itself takes twice as long
                first, end = max(0, up), self.bins + min(0, up)
                out[: len(part), first:end].add_(part[:, first - up : end - up], alpha=gain)
        return total

    def notes(self, notes: NoteLibrary, *, whole: bool = False) -> NoteFrames:
        """Return the complex frames of every note of a library; transform and cache them if that has not been done."""
        key = (self, notes.key, whole)
        if key not in _OPEN:
            if notes.sample_rate != self.sample_rate:
                raise ValueError(f"{notes.name!r} has {notes.sample_rate} Hz, but ConstantQ has {self.sample_rate} Hz.")
            counts = self._counts(notes, whole)
            what = {**asdict(self), "floor_db": 0, "frames": 0 if whole else self.frames}
            path = cache_path("constantq", notes.name, [VERSION, version("librosa"), notes.key, what], ".npy")
            shape = (counts.sum(), self.bins, 2)
            values = cached_array(path, shape, partial(self._fill, notes, whole))
            values, count, gain = (torch.from_numpy(each) for each in (values, counts, _gains(notes)))
            _OPEN[key] = NoteFrames(values, count, gain, self.lead if whole else 0)
        return _OPEN[key]

    def _counts(self, notes: NoteLibrary, whole: bool) -> np.ndarray:
        """Return int64 [notes]: how many frames are kept of each note."""
        if not whole:
            return np.full(len(notes), self.frames)
        return 2 * self.lead + 1 + -(-notes.lengths.numpy() // self.hop)

    def _fill(self, notes: NoteLibrary, whole: bool, out: np.ndarray) -> None:
        """Transform every note and write all frames into a float16 array [frames of all notes, bins, 2]."""
        counts = self._counts(notes, whole)
        first = np.cumsum(counts) - counts
        order = np.argsort(counts, kind="stable")
        jobs = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        bar = progress(total=len(notes), desc="constant-Q", unit=" notes", leave=False)
        with ThreadPoolExecutor(free_cores()) as pool, bar:
            for rows, spectra in pool.map(lambda rows: (rows, self._frames(notes, rows, whole)), jobs):
                for row, frames in zip(rows, spectra, strict=True):
                    out[first[row] : first[row] + counts[row]] = frames[: counts[row]]
                bar.update(len(rows))

    def _frames(self, notes: NoteLibrary, rows: np.ndarray, whole: bool) -> np.ndarray:
        """Return the frames of some notes, float16 [notes, frames, bins, 2], each scaled to its peak."""
        lengths = notes.lengths[rows]
        longest = int(lengths.max()) if whole else self.samples
        audio = np.zeros((len(rows), longest), dtype=np.float32)
        for out, row, length in zip(audio, rows, lengths.tolist(), strict=True):
            note = notes.audio[int(row), : min(length, longest)].numpy()
            out[: len(note)] = note
        audio /= _gains(notes)[rows, None]
        if whole:
            audio = np.pad(audio, ((0, 0), (self.lead * self.hop, (self.lead + 1) * self.hop)))
        spectra = np.ascontiguousarray(self.transform(audio).transpose(0, 2, 1))
        return spectra.view(np.float32).reshape(*spectra.shape, 2).astype(np.float16)


def _halved(audio: np.ndarray) -> np.ndarray:
    """Return sounds [batch, samples] at half their rate, with the same power in each frame; as `librosa.resample`."""
    half = np.stack([soxr.resample(sound, 2, 1, quality="soxr_hq") for sound in audio])
    wanted = math.ceil(audio.shape[1] / 2)
    half = np.pad(half[:, :wanted], ((0, 0), (0, max(0, wanted - half.shape[1]))))
    return (half / np.sqrt(0.5)).astype(np.float32)


@lru_cache(maxsize=4)
def _filters(features: ConstantQ) -> tuple[list[tuple[scipy.sparse.csr_matrix, int]], np.ndarray]:
    """Return filters, highest octave first, as spectra [bins, n_fft // 2 + 1], and each bin's length in samples."""
    path = cache_path("constantq", "filters", [VERSION, version("librosa"), asdict(features)], ".npz")
    try:
        with np.load(path) as file:
            kept = dict(file)  # zip's checksums are compared
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):  # not made yet, or damaged
        kept = _design(features)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **kept)
    shapes = [(features.bins // features.octaves, n_fft // 2 + 1) for n_fft in kept["n_fft"]]
    parts = [[kept[f"{name}{octave}"] for name in ("data", "indices", "indptr")] for octave in range(len(shapes))]
    bases = [scipy.sparse.csr_matrix(tuple(part), shape=shape) for part, shape in zip(parts, shapes, strict=True)]
    return list(zip(bases, kept["n_fft"].tolist(), strict=True)), kept["lengths"]


def _design(features: ConstantQ) -> dict[str, np.ndarray]:
    """Return librosa's filters: the parts of each octave's sparse matrix, the sizes of their spectra, the lengths."""
    ratio = 4 ** (1 / features.bins_per_octave)
    options = {"window": "hann", "filter_scale": 1, "gamma": 0, "alpha": (ratio - 1) / (ratio + 1)}
    frequencies = librosa.cqt_frequencies(features.bins, fmin=features.fmin, bins_per_octave=features.bins_per_octave)
    found, sizes = {}, []
    for octave, centres in enumerate(np.split(frequencies, features.octaves)[::-1]):
        waves, lengths = librosa.filters.wavelet(freqs=centres, sr=features.sample_rate / 2**octave, norm=1, **options)
        sizes.append(waves.shape[1])
        spectra = np.fft.fft(waves * lengths[:, None] / sizes[-1])[:, : sizes[-1] // 2 + 1]
        basis = librosa.util.sparsify_rows(spectra, quantile=0.01, dtype=np.complex64) * np.float32(2 ** (octave / 2))
        found |= {f"{name}{octave}": getattr(basis, name) for name in ("data", "indices", "indptr")}
    lengths, _ = librosa.filters.wavelet_lengths(freqs=frequencies, sr=features.sample_rate, **options)
    return found | {"n_fft": np.array(sizes), "lengths": lengths.astype(np.float32)}


_OPEN: dict[tuple, NoteFrames] = {}  # memory maps, by features, library and form


def _gains(notes: NoteLibrary) -> np.ndarray:
    """Return float32 [notes]: each note's peak / ROOM."""
    return (notes.table["peak"].to_numpy(dtype=np.float32).clip(min=1e-6) / np.float32(ROOM)).astype(np.float32)
