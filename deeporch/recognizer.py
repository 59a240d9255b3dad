"""`Recognizer`: a trained network that names the notes of any sound; ``python -m deeporch.recognizer``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from torch import nn

from .checkpoints import load_checkpoint, read_card
from .decisions import Calibration
from .pitches import midi_to_pitch
from .sources.recordings import start_of_sound

__path__: list[str] = []  # the package imports this module for `deeporch.Recognizer`; so `python -m` does not warn

CHECKPOINTS = Path(__file__).resolve().parents[1] / "data" / "checkpoints"
DEFAULT = "philharmonia"  # trained on real recordings
SILENCE_DB = -50.0  # below the loudest window: windows in which there is no sound


class Heard(NamedTuple):
    """A recognised note: instrument (abbreviation), pitch (``"C#4"``, "" if the network names none), probability."""

    instrument: str
    pitch: str
    probability: float


class Recognizer:
    """A trained network with its classes, features and calibration.

    Parameters
    ----------
    model : torch.nn.Module
        Made by `deeporch.build` or `deeporch.load_checkpoint`.
    calibration : Calibration, optional
        From logits to probabilities.

    Attributes
    ----------
    features : callable
        Makes the pictures that the network sees, of audio [windows, samples]; the model's own, unless it is replaced by
        something that remembers them.

    Examples
    --------
    >>> recognizer = Recognizer.load("runs/mine/best.safetensors")  # doctest: +SKIP
    >>> recognizer.predict("chord.wav", n=3)  # doctest: +SKIP
    [Heard(instrument='Vn', pitch='C4', probability=0.98), …]
    """

    def __init__(self, model: nn.Module, calibration: Calibration | None = None) -> None:
        self.model = model.eval()
        self.features: Callable[[torch.Tensor], torch.Tensor] = model.features
        self.calibration = calibration or Calibration()

    @classmethod
    def load(cls, path: str | Path) -> Recognizer:
        """Load a checkpoint.

        Parameters
        ----------
        path : str or Path
            A ``.safetensors`` file, or the name of one in data/checkpoints/.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is none, or it is no checkpoint.
        """
        path = find_checkpoint(path)
        return cls(load_checkpoint(path), Calibration(**read_card(path).get("calibration", {})))

    @property
    def sample_rate(self) -> int:
        """What sounds are resampled to, in Hz."""
        return self.model.features.sample_rate

    def predict(
        self, audio: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None = None, *, n: int | None = None
    ) -> list[Heard]:
        """Return the notes of a sound, the likeliest first.

        Parameters
        ----------
        audio : path, array or tensor
            Mono [samples], or stereo [2, samples] or [samples, 2]; any length. Silence before the sound is left out;
            of long sounds, the logits of windows that overlap by half are averaged.
        sample_rate : int, optional
            In Hz; of a file its own.
        n : int, optional
            How many notes there are. Default: as many as are at least as likely as the calibration's threshold.

        Raises
        ------
        ValueError
            If the audio is empty or silent, has no sample rate or another shape; if `n` is out of range.
        FileNotFoundError
            If there is no such file.
        """
        return self.predict_batch([audio], sample_rate, n=n)[0]

    def predict_batch(
        self,
        sounds: Sequence[str | Path | np.ndarray | torch.Tensor],
        sample_rate: int | None = None,
        *,
        n: int | None = None,
    ) -> list[list[Heard]]:
        """Return the notes of several sounds; see `predict`."""
        names = self.model.classes.names
        if n is not None and not 1 <= n <= len(names):
            raise ValueError(f"n must lie between 1 and the network's {len(names)} classes, but is {n!r}.")
        logits = self.logits([read_sound(sound, sample_rate, self.sample_rate) for sound in sounds])
        probabilities = self.calibration.probabilities(logits)
        counts = self.calibration.decide(logits).sum(1).tolist() if n is None else [n] * len(logits)
        ranked = logits.argsort(1, descending=True)
        return [
            [self._heard(i, float(row[i])) for i in order[:count].tolist()]
            for order, row, count in zip(ranked, probabilities, counts, strict=True)
        ]

    def logits(self, sounds: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits [sounds, classes] of mono sounds at `sample_rate`, averaged over windows."""
        windows = [cut_windows(sound, self.model.features.samples) for sound in sounds]
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            parts = [self.model(self.features(part).to(device)).float().cpu() for part in torch.cat(windows).split(64)]
        return torch.stack([part.mean(0) for part in torch.cat(parts).split([len(w) for w in windows])])

    def _heard(self, index: int, probability: float) -> Heard:
        row = self.model.classes.table.iloc[index]
        return Heard(row["instrument"], midi_to_pitch(int(row["midi"])) if row["midi"] >= 0 else "", probability)


def find_checkpoint(path: str | Path) -> Path:
    """Return the file of a checkpoint, given its path or the name of one in data/checkpoints/."""
    path = Path(path)
    shipped = CHECKPOINTS / f"{path.name}.safetensors"
    return shipped if not path.is_file() and path.parent == Path() and shipped.is_file() else path


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


def cut_windows(sound: torch.Tensor, samples: int) -> torch.Tensor:
    """Return windows [windows, samples] of a sound, overlapping by half; silent ones and a short rest are left out."""
    if len(sound) <= samples:
        return nn.functional.pad(sound, (0, samples - len(sound)))[None]
    windows = sound.unfold(0, samples, samples // 2)
    power = windows.square().mean(1)
    return windows[power >= power.max() * 10 ** (SILENCE_DB / 10)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the notes of sound files; return 1 if one could not be read."""
    parser = argparse.ArgumentParser(prog="python -m deeporch.recognizer", description="Name the notes of sound files.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="sound files of any length")
    parser.add_argument("-n", type=int, default=None, help="how many notes there are (default: it decides)")
    parser.add_argument(
        "--checkpoint", default=DEFAULT, help=f"a .safetensors file, or a name in data/checkpoints (default: {DEFAULT})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    found, failed = {}, 0
    try:
        recognizer = Recognizer.load(options.checkpoint)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for file in options.files:
        try:
            found[file] = recognizer.predict(file, n=options.n)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            failed = 1
    if options.json:
        print(json.dumps({file: [note._asdict() for note in notes] for file, notes in found.items()}, indent=1))
    elif found:
        print("\n".join(line for file, notes in found.items() for line in table_lines(file, notes)))
    return failed


def table_lines(file: str, notes: Sequence[Heard]) -> list[str]:
    """Return the lines that show the notes of one file."""
    return [file, *(f"  {note.instrument:<6} {note.pitch:<4} {note.probability:6.1%}" for note in notes)]


if __name__ == "__main__":
    sys.exit(main())
