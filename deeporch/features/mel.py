"""Mel spectrograms: the study's linear power, and its logarithm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

from ..mixtures import mixing
from ..mixtures.mixtures import Mixtures
from ..util.checks import check_choice
from ..util.compiled import librosa

SCALES = ("power", "log")
FLOOR_DB = -100.0


@dataclass(frozen=True)
class Mel:
    """Mel spectrogram with librosa's defaults (Slaney mel, centred Hann window), on any device, batched.

    Equal to ``librosa.feature.melspectrogram`` within 1e-4 of its maximum. To be fast on a CPU (`make bench`), frames
    of 2,048 samples are transformed one by one in the processor's cache by compiled code, those after a mixture's last
    note not at all, on as many threads as torch may use; other sizes, and a GPU, are left to torch.
    """

    n_mels: int = 128  # bands
    n_fft: int = 2048  # samples of the window
    hop: int = 512  # samples from one frame to the next
    frames: int = 128  # shorter mixtures are zero-padded, of longer ones the beginning is taken
    scale: str = "power"  # linear, as in the study; or "log": decibels above −100 dB (re power 1) / 100, silence is 0
    sample_rate: int = 44_100  # Hz

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
        """Return the mel spectrograms of a batch."""
        if audio.ndim != 2:
            raise ValueError(f"Mel needs audio of shape [batch, samples], but got {list(audio.shape)}.")
        audio = audio[:, : self.samples].detach()
        if not self._is_compiled(audio.device):
            return self._scaled(self._by_torch(audio.float()))
        rows = audio.float().numpy()

        def write(i: int, sound: np.ndarray) -> None:
            sound[: rows.shape[1]] = rows[i]

        return self._scaled(self._by_numba([rows.shape[1]] * len(rows), write))

    def of(self, mixtures: Mixtures, which: Iterable[int], *, device: str | torch.device = "cpu") -> torch.Tensor:
        """Return the features of some mixtures of a set, of this sample rate: [batch, 1, n_mels, frames]."""
        if mixtures.notes.sample_rate != self.sample_rate:
            raise ValueError(
                f"These features are for {self.sample_rate} Hz, but the library {mixtures.notes.name!r} has "
                f"{mixtures.notes.sample_rate} Hz: give Mel its sample_rate."
            )
        which = torch.as_tensor(list(which) if not isinstance(which, torch.Tensor) else which)
        device = torch.device(device)
        if self._is_compiled(device):
            return self._scaled(self._by_numba(mixtures.ends(which).tolist(), mixtures.mixer(which)))
        parts = [self._by_torch(mixtures.audio(part, device=device)[:, : self.samples]) for part in which.split(256)]
        return self._scaled(torch.cat(parts))

    def _is_compiled(self, device: torch.device) -> bool:
        return device.type == "cpu" and self.n_fft == mixing.N_FFT

    def _scaled(self, power: torch.Tensor) -> torch.Tensor:
        """Return features [batch, 1, n_mels, frames] of mel powers [batch, n_mels, frames]."""
        if self.scale == "log":
            power = (10 * power.clamp(min=10 ** (FLOOR_DB / 10)).log10() - FLOOR_DB) / -FLOOR_DB
        return power.unsqueeze(1)

    @torch.no_grad()
    def _by_torch(self, audio: torch.Tensor) -> torch.Tensor:
        """Return mel powers [batch, n_mels, frames] of sounds, at most `samples` long, on any device."""
        window, matrix = _constants(self.sample_rate, self.n_fft, self.n_mels, audio.device)
        whole = functional.pad(audio, (0, self.samples - audio.shape[1]))
        options = {"window": window, "center": True, "pad_mode": "constant", "return_complex": True}
        return matrix @ torch.stft(whole, self.n_fft, self.hop, **options).abs().square()

    def _by_numba(self, ends: list[int], write: Callable[[int, np.ndarray], None]) -> torch.Tensor:
        """Return mel powers [batch, n_mels, frames] of sounds on the CPU."""
        power = np.zeros((len(ends), self.frames, self.n_mels), np.float32)
        half, bands = self.n_fft // 2, mixing.mel_bands(self.sample_rate, self.n_mels)
        constants = mixing.transform_constants()

        def work(share: range) -> None:
            sound = np.empty(half + self.samples + half, np.float32)
            for i in share:
                sound.fill(0)
                write(i, sound[half:-half])
                frames = min(self.frames, -(-(min(ends[i], self.samples) + half) // self.hop))  # others hear nothing
                mixing.mel_power(sound, self.hop, constants, bands, power[i, :frames])

        mixing.in_threads(work, len(ends), torch.get_num_threads())
        return torch.from_numpy(power).transpose(1, 2)


@lru_cache
def _constants(sample_rate: int, n_fft: int, n_mels: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the Hann window and the mel matrix [n_mels, bins]."""
    matrix = torch.from_numpy(librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels))
    return torch.hann_window(n_fft, device=device), matrix.to(device)
