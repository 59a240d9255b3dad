"""Reading sound: files and arrays as mono at one rate, from where the sound starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

START_DB = -40.0  # a note starts with the first frame less than this below its loudest frame
LOUD_FRAME = 2205  # samples (50 ms at 44.1 kHz): the frame of `loudness`
FRAME = 256  # samples (5.8 ms): the frame of that threshold


def decode(path: Path) -> tuple[np.ndarray, int]:
    """Return the samples of an audio file, float32 [samples, channels], and their rate in Hz."""
    return soundfile.read(path, dtype="float32", always_2d=True)


def start_of_sound(audio: np.ndarray) -> int:
    """Return the sample at which the sound starts.

    That is one frame (5.8 ms) before the first frame whose energy is less than 40 dB below the loudest frame's.
    """
    frames = np.pad(audio, (0, -len(audio) % FRAME)).reshape(-1, FRAME)
    energy = np.square(frames).sum(axis=1)
    first = int(np.argmax(energy >= energy.max() * 10 ** (START_DB / 10)))
    return max(0, first - 1) * FRAME


def loudness(audio: np.ndarray) -> float:
    """Return the root mean square of a mono sound [samples] or of the channels of another [samples, channels].

    Frames of 50 ms at 44.1 kHz that are 40 dB softer than the loudest do not count.
    """
    power = np.square(audio, dtype=np.float64).reshape(len(audio), -1).mean(1)
    frames = np.pad(power, (0, -len(power) % LOUD_FRAME)).reshape(-1, LOUD_FRAME).mean(1)
    return (
        float(np.sqrt(frames[frames >= frames.max(initial=0) * 10 ** (START_DB / 10)].mean())) if len(frames) else 0.0
    )


def read_sound(audio: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None, wanted: int) -> torch.Tensor:
    """Return a sound as mono float32 [samples] at the wanted rate, without the silence before it."""
    name = "the audio"
    if isinstance(audio, str | Path):
        name = str(audio)
        if not Path(audio).is_file():
            raise FileNotFoundError(f"There is no sound file {name!r}.")
        try:
            audio, sample_rate = soundfile.read(audio, dtype="float32")
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{name!r} is no sound that can be read ({error}): give WAV, FLAC, OGG or MP3.") from None
    if sample_rate is None or sample_rate <= 0:
        raise ValueError(f"The sample rate of arrays and tensors must be given, in Hz, but is {sample_rate!r}.")
    audio = audio.detach().cpu().numpy() if isinstance(audio, torch.Tensor) else np.asarray(audio)
    audio = audio.astype(np.float32) / (np.iinfo(audio.dtype).max if audio.dtype.kind == "i" else 1)
    if audio.ndim == 2 and min(audio.shape) <= 2:
        audio = audio.mean(int(np.argmin(audio.shape)))
    if audio.ndim != 1 or not audio.size:
        raise ValueError(f"{name} must be mono or stereo and not empty, but has shape {list(audio.shape)}.")
    if not np.isfinite(audio).all():
        raise ValueError(f"{name} has samples that are not finite.")
    if sample_rate != wanted:
        audio = soxr.resample(audio, sample_rate, wanted)
    if not np.abs(audio).max():
        raise ValueError(f"{name} is silent.")
    return torch.from_numpy(np.ascontiguousarray(audio[start_of_sound(audio) :]))
