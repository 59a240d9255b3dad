"""What a network sees: `Mel`, the study's 128 x 128 mel spectrogram; `ConstantQ` is in constantq.py."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import librosa
import torch

from .checks import check_choice
from .constantq import ConstantQ
from .mixtures import Mixtures

SCALES = ("power", "log")
FLOOR_DB = -100.0


@dataclass(frozen=True)
class Mel:
    """Mel spectrogram with librosa's defaults (Slaney mel, centred Hann window), on any device, batched.

    Equal to ``librosa.feature.melspectrogram`` within 1e-4 of its maximum. To be fast (`make bench`), a few mixtures at
    a time stay in the processor's cache, in memory that is used again, frames after a mixture's last note are not
    computed, and the mel matrix, nearly all zeros, is applied as eight narrow blocks.

    Parameters
    ----------
    n_mels, n_fft, hop : int
        Bands (128), window (2,048 samples) and step (512 samples).
    frames : int
        Time frames (128): shorter mixtures are zero-padded, of longer ones the beginning is taken.
    scale : {"power", "log"}
        ``"power"``: linear power, as in the study. ``"log"``: decibels above −100 dB (re power 1), divided by 100, so
        that silence is 0.
    sample_rate : int
        In Hz.
    """

    n_mels: int = 128
    n_fft: int = 2048
    hop: int = 512
    frames: int = 128
    scale: str = "power"
    sample_rate: int = 44_100

    def __post_init__(self) -> None:
        check_choice(self.scale, SCALES, "mel scale")
        for name in ("n_mels", "n_fft", "hop", "frames", "sample_rate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of Mel must be at least 1, but is {getattr(self, name)!r}.")
        if self.n_fft % 2 or self.frames < 2:
            raise ValueError(f"Mel needs an even n_fft and 2 or more frames, but got {self.n_fft} and {self.frames}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, bands, frames of one mixture's picture."""
        return 1, self.n_mels, self.frames

    @property
    def samples(self) -> int:
        """Length of the window in samples."""
        return (self.frames - 1) * self.hop

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        """Return the mel spectrograms of a batch.

        Parameters
        ----------
        audio : torch.Tensor
            [batch, samples], at `sample_rate`, on any device.

        Returns
        -------
        torch.Tensor
            float32 [batch, 1, n_mels, frames].
        """
        if audio.ndim != 2:
            raise ValueError(f"Mel needs audio of shape [batch, samples], but got {list(audio.shape)}.")
        audio = audio[:, : self.samples]
        ends = torch.full((len(audio),), audio.shape[1])
        return self._pictures(ends, audio.shape[1], audio.device, lambda out, part: out.copy_(audio[part]))

    def of(self, mixtures: Mixtures, which: Iterable[int], *, device: str | torch.device = "cpu") -> torch.Tensor:
        """Return the features of some mixtures of a set: [batch, 1, n_mels, frames].

        Raises
        ------
        ValueError
            If their sample rate is not this one.
        """
        if mixtures.notes.sample_rate != self.sample_rate:
            raise ValueError(
                f"These features are for {self.sample_rate} Hz, but the library {mixtures.notes.name!r} has "
                f"{mixtures.notes.sample_rate} Hz: give Mel its sample_rate."
            )
        which = torch.as_tensor(list(which) if not isinstance(which, torch.Tensor) else which)
        return self._pictures(
            mixtures.ends(which),
            mixtures.samples,
            torch.device(device),
            lambda out, part: mixtures.audio(which[part], device=device, out=out),
        )

    @torch.no_grad()
    def _pictures(
        self, ends: torch.Tensor, length: int, device: torch.device, fill: Callable[[torch.Tensor, slice], object]
    ) -> torch.Tensor:
        """Return the features of a batch of sounds.

        Parameters
        ----------
        ends : torch.Tensor
            int64 [batch]: after how many samples each is silent.
        length : int
            How many samples each has.
        device : torch.device
            Where to compute.
        fill : callable
            Writes some of the sounds, a slice of the batch, into silence, float32 [sounds, length].
        """
        mel = torch.zeros(len(ends), self.frames, self.n_mels, device=device)
        half, chunk = self.n_fft // 2, 2 if device.type == "cpu" else 1024  # a core's caches hold two mixtures
        for first in range(0, len(ends), chunk):
            part = slice(first, first + chunk)
            out, end = mel[part], min(int(ends[part].max()), self.samples)
            sound = _SCRATCH("sound", device, len(out), half + max(length, self.samples) + half).zero_()
            fill(sound[:, half : half + length], part)
            sound[:, half + self.samples :] = 0
            frames = min(self.frames, -(-(end + half) // self.hop))  # the others hear nothing
            out[:, :frames] = self._power(sound, frames)
        if self.scale == "log":
            mel = (10 * mel.clamp(min=10 ** (FLOOR_DB / 10)).log10() - FLOOR_DB) / -FLOOR_DB
        return mel.transpose(1, 2).unsqueeze(1)

    def _power(self, sound: torch.Tensor, frames: int) -> torch.Tensor:
        """Return the mel power [batch, frames, n_mels] of the first frames of sounds with half a window of silence."""
        window, blocks = _constants(self.sample_rate, self.n_fft, self.n_mels, sound.device)
        cut = sound.unfold(1, self.n_fft, self.hop)[:, :frames]
        spectrum = torch.fft.rfft(torch.mul(cut, window, out=_SCRATCH("cut", sound.device, *cut.shape)))
        squares = torch.view_as_real(spectrum).square_()  # strided once only: twice as fast as real² + imag²
        power = _SCRATCH("power", sound.device, *spectrum.shape)
        power = torch.add(squares[..., 0], squares[..., 1], out=power).flatten(0, 1)
        bands = [power[:, low:high] @ weight for low, high, weight in blocks]
        return torch.cat(bands, -1).view(len(sound), frames, self.n_mels)


class _Scratch(threading.local):
    """Memory that each thread uses again and again: fresh pages from the system cost as much as the mel matrix."""

    def __init__(self) -> None:
        self.kept: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, device: torch.device, *shape: int) -> torch.Tensor:
        """Return float32 of this shape, holding anything; on a GPU torch itself keeps memory."""
        size = math.prod(shape)
        if device.type != "cpu":
            return torch.empty(shape, device=device)
        if name not in self.kept or len(self.kept[name]) < size:
            with torch.inference_mode(False):  # else it could not be written to outside of that mode
                self.kept[name] = torch.empty(size)
        return self.kept[name][:size].view(shape)


_SCRATCH = _Scratch()
_CONSTANTS: dict[tuple, tuple] = {}


def _constants(sample_rate: int, n_fft: int, n_mels: int, device: torch.device) -> tuple[torch.Tensor, list]:
    """Return the Hann window, and the mel matrix cut into blocks of bands over the bins that they touch."""
    key = (sample_rate, n_fft, n_mels, device)
    if key not in _CONSTANTS:
        matrix = torch.from_numpy(librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels))
        blocks = []
        for block in matrix.split(max(1, n_mels // 8)):
            touched = torch.nonzero(block.sum(0)).flatten()
            low, high = (int(touched[0]), int(touched[-1]) + 1) if len(touched) else (0, 1)
            blocks.append((low, high, block[:, low:high].T.contiguous().to(device)))
        _CONSTANTS[key] = torch.hann_window(n_fft, device=device), blocks
    return _CONSTANTS[key]


FEATURES = {
    "mel128": Mel(),
    "logmel128": Mel(scale="log"),
    "logmel64": Mel(n_mels=64, hop=1024, frames=64, scale="log"),  # the same second and a half at half the resolution
    "cqt24": ConstantQ(),
    "cqt36": ConstantQ(bins_per_octave=36),
}
KINDS = {"Mel": Mel, "ConstantQ": ConstantQ}


def get_features(features: str | Mel | ConstantQ) -> Mel | ConstantQ:
    """Return features by name (``"mel128"``, ``"cqt24"``, … see `FEATURES`), or as they are.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if not isinstance(features, str):
        return features
    return FEATURES[check_choice(features, FEATURES, "features")]


class CachedFeatures:
    """The features and targets of a mixture set, computed once and kept, for training over many epochs.

    Parameters
    ----------
    mixtures : Mixtures
        The set.
    features : Mel
        What to compute.
    device : str or torch.device
        Where to compute and keep them.
    limit_gb : float
        A set that would take more is not kept, but computed anew each time.
    """

    def __init__(
        self, mixtures: Mixtures, features: Mel, *, device: str | torch.device = "cpu", limit_gb: float = 4.0
    ) -> None:
        self.mixtures, self.features, self.device = mixtures, features, torch.device(device)
        gigabytes = len(mixtures) * 4 * torch.Size(features.shape).numel() / 1e9
        self.store = None
        if gigabytes <= limit_gb:
            self.store = torch.empty(len(mixtures), *features.shape, device=self.device)
            self.filled = torch.zeros(len(mixtures), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.mixtures)

    def batch(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features [batch, channels, bins, frames] and multi-hot targets [batch, classes]."""
        target = self.mixtures.targets(which).to(self.device)
        if self.store is None:
            return self.features.of(self.mixtures, which, device=self.device), target
        missing = which[~self.filled[which]]
        if len(missing):
            self.store[missing.to(self.device)] = self.features.of(self.mixtures, missing, device=self.device)
            self.filled[missing] = True
        return self.store[which.to(self.device)], target
