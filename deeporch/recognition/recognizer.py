"""`Recognizer`: a trained network that names the notes of any sound; ``deeporch recognize``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..models.checkpoints import load_checkpoint, read_card
from ..models.open_pitchnet import Evidence, OpenPitchNet
from ..notes.instruments import midi_to_pitch
from ..util.audio import read_sound
from ..util.files import user_path
from .answers import PitchAnswer, answers
from .calibration import Calibration
from .transcription import transcribe

CHECKPOINTS = Path(__file__).parent / "checkpoints"  # they ship with the package
DEFAULT = "orchestra"  # trained on many libraries
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
    parts : dict, optional
        Temperature and offset of an `OpenPitchNet`'s ``"pitch"`` and ``"instrument"`` logits.

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

    def __init__(
        self, model: nn.Module, calibration: Calibration | None = None, *, parts: dict[str, list[float]] | None = None
    ) -> None:
        self.model = model.eval()
        self.features: Callable[[torch.Tensor], torch.Tensor] = model.features
        self.calibration = calibration or Calibration()
        self.parts = {"pitch": [1.0, 0.0], "instrument": [1.0, 0.0]} | (parts or {})

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
        card = read_card(path)
        return cls(load_checkpoint(path), Calibration.from_dict(card.get("calibration")), parts=card.get("parts"))

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
        found = zip(logits.argsort(1, descending=True), probabilities, counts, strict=True)
        return [[self._heard(i, float(row[i])) for i in order[:count].tolist()] for order, row, count in found]

    def explain(
        self, audio: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None = None, *, n: int | None = None
    ) -> list[PitchAnswer]:
        """Return what is known of each pitch of a sound: how sure it is, the group of instruments, the instruments.

        Parameters
        ----------
        audio, sample_rate
            As of `predict`.
        n : int, optional
            How many pitches. Default: those that are at least as likely as not.

        Raises
        ------
        ValueError
            If the network does not tell pitches and instruments apart; as `predict`.
        """
        if not isinstance(self.model, OpenPitchNet):
            raise ValueError("This network names notes only: load 'orchestra' for answers by pitch and group.")
        sound = read_sound(audio, sample_rate, self.sample_rate)
        windows = cut_windows(sound, self.model.features.samples)
        with torch.inference_mode():
            found = [self.model.evidence(self.features(part)) for part in windows.split(64)]
        mean = Evidence(*(torch.cat(part).mean(0, keepdim=True) for part in zip(*found, strict=True)))
        return answers(mean, self.model.classes.instruments, **self.parts, least=0.5 if n is None else 0.0)[:n]

    def predict_over_time(
        self, audio: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None = None
    ) -> pd.DataFrame:
        """Return the notes of a recording that is longer than a note.

        Short windows are recognised one after another; a pitch that is likely in neighbouring windows is one note. It
        begins at the onset nearest to its first window and is named by what its windows say together.

        Parameters
        ----------
        audio, sample_rate
            As of `predict`.

        Returns
        -------
        pandas.DataFrame
            A row a note: begin and end (s, from the start of the sound), instrument, pitch, midi, probability; in
            order of begin. `deeporch.recognition.transcription` writes it as MIDI and CSV.

        Raises
        ------
        ValueError, FileNotFoundError
            As `predict`; if the network does not tell pitches and instruments apart.
        """
        if not isinstance(self.model, OpenPitchNet):
            raise ValueError("This network names notes of single sounds only: load 'orchestra' for longer recordings.")
        return transcribe(self, read_sound(audio, sample_rate, self.sample_rate))

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
    path = user_path(path)
    shipped = CHECKPOINTS / f"{path.name}.safetensors"
    return shipped if not path.is_file() and path.parent == Path() and shipped.is_file() else path


def cut_windows(sound: torch.Tensor, samples: int) -> torch.Tensor:
    """Return windows [windows, samples] of a sound, overlapping by half; silent ones and a short rest are left out."""
    if len(sound) <= samples:
        return nn.functional.pad(sound, (0, samples - len(sound)))[None]
    windows = sound.unfold(0, samples, samples // 2)
    power = windows.square().mean(1)
    return windows[power >= power.max() * 10 ** (SILENCE_DB / 10)]
