"""Reading sound: files, bytes and arrays as mono at one rate, from where the sound starts."""

from __future__ import annotations

import io
import math
import os
from numbers import Real
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from .files import user_path, write_bytes

START_DB = -40.0  # a note starts with the first frame less than this below its loudest frame
LOUD_FRAME = 2205  # samples (50 ms at 44.1 kHz): the frame of `loudness`
FRAME = 256  # samples (5.8 ms): the frame of that threshold
CHANNELS = 64  # an array's shorter side is its channels up to so many
CANCELLED_DB = -30.0  # channels that cancel one another to this level are in opposite phase: the loudest stands for all
LARGEST = 1 << 29  # samples that are read of a file: 3.4 hours at 44.1 kHz, mono
RATES = (1_000, 1_000_000)  # Hz


def decode(file: str | Path | bytes) -> tuple[np.ndarray, int]:
    """Return the samples of an audio file, float32 [samples, channels], and their rate in Hz."""
    name = "The sound" if isinstance(file, bytes) else repr(str(file))
    if not isinstance(file, bytes):
        if not Path(file).is_file():
            raise FileNotFoundError(f"There is no sound file {name}.")
        if not os.access(file, os.R_OK):
            raise PermissionError(f"{name} may not be read: change its rights.")
    try:
        where = os.fsencode(file) if os.name == "posix" and not isinstance(file, bytes) else file  # names of any bytes
        with soundfile.SoundFile(_Memory(file) if isinstance(file, bytes) else where) as sound:
            sound._info.seekable = 0  # else every block is followed by a seek, which fails where the length is unknown
            parts, room = [], LARGEST // sound.channels
            while len(parts) * FRAME**2 < room and len(block := sound.read(FRAME**2, "float32", always_2d=True)):
                parts.append(block)
            rate, channels = sound.samplerate, sound.channels
    except (soundfile.SoundFileError, TypeError, ValueError, OverflowError, MemoryError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{name} is no sound that can be read ({why}): give WAV, FLAC, OGG or MP3.") from None
    if len(parts) * FRAME**2 >= room:
        raise ValueError(f"{name} is too long: at most {room / rate / 3600:.1f} hours can be read.")
    return np.concatenate(parts) if parts else np.zeros((0, channels), np.float32), check_rate(rate, name)


class _Memory(io.BytesIO):
    """Bytes in which a damaged header may seek anywhere: libsndfile's callback would print what seek raises."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return super().seek(0, io.SEEK_END)


def check_rate(rate: object, name: str = "The sample rate") -> float:
    """Return a sample rate in Hz if it is one."""
    if isinstance(rate, bool) or not isinstance(rate, Real) or not RATES[0] <= rate <= RATES[1]:
        hint = " (it is in Hz, not in kHz)" if isinstance(rate, Real) and 1 <= rate < RATES[0] else ""
        what = name if name == "The sample rate" else f"The sample rate of {name}"
        raise ValueError(f"{what} must be a number from {RATES[0]:,} to {RATES[1]:,} Hz, but is {rate!r}{hint}.")
    return rate


def as_float(audio: object, name: str = "The audio") -> np.ndarray:
    """Return samples as float32 with full scale 1: 16- and 32-bit integers are scaled, unsigned bytes centred."""
    try:
        audio = audio.detach().cpu() if isinstance(audio, torch.Tensor) else audio
        audio = audio.float().numpy() if getattr(audio, "dtype", None) == torch.bfloat16 else np.asarray(audio)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is no array of numbers ({error}).") from None
    if audio.dtype.kind == "f":
        return audio.astype(np.float32)
    if audio.dtype not in (np.int8, np.int16, np.int32, np.uint8):
        raise ValueError(
            f"{name} has samples of type {audio.dtype}, whose full scale is not known: give floats from -1 to 1, or "
            "int16, int32 or uint8 (a list of whole numbers: np.array(list, dtype=np.int16))."
        )
    half = 2.0 ** (8 * audio.dtype.itemsize - 1)
    return ((audio.astype(np.float64) - half * (audio.dtype.kind == "u")) / half).astype(np.float32)


def to_mono(audio: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, [samples], of [samples, channels]; where they cancel, the loudest channel."""
    mono = audio.mean(axis=1, dtype=np.float32)
    if audio.shape[1] > 1 and len(audio):
        power = np.square(audio, dtype=np.float64).mean(0)
        if np.square(mono, dtype=np.float64).mean() < power.mean() * 10 ** (CANCELLED_DB / 10):
            return np.ascontiguousarray(audio[:, int(power.argmax())])
    return mono


def start_of_sound(audio: np.ndarray) -> int:
    """Return where the sound starts: a frame (5.8 ms) before the first within 40 dB of the loudest frame's energy."""
    frames = np.pad(audio, (0, -len(audio) % FRAME)).reshape(-1, FRAME)
    energy = np.square(frames).sum(axis=1)
    first = int(np.argmax(energy >= energy.max() * 10 ** (START_DB / 10)))
    return max(0, first - 1) * FRAME


def loudness(audio: np.ndarray) -> float:
    """Return the root mean square of a mono sound [samples] or of the channels of another [samples, channels]."""
    power = np.square(audio, dtype=np.float64).reshape(len(audio), -1).mean(1)
    frames = np.pad(power, (0, -len(power) % LOUD_FRAME)).reshape(-1, LOUD_FRAME).mean(1)
    loud = frames[frames >= frames.max(initial=0) * 10 ** (START_DB / 10)]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0


def resample(audio: np.ndarray, rate: float, wanted: float) -> np.ndarray:
    """Return float32 [samples] at another rate."""
    return audio if rate == wanted else soxr.resample(audio, rate, wanted)


def read_sound(
    audio: str | Path | bytes | np.ndarray | torch.Tensor, sample_rate: float | None, wanted: int
) -> torch.Tensor:
    """Return a sound as mono float32 [samples] at the wanted rate, without the silence before it."""
    name = "The audio"
    if isinstance(audio, str | Path | bytes | bytearray | memoryview | io.IOBase):
        if isinstance(audio, str | Path):
            name, audio = repr(str(audio)), user_path(audio)
        audio = audio.read() if isinstance(audio, io.IOBase) else audio
        audio, sample_rate = decode(audio if isinstance(audio, Path) else bytes(audio))
    else:
        audio = as_float(audio)
        check_rate(sample_rate, "arrays and tensors" if sample_rate is None else "The sample rate")
    if audio.ndim not in (1, 2) or not audio.size or (audio.ndim == 2 and min(audio.shape) > CHANNELS):
        shape = f"has shape {list(audio.shape)}"
        raise ValueError(f"{name} must be [samples] or [samples, channels] and not empty, but {shape}.")
    if audio.ndim == 2 and audio.shape[0] < audio.shape[1]:
        audio = audio.T
    if not np.isfinite(audio).all():
        raise ValueError(f"{name} has samples that are not finite.")
    audio = resample(to_mono(audio) if audio.ndim == 2 else audio, sample_rate, wanted)
    if not audio.size or not math.isfinite(peak := float(np.abs(audio).max())) or not peak:
        raise ValueError(f"{name} is {'silent' if audio.size else 'too short'}.")
    return torch.from_numpy(np.ascontiguousarray(audio[start_of_sound(audio) :]))


def write_sound(path: str | Path, audio: np.ndarray, sample_rate: int, *, subtype: str = "PCM_16") -> None:
    """Write samples [samples] or [samples, channels] as WAV, atomically; a full disk is an OSError."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, sample_rate, subtype=subtype, format="WAV")
    write_bytes(path, buffer.getvalue())
