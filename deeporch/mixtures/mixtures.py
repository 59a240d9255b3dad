"""Classes, splits, and mixtures of notes: a mixture set is a recipe of indices and gains; audio is made on demand.

A *mixture* is the sum of N notes of distinct classes, divided by N. Its *target* is multi-hot over the classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from ..notes.library import NoteLibrary
from ..util.checks import check_choice
from ..util.files import atomic_path, write_text
from . import mixing
from .classes import Classes
from .sampling import _distinct, _Draw, _gains, _restrict

SAMPLES = 127 * 512  # the study's window: 128 mel frames at hop 512 = 65,024 samples, 1.47 s at 44.1 kHz


class Mixtures:
    """A set of mixtures, as a recipe: which notes, how loud, from where; audio and targets are made on demand.

    Two mixtures of a set never hold the same set of recordings. The same arguments give bit-identical sets.

    Parameters
    ----------
    notes, classes
        The library and its classes (`classes.of_note` belongs to `notes`).
    n : int
        Notes in a mixture, of `n` distinct classes, drawn uniformly over classes, then over their recordings.
    size : int
        Number of mixtures.
    seed : int
        Of the recipe.
    pool : torch.Tensor, optional
        Indices of the notes to draw from (a `Split`'s ``train`` or ``test``); default all.
    exclude : Mixtures or sequence of Mixtures, optional
        No set of notes that they hold is drawn (the study's split by mixture).
    per_instrument : int, optional
        At most so many notes an instrument; instruments are then drawn uniformly. 1: each plays once at most.
    instruments : sequence of str, optional
        Draw from these only.
    pitch_range : tuple of (str or int), optional
        Lowest and highest pitch, as names or MIDI numbers.
    gain_db : tuple of float
        Each note's level change is drawn uniformly between these two, in dB; default none.
    onset : float
        Each note but one starts up to so many seconds late, drawn uniformly; default 0.
    window : {"start", "random"}
        Of notes longer than the window: their beginning, or a part drawn at random.
    samples : int
        Length in samples; default the study's 65,024 (1.47 s at 44.1 kHz).

    Attributes
    ----------
    indices : torch.Tensor
        int16 or int32 [size, n], into the library.
    gains : torch.Tensor or None
        float16 [size, n], linear; None if every gain is 1.
    starts : torch.Tensor or None
        int32 [size, n]: the sample of the note at which the window opens; negative: so many samples of delay.

    Raises
    ------
    ValueError
        If `n` exceeds what the pool's classes allow, or fewer than `size` distinct mixtures exist.
    """

    def __init__(
        self,
        notes: NoteLibrary,
        classes: Classes,
        *,
        n: int = 2,
        size: int = 1000,
        seed: int = 0,
        pool: torch.Tensor | None = None,
        exclude: Mixtures | Sequence[Mixtures] = (),
        per_instrument: int | None = None,
        instruments: Sequence[str] | None = None,
        pitch_range: tuple[str | int, str | int] | None = None,
        gain_db: tuple[float, float] = (0.0, 0.0),
        onset: float = 0.0,
        window: str = "start",
        samples: int = SAMPLES,
    ) -> None:
        check_choice(window, ("start", "random"), "window")
        if n < 1 or size < 1 or samples < 1 or onset < 0 or gain_db[0] > gain_db[1]:
            raise ValueError(
                f"A mixture set needs n, size and samples ≥ 1, onset ≥ 0 and gain_db = (low, high), "
                f"but got n={n}, size={size}, samples={samples}, onset={onset}, gain_db={gain_db}."
            )
        self.notes, self.classes, self.n, self.samples, self.seed = notes, classes, n, samples, seed
        generator = torch.Generator().manual_seed(seed)
        self.pool = _restrict(notes, classes, pool, instruments, pitch_range)
        draw = _Draw(classes, self.pool, n, per_instrument)
        others = (exclude,) if isinstance(exclude, Mixtures) else tuple(exclude or ())
        for other in others:
            if other.notes.key != notes.key:
                raise ValueError(
                    f"The excluded mixtures are of another library ({other.notes.name!r}) than these ({notes.name!r})."
                )
        self.indices = _distinct(draw, size, generator, others, len(notes))
        self.gains = _gains(self.indices.shape, gain_db, generator)
        self.starts = self._starts(onset, window, generator)
        self._lengths = notes.lengths.tolist()
        self._device_audio: dict[torch.device, torch.Tensor] = {}

    def _starts(self, onset: float, window: str, generator: torch.Generator) -> torch.Tensor | None:
        if not onset and window == "start":
            return None
        starts = torch.zeros(self.indices.shape, dtype=torch.int32)
        if window == "random":
            spare = (self.notes.lengths[self.indices.long()] - self.samples).clamp(min=0)
            starts = (torch.rand(starts.shape, generator=generator) * (spare + 1)).to(torch.int32)
        if onset:
            delay = (torch.rand(starts.shape, generator=generator) * onset * self.notes.sample_rate).to(torch.int32)
            delay[:, 0] = 0
            starts = torch.where(delay > 0, -delay, starts)
        return starts

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return (
            f"Mixtures({len(self):,} of {self.n} notes, {len(self.classes)} classes by {self.classes.by}, "
            f"{self.samples / self.notes.sample_rate:.2f} s, {self.notes.name}, seed {self.seed})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the recipe takes."""
        return sum(t.nbytes for t in (self.indices, self.gains, self.starts) if t is not None)

    def batch(self, which: Iterable[int], *, device: str | torch.device = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Return the exact audio and the targets of some mixtures.

        Parameters
        ----------
        which : iterable of int
            Which mixtures.
        device : str or torch.device
            Where to mix. On a GPU the library's audio is copied there once.

        Returns
        -------
        audio : torch.Tensor
            float32 [batch, samples]: the sum of the notes times their gains, divided by N.
        target : torch.Tensor
            float32 [batch, classes], multi-hot.
        """
        which = torch.as_tensor(list(which) if not isinstance(which, torch.Tensor) else which)
        return self.audio(which, device=device), self.targets(which).to(device)

    def audio(
        self, which: Iterable[int], *, device: str | torch.device = "cpu", out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the exact audio of some mixtures, float32 [batch, samples]; see `batch`.

        Parameters
        ----------
        which, device
            As of `batch`.
        out : torch.Tensor, optional
            float32 [batch, samples] of silence on that device, into which to mix.
        """
        which = torch.as_tensor(list(which) if not isinstance(which, torch.Tensor) else which)
        device = torch.device(device)
        audio = torch.zeros(len(which), self.samples, device=device) if out is None else out
        if device.type == "cpu":
            mix = self.mixer(which)
            for i, mixture in enumerate(audio):
                mix(i, mixture.numpy())
            return audio
        source = self._audio_on(device)
        rows, gains, starts = (part.tolist() for part in self._recipe(which))
        for mixture, *recipe in zip(audio, rows, gains, starts, strict=True):
            for row, gain, start in zip(*recipe, strict=True):
                begin, start = max(-start, 0), max(start, 0)
                end = min(self._lengths[row] - start, self.samples - begin)  # beyond its length a note is zero
                if end > 0:
                    mixture[begin : begin + end].add_(source[row, start : start + end], alpha=gain)
        return audio

    def mixer(self, which: torch.Tensor) -> Callable[[int, np.ndarray], None]:
        """Return a function that mixes in memory, and that several threads may call at once.

        Parameters
        ----------
        which : torch.Tensor
            int64 [batch]: the mixtures that it can mix.

        Returns
        -------
        callable
            Of i and of float32 [samples or less]: adds the i-th of these mixtures to it.
        """
        half, lengths = self.notes.audio.view(torch.int16).numpy(), self.notes.lengths.numpy()
        rows, gains, starts = self._recipe(which)

        def mix(i: int, out: np.ndarray) -> None:
            mixing.mix(half, lengths, rows[i], gains[i], starts[i], out)

        return mix

    def ends(self, which: torch.Tensor) -> torch.Tensor:
        """Return int64 [batch]: after how many samples some mixtures, int64 [batch], are silent."""
        ends = self.notes.lengths[self.indices[which].long()]
        if self.starts is not None:
            ends = ends - self.starts[which]
        return ends.amax(1).clamp(0, self.samples)

    def _recipe(self, which: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return note rows, gains / N and starts of some mixtures, each [batch, n]."""
        rows = self.indices[which].long().numpy()
        gains = np.ones(rows.shape, np.float32) if self.gains is None else self.gains[which].float().numpy()
        starts = np.zeros(rows.shape, np.int64) if self.starts is None else self.starts[which].long().numpy()
        return rows, gains / np.float32(self.n), starts

    def _audio_on(self, device: torch.device) -> torch.Tensor:
        if device not in self._device_audio:
            self._device_audio[device] = self.notes.audio.to(device)
        return self._device_audio[device]

    def targets(self, which: Iterable[int] | None = None) -> torch.Tensor:
        """Return multi-hot targets, float32 [batch, classes]; of all mixtures if `which` is None."""
        rows = self.indices if which is None else self.indices[torch.as_tensor(which)]
        classes = self.classes.of_note[rows.long()]
        return torch.zeros(len(rows), len(self.classes)).scatter_(1, classes, 1.0)

    def labels(self, i: int) -> list[str]:
        """Return the class names of one mixture."""
        names = self.classes.names
        return [names[c] for c in self.classes.of_note[self.indices[i].long()].tolist()]

    def loader(self, batch_size: int, *, device: str | torch.device = "cpu") -> Iterator:
        """Yield (indices, audio, target) batch by batch, in order."""
        for which in torch.arange(len(self)).split(batch_size):
            yield (which, *self.batch(which, device=device))

    def save(self, path: str | Path, i: int = 0) -> Path:
        """Write mixture `i` as a 16-bit WAV, and its labels beside it as JSON.

        Parameters
        ----------
        path : str or Path
            The WAV to write; ``.wav`` is added where it is missing. Scaled down only if it would clip.

        Returns
        -------
        Path
            The WAV. ``<same name>.json`` holds classes, files, gains and starts of its notes.
        """
        if not 0 <= i < len(self):
            raise ValueError(f"There is no mixture {i}: the set has {len(self)}, numbered from 0.")
        path = Path(path)
        if path.suffix.lower() != ".wav":
            path = path.with_name(path.name + ".wav")
        audio = self.batch([i])[0][0]
        scale = 1 / max(1.0, audio.abs().max().item())
        with atomic_path(path) as temporary:
            soundfile.write(temporary, (audio * scale).numpy(), self.notes.sample_rate, subtype="PCM_16")
        rows = self.notes.table.iloc[self.indices[i].tolist()]
        columns = ["instrument", "pitch", "midi", "dynamic", "file"]
        notes = rows[columns].to_dict("records")
        for j, note in enumerate(notes):
            note["gain"] = 1.0 if self.gains is None else float(self.gains[i, j])
            note["start_sample"] = 0 if self.starts is None else int(self.starts[i, j])
        card = {
            "classes": self.labels(i),
            "sample_rate": self.notes.sample_rate,
            "scale": scale / self.n,
            "notes": notes,
        }
        write_text(path.with_suffix(".json"), json.dumps(card, indent=1, ensure_ascii=False))
        return path


class VariedMixtures(Mixtures):
    """A mixture set in which each mixture has its own number of notes, drawn uniformly.

    Every mixture has as many places as the largest; the notes that are too many are silent and not in the target. The
    sum is divided by the number of places, so that small mixtures are softer: use features that ignore the level.

    Parameters
    ----------
    notes, classes, size, seed, **options
        As of `Mixtures`.
    n : tuple of int
        The smallest and the largest number of notes.

    Attributes
    ----------
    present : torch.Tensor
        bool [size, most notes]: which places are sounding.

    Raises
    ------
    ValueError
        If the numbers are not in order, or as `Mixtures` does.
    """

    def __init__(
        self,
        notes: NoteLibrary,
        classes: Classes,
        *,
        n: tuple[int, int] = (1, 10),
        size: int = 1000,
        seed: int = 0,
        **options: Any,
    ) -> None:
        low, high = n
        if not 1 <= low <= high:
            raise ValueError(f"n must be (smallest, largest) with 1 ≤ smallest ≤ largest, but is {n}.")
        super().__init__(notes, classes, n=high, size=size, seed=seed, **options)
        generator = torch.Generator().manual_seed(seed + 1)
        counts = torch.randint(low, high + 1, (size, 1), generator=generator)
        self.present = torch.arange(high) < counts
        gains = torch.ones(self.present.shape, dtype=torch.float16) if self.gains is None else self.gains
        self.gains = gains * self.present

    def targets(self, which: Iterable[int] | None = None) -> torch.Tensor:
        """Return multi-hot targets, float32 [batch, classes]; of all mixtures if `which` is None."""
        which = torch.arange(len(self)) if which is None else torch.as_tensor(which)
        classes = self.classes.of_note[self.indices[which].long()]
        return torch.zeros(len(which), len(self.classes)).scatter_(1, classes, self.present[which].float())

    def labels(self, i: int) -> list[str]:
        """Return the class names of one mixture."""
        return super().labels(i)[: int(self.present[i].sum())]
