"""Sound in a page: short, mono, level, labelled, and never started by itself."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
import soundfile
import torch
from IPython.display import HTML
from torchaudio.functional import loudness

LOUDNESS_DB = -20.0  # RMS of what is played, re full scale
MATCHED_LUFS = -23.0  # of sounds that are compared: EBU R 128's programme level
PEAK = 0.95
NO_MENU = 'controlslist="nodownload nofullscreen noplaybackrate"'
TYPES = {"MP3": "audio/mpeg", "FLAC": "audio/flac", "WAV": "audio/wav"}


def player(audio: torch.Tensor | np.ndarray, sample_rate: int = 44_100, *, label: str = "") -> HTML:
    """Return a player of mono audio [samples] at −20 dB RMS, or softer where it would clip, after its label."""
    return HTML(
        '<div style="display:flex;align-items:center;gap:.75em;margin:.2em 0">'
        f'<span style="min-width:16em">{html.escape(label)}</span>'
        f"{audio_element(audio, sample_rate, label=label)}</div>"
    )


def audio_element(
    audio: torch.Tensor | np.ndarray, sample_rate: int, *, label: str, form: str = "MP3", short: bool = False
) -> str:
    """Return an ``<audio>`` with its sound, see `player`: FLAC is fast to make, MP3 small; a short one only plays."""
    data = base64.b64encode(encode(levelled(audio), sample_rate, form)).decode()
    look = f'{NO_MENU} class="deeporch-short"' if short else ""
    return (
        f'<audio controls {look} preload="metadata" aria-label="{html.escape(label or "sound")}" '
        f'style="height:32px;width:{"8em" if short else "300px"}" src="data:{TYPES[form]};base64,{data}"></audio>'
    )


def levelled(audio: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return mono audio at −20 dB RMS, or softer where it would clip."""
    samples = _mono(audio)
    rms, peak = np.sqrt(np.mean(samples**2)), np.abs(samples).max()
    return samples * (min(10 ** (LOUDNESS_DB / 20) / rms, PEAK / peak) if peak > 0 else 1.0)


def matched(sounds: Sequence[torch.Tensor | np.ndarray], sample_rate: int) -> list[np.ndarray]:
    """Return mono sounds, for comparison, at −23 LUFS (ITU-R BS.1770-4), or all softer by as much as one would clip."""
    sounds = [_mono(sound) for sound in sounds]
    levels = [_lufs(sound, sample_rate) for sound in sounds]
    gains = [10 ** ((MATCHED_LUFS - level) / 20) for level in levels]
    peaks = [gain * np.abs(sound).max() for gain, sound in zip(gains, sounds, strict=True)]
    room = min(1.0, *(PEAK / peak for peak in peaks if peak > 0), 1.0)
    return [(sound * gain * room).astype(np.float32) for sound, gain in zip(sounds, gains, strict=True)]


def encode(samples: np.ndarray, sample_rate: int, form: str = "WAV") -> bytes:
    """Return mono samples as a file of this form: WAV and FLAC of 16 bits, or MP3."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=form, subtype=None if form == "MP3" else "PCM_16")
    return file.getvalue()


def download_link(data: bytes, name: str, kind: str, text: str) -> str:
    """Return a link that saves some bytes as a file, wherever the page is shown."""
    encoded = base64.b64encode(data).decode()
    return (
        f'<a download="{html.escape(name)}" href="data:{kind};base64,{encoded}" '
        f'style="color:inherit;text-decoration:underline;margin-right:1em">{html.escape(text)}</a>'
    )


def _mono(audio: torch.Tensor | np.ndarray) -> np.ndarray:
    samples = np.asarray(audio, dtype=np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ValueError(f"A player needs finite mono audio [samples], but got shape {list(samples.shape)}.")
    return samples


def _lufs(samples: np.ndarray, sample_rate: int) -> float:
    """Return the loudness in LUFS, whatever the level: measured at a peak of −12 dB."""
    peak = 4 * float(np.abs(samples).max())
    if not peak:
        return MATCHED_LUFS
    shortest = int(0.4 * sample_rate) + 1
    padded = np.pad(samples / peak, (0, max(0, shortest - len(samples))))
    return float(loudness(torch.from_numpy(padded)[None], sample_rate)) + 20 * float(np.log10(peak))
