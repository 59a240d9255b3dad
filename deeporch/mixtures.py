"""Classes, splits, and mixtures of notes: a mixture set is a recipe of indices and gains; audio is made on demand.

A *mixture* is the sum of N notes of distinct classes, divided by N. Its *target* is multi-hot over the classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from . import compiled
from .checks import check_choice
from .files import atomic_path, write_text
from .library import NoteLibrary
from .pitches import pitch_to_midi

GRANULARITIES = ("instrument", "note", "recording")
SPLITS = ("mixture", "recording", "fold")
SAMPLES = 127 * 512  # the study's window: 128 mel frames at hop 512 = 65,024 samples, 1.47 s at 44.1 kHz


class Classes:
    """The classes that a network chooses from, and which class each note of a library belongs to.

    Parameters
    ----------
    notes : NoteLibrary
        The library whose notes are classed.
    by : {"note", "instrument", "recording"}
        ``"instrument"``; ``"note"`` = (instrument, pitch), whatever the dynamic; ``"recording"`` = one class per file.

    Attributes
    ----------
    names : list of str
        One readable name a class, e.g. ``"Vn"``, ``"Vn C#4"``, ``"Vn C#4 mf"``; ordered by instrument, then pitch.
    table : pandas.DataFrame
        A row a class: name, instrument, midi (−1 for ``by="instrument"``), recordings.
    of_note : torch.Tensor
        int64 [notes]: the class of each note of the library.

    Raises
    ------
    ValueError
        If `by` is unknown, or the library has a single class.
    """

    def __init__(self, notes: NoteLibrary, *, by: str = "note") -> None:
        self.by = check_choice(by, GRANULARITIES, "class granularity")
        names, keys = _class_names(notes.table, by)
        order = (
            pd.DataFrame({"name": names, "instrument": notes.table["instrument"], "midi": keys})
            .groupby("name", as_index=False)
            .agg(instrument=("instrument", "first"), midi=("midi", "first"), recordings=("name", "size"))
            .sort_values(["instrument", "midi", "name"], ignore_index=True)
        )
        if len(order) < 2:
            raise ValueError(
                f"The library {notes.name!r} has a single class by {by} ({order['name'].iloc[0]}): "
                "a network needs two or more to choose from; load more instruments."
            )
        self.table = order
        index = {name: i for i, name in enumerate(order["name"])}
        self.of_note = torch.tensor([index[name] for name in names])

    @classmethod
    def from_dict(cls, card: dict) -> Classes:
        """Rebuild the classes of a checkpoint from `to_dict`'s output; `of_note` is empty: it belongs to a library."""
        classes = cls.__new__(cls)
        classes.by = check_choice(card["by"], GRANULARITIES, "class granularity")
        classes.table = pd.DataFrame({k: card[k] for k in ("name", "instrument", "midi", "recordings")})
        classes.of_note = torch.empty(0, dtype=torch.long)
        return classes

    def to_dict(self) -> dict:
        """Return a JSON-ready description, from which `from_dict` makes equal classes."""
        return {"by": self.by, **{column: self.table[column].tolist() for column in self.table}}

    @property
    def names(self) -> list[str]:
        """One readable name a class."""
        return self.table["name"].tolist()

    @property
    def instruments(self) -> list[str]:
        """The instruments that occur, in class order."""
        return self.table["instrument"].drop_duplicates().tolist()

    @property
    def instrument_of_class(self) -> torch.Tensor:
        """int64 [classes]: index into `instruments`."""
        position = {name: i for i, name in enumerate(self.instruments)}
        return torch.tensor([position[name] for name in self.table["instrument"]])

    def __len__(self) -> int:
        return len(self.table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and self.by == other.by and self.names == other.names

    __hash__ = None

    def __repr__(self) -> str:
        return f"Classes(by={self.by!r}, {len(self)} classes of {len(self.instruments)} instruments)"

    def match(self, notes: NoteLibrary) -> torch.Tensor:
        """Return the class of each note of another library, −1 where this list has none (int64 [notes])."""
        names, _ = _class_names(notes.table, self.by)
        index = {name: i for i, name in enumerate(self.names)}
        return torch.tensor([index.get(name, -1) for name in names])

    def on(self, notes: NoteLibrary) -> Classes:
        """Return these classes bound to another library's notes; notes of no class get −1 and are never drawn.

        Raises
        ------
        ValueError
            If the library has no note of any of these classes.
        """
        bound = Classes.from_dict(self.to_dict())
        bound.of_note = self.match(notes)
        if not (bound.of_note >= 0).any():
            raise ValueError(f"The library {notes.name!r} has no note of these {len(self)} classes by {self.by}.")
        return bound


def _class_names(table: pd.DataFrame, by: str) -> tuple[list[str], list[int]]:
    """Return each note's class name and its MIDI number (−1 for instruments)."""
    if by == "instrument":
        return table["instrument"].tolist(), [-1] * len(table)
    names = table["instrument"] + " " + table["pitch"]
    if by == "recording":
        names = names + " " + table["dynamic"]
        twice = names.duplicated(keep=False)  # several takes of one note: the file tells them apart
        names = names.where(~twice, names + " " + table["file"].map(lambda f: Path(f).stem))
    return names.tolist(), table["midi"].astype(int).tolist()


@dataclass(frozen=True)
class Split:
    """Which notes train and which test: int64 index tensors into a library, and a sentence that says how.

    With ``by="mixture"`` (the study's) both pools are all notes, and only the *mixtures* differ
    (give ``exclude=train`` to the test set). Otherwise no recording is in two pools.
    """

    by: str
    train: torch.Tensor
    valid: torch.Tensor
    test: torch.Tensor
    report: str


def split(
    notes: NoteLibrary,
    classes: Classes,
    *,
    by: str = "mixture",
    test: float = 0.2,
    valid: float = 0.0,
    folds: Sequence[int] = (0,),
    seed: int = 0,
) -> Split:
    """Split a library's recordings into training, validation and test pools.

    Parameters
    ----------
    notes, classes
        The library and its classes.
    by : {"mixture", "recording", "fold"}
        ``"mixture"``: every note is heard in training (the study's). ``"recording"``: a share `test` of each class's
        recordings is held out; each class keeps at least one for training, and a class with a single recording is
        never tested. ``"fold"``: the library's own folds (TinySOL), `folds` are the test's.
    test, valid : float
        Shares of the recordings, 0 ≤ share < 1. A class with two recordings gives one to the test.
    seed : int
        Of the draw.

    Raises
    ------
    ValueError
        If the split is unknown, the test pool comes out empty, or the library has no folds.
    """
    check_choice(by, SPLITS, "split")
    if not (0 <= test < 1 and 0 <= valid < 1 and test + valid < 1):
        raise ValueError(f"The shares test={test} and valid={valid} must be ≥ 0 and sum to less than 1.")
    usable = torch.nonzero(classes.of_note >= 0).flatten()
    if by == "mixture":
        return Split(by, usable, usable, usable, f"all {len(usable)} recordings are heard in training")
    held = _fold_holdout(notes, folds) if by == "fold" else _random_holdout(classes, usable, test, valid, seed)
    pools = {name: usable[held[usable] == code] for code, name in enumerate(("train", "valid", "test"))}
    trained = torch.zeros(len(classes), dtype=torch.bool)
    trained[classes.of_note[pools["train"]]] = True
    for name in ("valid", "test"):  # a class that was never trained cannot be recognised
        pools[name] = pools[name][trained[classes.of_note[pools[name]]]]
    tested = len(classes.of_note[pools["test"]].unique())
    if not len(pools["test"]):
        raise ValueError(
            f"Nothing is left to test: none of the {len(classes)} classes by {classes.by} has a recording to spare "
            f"(split {by!r}). Use by='mixture', coarser classes, or a library with several dynamics or takes."
        )
    report = (
        f"{len(pools['train'])} recordings train, {len(pools['valid'])} validate, {len(pools['test'])} test; "
        f"{tested} of {len(classes)} classes are tested, {len(classes) - tested} have no recording to spare"
    )
    return Split(by, pools["train"], pools["valid"], pools["test"], report)


def _random_holdout(classes: Classes, usable: torch.Tensor, test: float, valid: float, seed: int) -> torch.Tensor:
    """Return int8 [notes]: 0 train, 1 valid, 2 test; at least one recording a class trains."""
    generator = np.random.default_rng(seed)
    held = torch.zeros(len(classes.of_note), dtype=torch.int8)
    groups = pd.Series(usable.numpy()).groupby(classes.of_note[usable].numpy())
    for _, members in groups:
        members = generator.permutation(members.to_numpy())
        spare = len(members) - 1
        tests = min(spare, max(1, round(test * len(members)))) if test else 0
        valids = min(spare - tests, max(1, round(valid * len(members)))) if valid else 0
        held[members[:tests]] = 2
        held[members[tests : tests + valids]] = 1
    return held


def _fold_holdout(notes: NoteLibrary, folds: Sequence[int]) -> torch.Tensor:
    """Return int8 [notes]: 2 where the note's own fold is among `folds`, else 0."""
    column = notes.table["fold"] if "fold" in notes.table else pd.Series(dtype="Int64")
    known = sorted(column.dropna().unique().tolist())
    if not known:
        raise ValueError(f"The library {notes.name!r} has no folds: use by='recording' or by='mixture'.")
    for fold in folds:
        check_choice(str(fold), [str(k) for k in known], "fold")
    return torch.from_numpy(column.isin(list(folds)).to_numpy().astype(np.int8) * 2)


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
            compiled.mix(half, lengths, rows[i], gains[i], starts[i], out)

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


def _restrict(
    notes: NoteLibrary,
    classes: Classes,
    pool: torch.Tensor | None,
    instruments: Sequence[str] | None,
    pitch_range: tuple[str | int, str | int] | None,
) -> torch.Tensor:
    """Return the note indices that may be drawn, or say which restriction left none."""
    if len(classes.of_note) != len(notes):
        raise ValueError(
            f"These classes describe {len(classes.of_note)} notes, but the library {notes.name!r} has {len(notes)}: "
            "make them from this library, or bind them with classes.on(notes)."
        )
    keep = classes.of_note >= 0
    if pool is not None:
        mask = torch.zeros(len(notes), dtype=torch.bool)
        mask[pool] = True
        keep &= mask
    if instruments is not None:
        for name in instruments:
            check_choice(name, notes.table["instrument"].unique(), "instrument")
        keep &= torch.from_numpy(notes.table["instrument"].isin(list(instruments)).to_numpy(copy=True))
    if pitch_range is not None:
        low, high = (pitch_to_midi(p) if isinstance(p, str) else p for p in pitch_range)
        keep &= torch.from_numpy(notes.table["midi"].between(low, high).to_numpy(dtype=bool, copy=True))
    if not keep.any():
        raise ValueError(f"No note is left to mix: instruments={instruments}, pitch_range={pitch_range}.")
    return torch.nonzero(keep).flatten()


class _Draw:
    """Draws rows of N recordings of distinct classes from a pool."""

    def __init__(self, classes: Classes, pool: torch.Tensor, n: int, per_instrument: int | None) -> None:
        order = torch.argsort(classes.of_note[pool], stable=True)
        self.pool = pool[order]
        present, counts = classes.of_note[self.pool].unique_consecutive(return_counts=True)
        self.counts, self.first = counts, counts.cumsum(0) - counts
        self.n, self.slots = n, None
        if n > len(present):
            raise ValueError(f"A mixture of {n} distinct classes cannot be drawn: the pool has {len(present)} classes.")
        if per_instrument is not None:
            self._make_slots(classes.instrument_of_class[present], per_instrument)

    def _make_slots(self, instrument: torch.Tensor, per_instrument: int) -> None:
        """Give each instrument as many slots as it may play notes; a slot is filled with one of its classes."""
        order = torch.argsort(instrument, stable=True)
        _, sizes = instrument[order].unique_consecutive(return_counts=True)
        slots = sizes.clamp(max=per_instrument)
        if self.n > slots.sum():
            raise ValueError(
                f"A mixture of {self.n} notes cannot be drawn: {len(sizes)} instruments with at most "
                f"{per_instrument} notes each allow {int(slots.sum())}."
            )
        self.order, self.slots = order, torch.arange(len(sizes)).repeat_interleave(slots)
        self.slot_counts, self.slot_first = sizes[self.slots], (sizes.cumsum(0) - sizes)[self.slots]

    def __call__(self, rows: int, generator: torch.Generator) -> torch.Tensor:
        """Return candidate rows [≤ rows, n] of note indices; rows with a class twice are left out."""
        if self.slots is None:
            chosen = _choose(len(self.counts), self.n, rows, generator)
        else:
            slot = _choose(len(self.slots), self.n, rows, generator)
            pick = _below(self.slot_counts[slot], generator)
            chosen = self.order[self.slot_first[slot] + pick]
            ordered = chosen.sort(1).values
            chosen = chosen[(ordered[:, 1:] != ordered[:, :-1]).all(1)]
        return self.pool[self.first[chosen] + _below(self.counts[chosen], generator)]


def _below(counts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a random integer below each count."""
    draw = torch.rand(counts.shape, generator=generator, dtype=torch.float64)
    return (draw * counts).long()


def _choose(total: int, n: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    """Return int64 [≤ rows, n]: n distinct numbers below `total` in each row, uniformly, in random order."""
    if n * n > total:  # collisions are likely: draw without replacement
        return torch.rand(rows, total, generator=generator).topk(n, dim=1).indices
    draw = torch.randint(total, (rows, n), generator=generator)
    ordered = draw.sort(1).values
    return draw[(ordered[:, 1:] != ordered[:, :-1]).all(1)]


def _set_keys(indices: torch.Tensor, notes: int) -> torch.Tensor:
    """Return int64 [rows]: a key a set of notes, the same in any order (Zobrist hashing).

    A chance collision only makes one candidate be drawn again.
    """
    table = torch.randint(-(2**62), 2**62, (notes,), generator=torch.Generator().manual_seed(20_160))
    return table[indices.long()].sum(1)


def _distinct(
    draw: _Draw, size: int, generator: torch.Generator, exclude: Sequence[Mixtures], notes: int
) -> torch.Tensor:
    """Return `size` rows that are distinct as sets and not among those of `exclude`."""
    taken = torch.cat([torch.empty(0, dtype=torch.int64), *(_set_keys(other.indices, notes) for other in exclude)])
    dtype = torch.int16 if notes <= 2**15 else torch.int32
    parts, found, idle = [], 0, 0
    while found < size:
        rows = draw(min(2 * (size - found) + 4096, 65_536), generator)  # enough to find the last few sets as well
        keys = _set_keys(rows, notes)
        _, first = np.unique(keys.numpy(), return_index=True)
        fresh = torch.zeros(len(rows), dtype=torch.bool)
        fresh[torch.from_numpy(first)] = True
        fresh &= torch.from_numpy(~np.isin(keys.numpy(), taken.numpy()))
        rows, keys = rows[fresh][: size - found], keys[fresh][: size - found]
        parts.append(rows.to(dtype))
        taken = torch.cat([taken, keys])
        found += len(rows)
        idle = 0 if len(rows) else idle + 1
        if idle > 20:
            raise ValueError(
                f"Only {found} distinct mixtures of {draw.n} notes could be drawn from {len(draw.pool)} recordings"
                f"{' beside the excluded ones' if exclude else ''}, but {size} were asked for."
            )
    return torch.cat(parts)


def _gains(shape: torch.Size, gain_db: tuple[float, float], generator: torch.Generator) -> torch.Tensor | None:
    low, high = gain_db
    if low == high == 0:
        return None
    decibels = low + (high - low) * torch.rand(shape, generator=generator)
    return (10 ** (decibels / 20)).to(torch.float16)


def chance_recall(n: int, classes: int) -> float:
    """Return the expected top-N recall of a network that guesses: N classes of so many, N / classes."""
    return n / classes if classes else math.nan
