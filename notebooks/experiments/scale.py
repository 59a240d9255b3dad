"""Time and memory against the size of everything: notes, mixtures, notes in a mixture, classes; and beside peers."""

from __future__ import annotations

import importlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import torch
import torchaudio
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from deeporch.features.constantq import ConstantQ
from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import SAMPLES, Mixtures
from deeporch.models.build import build
from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.distances import DEFAULT, get_distance
from deeporch.orchestration.search.state import CHUNK
from deeporch.plots.theme import BLUE, GREY, ORANGE, style
from deeporch.training.losses import compute_loss
from deeporch.util.progress import progress

BATCH = 16  # the study's
TIMES = "times deeporch's time"
COLUMNS = ("measure", "against", "x", "value", "low", "high", "unit")


def timed(action: Callable[[], object], repetitions: int = 3) -> list[float]:
    """Return the processor seconds of some repetitions, after one that is not counted."""
    action()
    seconds = []
    for _ in range(repetitions):
        began = time.process_time()
        action()
        seconds.append(time.process_time() - began)
    return seconds


def row(measure: str, against: str, x: float, values: Sequence[float], unit: str) -> dict:
    """Return a row of the table: the median of some values, and their range."""
    median = float(np.median(values))
    return dict(zip(COLUMNS, (measure, against, x, median, min(values), max(values), unit), strict=True))


def table(rows: Sequence[dict]) -> pd.DataFrame:
    """Return rows as a table."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


# ---- Libraries of any size -------------------------------------------------------------------------------------------


@contextmanager
def synthetic_library(size: int, seconds: float = 1.5) -> Iterator[NoteLibrary]:
    """Yield a library of so many notes, each its own sound, whose audio is a memory map in a temporary file."""
    samples, generator = int(seconds * 44_100), np.random.default_rng(size)
    names, pitches = ("Fl", "Ob", "ClBb", "Bn", "Hn", "TpC", "Vn", "Vc"), range(48, 84)
    rows = [{"instrument": i, "midi": m} for i in names for m in pitches][: min(size, 288)]
    tiny = [generator.standard_normal(100).astype(np.float32) for _ in rows]
    known = NoteLibrary.from_audio(pd.DataFrame(rows), tiny, name="synthetic").table
    notes = pd.concat([known.assign(take=str(k)) for k in range(-(-size // len(known)))], ignore_index=True)[:size]
    notes["seconds"], notes["file"] = seconds, [str(k) for k in range(size)]
    with tempfile.TemporaryDirectory() as folder:
        audio = np.memmap(Path(folder, "audio"), np.float16, "w+", shape=(size, samples))
        noise = (0.1 * generator.standard_normal(samples + size)).astype(np.float16)
        for place in range(size):
            audio[place] = noise[place : place + samples]
        yield NoteLibrary(notes, torch.from_numpy(audio), name=f"synthetic {size:,}", key=f"synthetic-{size}")


def against_notes(sizes: Sequence[int], *, mixtures: int, recipe: int) -> list[dict]:
    """Measure libraries of several sizes: bytes of audio, the recipe, mixing, and mixing with mel."""
    rows, mel = [], Mel()
    for size in progress(sizes, desc="notes", unit="library"):
        with synthetic_library(size) as notes:
            classes = Classes(notes, by="recording")
            rows.append(row("audio of the library", "notes", size, [notes.audio.numel() * 2 / 1e6], "MB"))
            taken = timed(lambda c=classes, n=notes: Mixtures(n, c, n=5, size=recipe, seed=0))
            rows.append(row(f"recipe of {recipe:,} mixtures", "notes", size, taken, "s"))
            some = Mixtures(notes, classes, n=5, size=mixtures, seed=0)
            rows.append(row("mixing", "notes", size, _per(timed(lambda s=some: _mixed(s)), some), "ms a mixture"))
            taken = timed(lambda s=some: [mel.of(s, w) for w in _batches(s)])
            rows.append(row("mixing and mel", "notes", size, _per(taken, some), "ms a mixture"))
    return rows


def against_n(numbers: Sequence[int], *, library: int, mixtures: int) -> list[dict]:
    """Measure mixtures of 2 to 30 notes: mixing, mel, and the sum of the notes' constant-Qs (made once before)."""
    rows, mel, cqt = [], Mel(), ConstantQ()
    with synthetic_library(library) as notes:
        classes = Classes(notes, by="recording")
        for n in progress(numbers, desc="N", unit="size"):
            some = Mixtures(notes, classes, n=n, size=mixtures, seed=0)
            for name, action in (
                ("mixing", lambda s=some: _mixed(s)),
                ("mixing and mel", lambda s=some: [mel.of(s, w) for w in _batches(s)]),
                ("constant-Q", lambda s=some: [cqt.of(s, w) for w in _batches(s)]),
            ):
                rows.append(row(name, "N", n, _per(timed(action), some), "ms a mixture"))
    return rows


def against_mixtures(sizes: Sequence[int], *, library: int) -> list[dict]:
    """Measure the recipe of up to a million mixtures of five notes: seconds, and bytes."""
    rows = []
    with synthetic_library(library, seconds=0.05) as notes:
        classes = Classes(notes, by="recording")
        for size in progress(sizes, desc="mixtures", unit="set"):
            taken = timed(lambda s=size: Mixtures(notes, classes, n=5, size=s, seed=0))
            megabytes = Mixtures(notes, classes, n=5, size=size, seed=0).nbytes / 1e6
            rows += [row("recipe", "mixtures", size, taken, "s"), row("recipe", "mixtures", size, [megabytes], "MB")]
    return rows


def against_classes(sizes: Sequence[int], *, batch: int = BATCH) -> list[dict]:
    """Measure a training step of the study's CNN, 128 x 128, with so many classes; and its weights."""
    rows = []
    for size in progress(sizes, desc="classes", unit="network"):
        network, step, _ = training_step(size, batch)
        taken = [1000 * s / batch for s in timed(step, 5)]
        rows.append(row("training step", "classes", size, taken, "ms a mixture"))
        rows.append(row("weights", "classes", size, [sum(p.numel() for p in network.parameters()) * 4 / 1e6], "MB"))
    return rows


def training_step(size: int, batch: int) -> tuple[torch.nn.Module, Callable[[], None], float]:
    """Return the study's CNN for so many classes, a function that trains one step, and its operations a mixture."""
    names = pd.DataFrame({"instrument": "Fl", "midi": 60, "take": list(map(str, range(size)))})
    notes = NoteLibrary.from_audio(names, [np.ones(8, np.float32)] * size)
    network = build("cnn", Classes(notes, by="recording"), features="mel128", seed=0).train()
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    x, target = torch.rand(batch, 1, 128, 128), torch.zeros(batch, size)
    target[:, :2] = 1

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        compute_loss(network(x), target, "softmax").backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    return network, step, counter.get_total_flops() / batch


def _mixed(mixtures: Mixtures) -> None:
    for which in _batches(mixtures):
        mixtures.audio(which)


def _batches(mixtures: Mixtures) -> Iterator[torch.Tensor]:
    return iter(torch.arange(len(mixtures)).split(BATCH))


def _per(seconds: Sequence[float], mixtures: Mixtures) -> list[float]:
    return [1000 * s / len(mixtures) for s in seconds]


def slopes(measured: pd.DataFrame) -> pd.DataFrame:
    """Return the exponent b of value = a · x^b for every curve, fitted to its logarithms."""
    found = []
    for (against, measure, unit), part in measured.groupby(["against", "measure", "unit"], sort=False):
        if part["x"].nunique() > 1 and (part["value"] > 0).all():
            slope = np.polyfit(np.log(part["x"].astype(float)), np.log(part["value"]), 1)[0]
            found.append({"against": against, "measure": measure, "unit": unit, "slope": slope})
    return pd.DataFrame(found)


# ---- Peers -----------------------------------------------------------------------------------------------------------


class Sums(Dataset):
    """The obvious way: a dataset whose items are sums of notes that are kept as float32."""

    def __init__(self, mixtures: Mixtures) -> None:
        self.rows, self.notes = mixtures.indices.long(), mixtures.notes.audio.float()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> torch.Tensor:
        return self.notes[self.rows[item]].sum(0)[:SAMPLES] / self.rows.shape[1]


def mel_ways(mixtures: Mixtures) -> dict[str, Callable[[], object]]:
    """Return the ways to mel spectrograms of a mixture set, each of the same 128 bands, by name."""
    mel, sums = Mel(), Sums(mixtures)
    options = {"n_fft": 2048, "hop_length": 512, "n_mels": 128}
    obvious = torchaudio.transforms.MelSpectrogram(
        44_100, norm="slaney", mel_scale="slaney", pad_mode="constant", **options
    )
    sounds = lambda: DataLoader(sums, batch_size=BATCH)  # noqa: E731
    ways = {
        "deeporch": lambda: [mel.of(mixtures, which) for which in _batches(mixtures)],
        "DataLoader, torchaudio": lambda: [obvious(sound) for sound in sounds()],
        "DataLoader, librosa": lambda: [librosa.feature.melspectrogram(y=s.numpy(), sr=44_100) for s in sounds()],
    }
    if find_spec("nnAudio2"):
        nn_audio = importlib.import_module("nnAudio2.features.mel").MelSpectrogram(sr=44_100, verbose=False, **options)
        ways["DataLoader, nnAudio2"] = lambda: [nn_audio(sound) for sound in sounds()]
    if find_spec("audioflux"):
        flux = importlib.import_module("audioflux").mel_spectrogram
        set_up = {"num": 128, "radix2_exp": 11, "samplate": 44_100, "slide_length": 512}
        ways["DataLoader, audioflux"] = lambda: [flux(s, **set_up) for sound in sounds() for s in sound.numpy()]
    if find_spec("auvux"):
        auvux = importlib.import_module("auvux.dsp").MelSpectrogram(sr=44_100, **options)
        ways["DataLoader, auvux-dsp"] = lambda: [auvux(sound.numpy()) for sound in sounds()]
    return ways


def beside_peers(mixtures: Mixtures, repetitions: int) -> list[dict]:
    """Time mel spectrograms of a mixture set in every way in turn; the ratios are those of one turn each."""
    ways = mel_ways(mixtures)
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in progress(range(repetitions), desc="peers", unit="turn"):
        for name, way in ways.items():
            began = time.process_time()
            way()
            taken[name].append(time.process_time() - began)
    rows = []
    for name, seconds in taken.items():
        rows.append(row(name, "peers", mixtures.n, _per(seconds, mixtures), "ms a mixture"))
        ratios = [theirs / ours for theirs, ours in zip(seconds, taken["deeporch"], strict=True)]
        rows.append(row(name, "peers", mixtures.n, ratios, TIMES))
    return rows


def constantq_beside_librosa(mixtures: Mixtures, repetitions: int) -> list[dict]:
    """Time constant-Qs of mixtures, of notes transformed before, beside librosa's of the sum, in turn."""
    cqt = ConstantQ()
    which = torch.arange(len(mixtures))
    few = mixtures.audio(which[:4]).numpy()
    cqt.of(mixtures, which)
    ratios = []
    for _ in range(repetitions):
        began = time.process_time()
        cqt.of(mixtures, which)
        ours = (time.process_time() - began) / len(which)
        began = time.process_time()
        librosa.cqt(few, sr=44_100, hop_length=512, fmin=librosa.note_to_hz("A0"), n_bins=24 * 8, bins_per_octave=24)
        ratios.append((time.process_time() - began) / len(few) / ours)
    return [row("librosa.cqt", "peers", mixtures.n, ratios, TIMES)]


# ---- The machine's limits --------------------------------------------------------------------------------------------


def machine() -> dict[str, float]:
    """Return what one thread of this machine does at best, a second: bytes copied, frames transformed, operations."""
    source, frames, square = np.ones(1 << 25, np.float32), torch.rand(512, 2048), torch.rand(1024, 1024)
    target = np.empty_like(source)
    return {
        "copy": 2 * source.nbytes / min(timed(lambda: np.copyto(target, source), 5)),
        "frames": len(frames) / min(timed(lambda: torch.fft.rfft(frames), 5)),
        "operations": 2 * 1024**3 / min(timed(lambda: square @ square, 5)),
    }


def shares(limits: dict[str, float], mixtures: Mixtures, classes: int) -> list[dict]:
    """Return the least time that each stage could take at the machine's rates, as a share of the time it takes."""
    mel, n = Mel(), mixtures.n
    bytes_moved = n * SAMPLES * 2 + SAMPLES * 4  # each note read once, the sum written once
    mixing = bytes_moved / limits["copy"]
    frames = mel.shape[-1] / limits["frames"]
    _, step, operations = training_step(classes, BATCH)
    cqt, compared = ConstantQ(), 1000
    notes = (n + 1) * cqt.frames * cqt.bins * 2 * 4  # complex frames of each note read, the sum's written
    compare, view = comparison(compared)
    stages = {
        "mixing": (mixing, lambda: _mixed(mixtures), len(mixtures)),
        "mixing and mel": (
            mixing + frames, lambda: [mel.of(mixtures, w) for w in _batches(mixtures)], len(mixtures),
        ),
        "constant-Q": (notes / limits["copy"], lambda: cqt.of(mixtures, torch.arange(len(mixtures))), len(mixtures)),
        "search": (view / limits["copy"], compare, compared),
        "training step": (operations / limits["operations"], step, BATCH),
    }  # fmt: skip
    return [
        row(name, "limit", n, [100 * least * count / s for s in timed(action, 5)], "% of the limit")
        for name, (least, action, count) in stages.items()
    ]


def comparison(candidates: int) -> tuple[Callable[[], object], int]:
    """Return what compares so many mixtures with a target of 2 s, as a search does, and the bytes of one's energies."""
    measure, generator = get_distance(DEFAULT), torch.Generator().manual_seed(0)
    sound = torch.randn(1, 2 * 44_100, generator=generator)
    target = measure.view(measure.energy(sound, 2.0))[0]
    parts = torch.rand(candidates, *target.shape, generator=generator).split(max(1, CHUNK // target.numel()))
    return lambda: [measure.compare(target, part) for part in parts], target.numel() * target.itemsize


# ---- The figure ------------------------------------------------------------------------------------------------------


def draw(measured: pd.DataFrame) -> Figure:
    """Draw time and memory against each size, on logarithmic axes, and the peers' times as bars."""
    panels = [name for name in ("notes", "N", "mixtures", "classes", "peers") if (measured["against"] == name).any()]
    with style():
        figure = Figure(figsize=(10, 3.1 * math.ceil(len(panels) / 2)), layout="constrained")
        cells = figure.subplots(math.ceil(len(panels) / 2), 2).flatten()
        for ax in cells[len(panels) :]:
            ax.axis("off")
        for ax, against in zip(cells, panels, strict=False):
            part = measured[measured["against"] == against]
            if against == "peers":
                bars = part[(part["unit"] == TIMES) & (part["measure"] != "deeporch")]
                place = np.arange(len(bars))
                ax.barh(place, bars["value"], color=GREY)
                ax.errorbar(
                    bars["value"],
                    place,
                    xerr=[bars["value"] - bars["low"], bars["high"] - bars["value"]],
                    fmt="none",
                    color=BLUE,
                )
                ax.set_yticks(place, bars["measure"], fontsize=8)
                ax.axvline(1, color=ORANGE)
                ax.set(xlabel="times deeporch's time, measured in turn", xscale="log")
                continue
            for (measure, unit), line in part.groupby(["measure", "unit"], sort=False):
                ax.loglog(line["x"], line["value"], "o-", label=f"{measure} / {unit}", markersize=4)
            ax.set(xlabel=against)
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.xaxis.set_major_locator(FixedLocator(sorted(part["x"].unique())))
            ax.xaxis.set_major_formatter("{x:,.0f}")
            ax.legend(fontsize=7)
    return figure
