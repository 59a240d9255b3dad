"""Classes, splits, and mixtures of notes: a mixture set is a recipe of indices and gains; audio is made on demand.

A *mixture* is the sum of N notes of distinct classes, divided by N. Its *target* is multi-hot over the classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ..notes.library import NoteLibrary
from ..util.audio import write_sound
from ..util.checks import check_choice
from ..util.files import user_path, write_text
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
    n : int or (int, int)
        Notes in a mixture, of so many distinct classes, drawn uniformly over classes, then over their recordings; or
        the smallest and the largest number, drawn uniformly. Then every mixture has as many places as the largest, the
        notes that are too many are silent and no target, and small mixtures are softer.
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
    present : torch.Tensor or None
        bool [size, n]: which notes sound; None if all do.
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
        n: int | tuple[int, int] = 2,
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
        fewest, most = (n, n) if isinstance(n, int) else n
        if not 1 <= fewest <= most:
            raise ValueError(f"n must be a number or (smallest, largest) with 1 ≤ smallest ≤ largest, but is {n}.")
        if size < 1 or samples < 1 or not onset >= 0 or not gain_db[0] <= gain_db[1]:
            raise ValueError(
                f"A mixture set needs size and samples ≥ 1, onset ≥ 0 and gain_db = (low, high), "
                f"but got size={size}, samples={samples}, onset={onset}, gain_db={gain_db}."
            )
        self._describe(notes, classes, most, samples, seed)
        generator = torch.Generator().manual_seed(seed)
        self.pool = _restrict(notes, classes, pool, instruments, pitch_range)
        draw = _Draw(classes, self.pool, most, per_instrument)
        others = (exclude,) if isinstance(exclude, Mixtures) else tuple(exclude or ())
        for other in others:
            if other.notes.key != notes.key:
                theirs = f"of another library ({other.notes.name!r})"
                raise ValueError(f"The excluded mixtures are {theirs} than these ({notes.name!r}).")
        self.indices = _distinct(draw, size, generator, others, len(notes))
        self.gains = _gains(self.indices.shape, gain_db, generator)
        self.starts = self._starts(onset, window, generator)
        if fewest < most:
            counts = torch.randint(fewest, most + 1, (size, 1), generator=torch.Generator().manual_seed(seed + 1))
            self.present = torch.arange(most) < counts
            gains = torch.ones(self.present.shape, dtype=torch.float16) if self.gains is None else self.gains
            self.gains = gains * self.present

    @classmethod
    def from_recipe(
        cls,
        notes: NoteLibrary,
        classes: Classes | None,
        indices: Sequence[Sequence[int]] | torch.Tensor,
        gains: Sequence[Sequence[float]] | torch.Tensor | None = None,
        starts: Sequence[Sequence[int]] | torch.Tensor | None = None,
        *,
        samples: int = SAMPLES,
    ) -> Mixtures:
        """Return the set of these mixtures, as they are written down.

        Parameters
        ----------
        notes, classes
            The library and its classes; without classes there is audio, but there are no targets.
        indices : [size, n] of int
            The notes of each mixture.
        gains : [size, n] of float, optional
            Linear; a note of gain 0 is no target.
        starts : [size, n] of int, optional
            The sample of each note at which the window opens; negative: so many samples of delay.
        samples : int
            Length in samples.

        Raises
        ------
        ValueError
            If the shapes differ, a note does not exist, or a gain is no finite number.
        """
        made = cls.__new__(cls)
        made.indices = torch.as_tensor(indices, dtype=torch.int64)
        made.gains = None if gains is None else torch.as_tensor(gains, dtype=torch.float32)
        made.starts = None if starts is None else torch.as_tensor(starts, dtype=torch.int32)
        shapes = {tuple(each.shape) for each in (made.indices, made.gains, made.starts) if each is not None}
        if len(shapes) != 1 or made.indices.ndim != 2 or not made.indices.numel() or samples < 1:
            raise ValueError(f"A recipe has indices, gains and starts of one shape [size, n], not {sorted(shapes)}.")
        if made.indices.min() < 0 or made.indices.max() >= len(notes):
            raise ValueError(f"A recipe names notes from 0 to {len(notes) - 1}, but this has {made.indices.max()}.")
        if made.gains is not None and not made.gains.isfinite().all():
            raise ValueError("A recipe's gains must be finite numbers.")
        made._describe(notes, classes, made.indices.shape[1], samples, 0)
        if made.gains is not None and not made.gains.all():
            made.present = made.gains != 0
        return made

    def _describe(self, notes: NoteLibrary, classes: Classes | None, n: int, samples: int, seed: int) -> None:
        self.notes, self.classes, self.n, self.samples, self.seed = notes, classes, n, samples, seed
        self.present: torch.Tensor | None = None
        self.columns = len(classes) if classes else 0  # of targets

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
        classes = f", {len(self.classes)} classes by {self.classes.by}" if self.classes else ""
        n = f"{'up to ' if self.present is not None else ''}{self.n}"
        return (
            f"Mixtures({len(self):,} of {n} notes{classes}, "
            f"{self.samples / self.notes.sample_rate:.2f} s, {self.notes.name}, seed {self.seed})"
        )

    @cached_property
    def key(self) -> str:
        """Names the library, the recipe and the classes: sets of equal keys are equal."""
        digest = hashlib.sha256(json.dumps([self.notes.key, self.classes.names, self.samples]).encode())
        for part in (self.indices, self.gains, self.starts, self.classes.of_note):
            digest.update(b"" if part is None else part.numpy().tobytes())
        return f"{self!r} {digest.hexdigest()[:12]}"

    @property
    def nbytes(self) -> int:
        """Bytes that the recipe takes."""
        return sum(t.nbytes for t in (self.indices, self.gains, self.starts) if t is not None)

    def batch(self, which: Iterable[int], *, device: str | torch.device = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Return the audio [batch, samples] and the targets [batch, classes] of some mixtures."""
        which = _index(which)
        return self.audio(which, device=device), self.targets(which).to(device)

    def audio(
        self, which: Iterable[int], *, device: str | torch.device = "cpu", out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the exact audio of some mixtures: the sum of the notes times their gains, divided by N.

        float32 [batch, samples], mixed into `out` if it is given; a library that fits on a GPU is copied there once.
        """
        which, device = _index(which), torch.device(device)
        audio = torch.zeros(len(which), self.samples, device=device) if out is None else out
        if device.type == "cpu":
            mix = self.mixer(which)
            for i, mixture in enumerate(audio):
                mix(i, mixture.numpy())
            return audio
        if not self.notes.fits(device):
            return audio.add_(self.audio(which).to(device))
        source = self.notes.audio_on(device)
        if self.starts is None:  # whole batches: a note is zero beyond its length
            rows, gains, _ = (torch.from_numpy(part).to(device) for part in self._recipe(which))
            for j in range(self.n):
                audio[:, : source.shape[1]] += source[rows[:, j], : self.samples] * gains[:, j, None]
            return audio
        lengths = self.notes.lengths.tolist()
        rows, gains, starts = (part.tolist() for part in self._recipe(which))
        for mixture, *recipe in zip(audio, rows, gains, starts, strict=True):
            for row, gain, start in zip(*recipe, strict=True):
                begin, start = max(-start, 0), max(start, 0)
                end = min(lengths[row] - start, self.samples - begin)  # beyond its length a note is zero
                if end > 0:
                    mixture[begin : begin + end].add_(source[row, start : start + end], alpha=gain)
        return audio

    def mixer(self, which: torch.Tensor) -> Callable[[int, np.ndarray], None]:
        """Return a function, for several threads, that adds the i-th of some mixtures to float32 [samples or less]."""
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

    def targets(self, which: Iterable[int] | None = None) -> torch.Tensor:
        """Return multi-hot targets, float32 [batch, classes]; of all mixtures if `which` is None."""
        places = self.class_indices() if which is None else self.class_indices(_index(which))
        return torch.zeros(len(places), len(self.classes) + 1).scatter_(1, places, 1.0)[:, :-1].contiguous()

    def class_indices(self, which: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Return the class of each note of some mixtures, int64 [batch, n]; one past the last where there is none."""
        classes = self.classes.of_note[self.indices[which].long()]
        silent = classes < 0 if self.present is None else (classes < 0) | ~self.present[which]
        return classes.long().masked_fill(silent, len(self.classes))

    def labels(self, i: int) -> list[str]:
        """Return the class names of one mixture."""
        names = self.classes.names
        return [names[c] for c in self.classes.of_note[self._sounding(i)].tolist()]

    def _sounding(self, i: int) -> torch.Tensor:
        return self.indices[i].long() if self.present is None else self.indices[i][self.present[i]].long()

    def save(self, path: str | Path, i: int = 0) -> Path:
        """Write mixture `i` as a 16-bit WAV, scaled down only if it would clip, and its labels beside it as JSON.

        Returns the WAV's path; the JSON has classes, files, gains and starts of its notes.
        """
        if not 0 <= i < len(self):
            raise ValueError(f"There is no mixture {i}: the set has {len(self)}, numbered from 0.")
        path = user_path(path)
        if path.suffix.lower() != ".wav":
            path = path.with_name(path.name + ".wav")
        audio = self.audio([i])[0]
        scale = 1 / max(1.0, audio.abs().max().item())
        write_sound(path, (audio * scale).numpy(), self.notes.sample_rate)
        columns = ["instrument", "pitch", "midi", "dynamic", "file"]
        notes = self.notes.table.iloc[self.indices[i].tolist()][columns].to_dict("records")
        for j, note in enumerate(notes):
            note["gain"] = 1.0 if self.gains is None else float(self.gains[i, j])
            note["start_sample"] = 0 if self.starts is None else int(self.starts[i, j])
        labels = self.labels(i) if self.classes else [f"{note['instrument']} {note['pitch']}" for note in notes]
        card = {"classes": labels, "sample_rate": self.notes.sample_rate, "scale": scale / self.n, "notes": notes}
        write_text(path.with_suffix(".json"), json.dumps(card, indent=1, ensure_ascii=False))
        return path


def _index(which: Iterable[int]) -> torch.Tensor:
    return which if isinstance(which, torch.Tensor) else torch.as_tensor(list(which))
