"""Measure how fast mixtures, features and libraries are made: ``make bench``.

Three ways to the study's 128 x 128 mel spectrograms of mixtures of N notes, timed in turn and compared within one run:

- *study*: as the study did it, one mixture at a time: librosa.load of each of the library's files, sum / N, librosa's
  mel; *study, WAV*: the same from 16-bit WAV files that hold just the notes, where the library's are compressed;
- *obvious*: `Mixtures.batch` and torchaudio's MelSpectrogram on the batch;
- *deeporch*: `Mixtures.batch` and `Mel`.

All make the same pictures, which is checked first (from the WAV files). Then constant-Qs of mixtures, and how long the
shipped recognizer takes to name the notes of one; and other libraries' mel spectrograms and constant-Qs beside ours, in
turn, on one thread (`notebooks/experiments/scale.py`; those of audioflux, nnaudio2 and auvux-dsp if they are
installed). Exits with 1 if *deeporch* is less than ten times as fast as *study*
at any N, or another goal is missed. ``--save`` writes figures/bench.csv.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import librosa
import numpy as np
import pandas as pd
import soundfile
import torch
import torchaudio

from deeporch.features.constantq import ConstantQ
from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import SAMPLES, Mixtures
from deeporch.notes.library import NoteLibrary, load_library
from deeporch.recognition.recognizer import Recognizer
from deeporch.results import enter_origin
from deeporch.util.environment import describe_device, environment

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "notebooks"))
from experiments import scale

PEER_GOAL = 1.3  # times as fast as the best other library, mixture and mel
LIBROSA_GOAL = 50  # times as fast as librosa.cqt of the sum
GOAL = 10  # times as fast as the study's way
CONSTANT_Q_GOAL = 5_000  # mixtures of five notes a second
RECOGNIZER_GOAL = 50  # ms for a mixture of 1.5 s
NOTES = (2, 5, 10)
BATCH = 16  # the study's
WARM_UP = 2  # mixtures of the study's way, and batches of the others, before the clock starts
FIGURES = Path(__file__).resolve().parents[2] / "figures"


@contextmanager
def fresh_cache():
    """Use an empty cache for libraries within the block."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"DEEPORCH_CACHE": folder}):
        yield


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


# ---- The three ways --------------------------------------------------------------------------------------------------


def study(files: list[list[Path]]) -> np.ndarray:
    """Return mels [mixtures, bands, frames] of lists of files, one mixture at a time."""
    mels = []
    for paths in files:
        mixture = np.zeros(SAMPLES, np.float32)
        for path in paths:
            note, rate = librosa.load(path, sr=None)
            note = note[:SAMPLES]
            mixture[: len(note)] += note
        mels.append(librosa.feature.melspectrogram(y=mixture / len(paths), sr=rate))
    return np.stack(mels)


def torchaudio_mel() -> torch.nn.Module:
    """Return torchaudio's transform with librosa's defaults."""
    return torchaudio.transforms.MelSpectrogram(
        44_100, n_fft=2048, hop_length=512, n_mels=128, norm="slaney", mel_scale="slaney", pad_mode="constant"
    )


def batches(which: range) -> list[range]:
    """Cut a range into batches."""
    return [which[i : i + BATCH] for i in range(0, len(which), BATCH)]


def write_files(notes: NoteLibrary, rows: torch.Tensor, folder: Path) -> dict[int, Path]:
    """Write some notes as 16-bit WAV files, as the study had them; return the file of each row."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for row in rows.unique().tolist():
        files[row] = folder / f"{row}.wav"
        if not files[row].exists():
            audio = notes.audio[row, : int(notes.lengths[row])].float().numpy()
            soundfile.write(files[row], audio, notes.sample_rate, subtype="PCM_16")
    return files


def compare(notes: NoteLibrary, root: Path, folder: Path, repetitions: int) -> list[dict]:
    """Time the ways, and mixing alone, in turn; return a row a way and N. The library's own files are below `root`."""
    mel, obvious = Mel(), torchaudio_mel()
    rows = []
    for n in NOTES:
        slow, fast = max(8, 80 // n), 16 * BATCH  # mixtures a repetition
        mixtures = Mixtures(notes, Classes(notes, by="recording"), n=n, size=repetitions * fast + 64, seed=n)
        files = write_files(notes, mixtures.indices[: repetitions * slow], folder)
        chosen = mixtures.indices[: repetitions * slow].tolist()
        paths = [[files[row] for row in mixture] for mixture in chosen]
        own = [[root / notes.table["file"][row] for row in mixture] for mixture in chosen]

        def ours(which: range, mixtures: Mixtures = mixtures) -> torch.Tensor:
            return torch.cat([mel.of(mixtures, batch) for batch in batches(which)])

        def theirs(which: range, mixtures: Mixtures = mixtures) -> torch.Tensor:
            return torch.cat([obvious(mixtures.batch(batch)[0]) for batch in batches(which)])

        def mixing(which: range, mixtures: Mixtures = mixtures) -> None:
            for batch in batches(which):
                mixtures.batch(batch)

        check_equal(study(paths[:WARM_UP]), ours(range(WARM_UP))[:, 0].numpy(), theirs(range(WARM_UP)).numpy())
        for way in (ours, theirs, mixing):
            way(range(WARM_UP * BATCH))
        times = {"study": [], "study, WAV": [], "obvious": [], "deeporch": [], "mixing alone": []}
        for r in range(repetitions):
            many = range(r * fast, (r + 1) * fast)
            for name, lists in (("study", own), ("study, WAV", paths)):
                few = lists[r * slow : (r + 1) * slow]
                times[name].append(seconds(lambda few=few: study(few)) / slow)
            for name, way in (("obvious", theirs), ("deeporch", ours), ("mixing alone", mixing)):
                times[name].append(seconds(lambda way=way, many=many: way(many)) / fast)
        for name, taken in times.items():
            ratios = [a / b for a, b in zip(times["study"], taken, strict=True)]
            rows.append({"measure": name, "n": n, "value": 1 / median(taken), "unit": "mixtures/s"})
            rows[-1] |= {"low": 1 / max(taken), "high": 1 / min(taken), "times_study": median(ratios)}
    return rows


def check_equal(reference: np.ndarray, *others: np.ndarray) -> None:
    """Stop if the ways make different pictures (16 bits against half precision: to 1e-3 of the maximum)."""
    for other in others:
        error = np.abs(other - reference).max() / reference.max()
        if not error < 1e-3:
            raise SystemExit(f"The ways do not agree: they differ by {error:.1e} of the maximum.")


# ---- Constant-Q and recognizer ---------------------------------------------------------------------------------------


def constant_q(notes: NoteLibrary, repetitions: int) -> list[dict]:
    """Time constant-Qs of mixtures, in batches as in training; the notes' own are computed before."""
    features, size = ConstantQ(), 32
    rows = []
    for n in NOTES:
        mixtures = Mixtures(notes, Classes(notes, by="recording"), n=n, size=16 * size, seed=n)

        def once(mixtures: Mixtures = mixtures) -> None:
            for which in torch.arange(len(mixtures)).split(size):
                features.of(mixtures, which)

        once()
        rates = [len(mixtures) / seconds(once) for _ in range(2 * repetitions)]
        rows.append({"measure": "constant-Q", "n": n, "value": median(rates), "unit": "mixtures/s"})
        rows[-1] |= {"low": min(rates), "high": max(rates)}
    return rows


def recognizer_time(repetitions: int) -> list[dict]:
    """Time the shipped recognizer on a sound of 1.5 s, after loading."""
    recognizer = Recognizer.load("philharmonia")
    sound = torch.rand(66_150, generator=torch.Generator().manual_seed(0)) - 0.5
    for _ in range(3):
        recognizer.predict(sound, 44_100)
    taken = [1000 * seconds(lambda: recognizer.predict(sound, 44_100)) for _ in range(4 * repetitions)]
    row = {"measure": "recognizer, 1.5 s of sound", "value": median(taken), "unit": "ms"}
    return [row | {"low": min(taken), "high": max(taken)}]


# ---- Other libraries -------------------------------------------------------------------------------------------------


def peers(notes: NoteLibrary, repetitions: int) -> list[dict]:
    """Time other libraries' mels and constant-Qs of mixtures of five notes beside ours, in turn, on one thread."""
    mixtures = Mixtures(notes, Classes(notes, by="recording"), n=5, size=4 * BATCH, seed=5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = scale.beside_peers(mixtures, repetitions) + scale.constantq_beside_librosa(mixtures, repetitions)
    torch.set_num_threads(threads)
    kept = ("measure", "value", "low", "high", "unit")
    return [{"n": 5} | {k: row[k] for k in kept} for row in found if row["unit"] == scale.TIMES and row["value"] != 1]


# ---- Recipes and libraries -------------------------------------------------------------------------------------------


def recipe(notes: NoteLibrary) -> list[dict]:
    """Time the recipe of 250,000 mixtures of 10 notes, with gains, onsets and random windows."""
    classes = Classes(notes, by="note")
    options = {"n": 10, "size": 250_000, "gain_db": (-12, 0), "onset": 0.5, "window": "random"}
    taken = [seconds(lambda seed=seed: Mixtures(notes, classes, seed=seed, **options)) for seed in range(3)]
    megabytes = Mixtures(notes, classes, **options).nbytes / 1e6
    row = {"measure": "recipe of 250,000", "n": 10}
    spread = {"low": min(taken), "high": max(taken)}
    return [{**row, "value": median(taken), "unit": "s", **spread}, {**row, "value": megabytes, "unit": "MB"}]


def load_times(name: str, root: Path) -> tuple[NoteLibrary, list[dict]]:
    """Load a folder of recordings into an empty cache, then from it; return it and the rows."""
    cold = seconds(lambda: load_library(name, root=root))
    cached = [seconds(lambda: load_library(name, root=root)) for _ in range(3)]
    notes = load_library(name, root=root)
    rows = [
        {"measure": f"cold load of {len(notes):,} notes", "value": cold, "unit": "s"},
        {"measure": f"cached load of {len(notes):,} notes", "value": median(cached), "unit": "s",
         "low": min(cached), "high": max(cached)},
    ]  # fmt: skip
    return notes, rows


def sol_tree(notes: NoteLibrary, folder: Path, size: int = 600) -> Path:
    """Write some notes of a library as WAV files in the SOL grammar, to have files to load."""
    rows = np.random.default_rng(0).permutation(len(notes))[:size]
    for row, path in write_files(notes, torch.from_numpy(rows), folder).items():
        note = notes.table.loc[row]
        path.rename(folder / f"{note['instrument']}-ord-{note['pitch']}-{note['dynamic']}-N-N.wav")
    return folder


def main() -> int:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="write figures/bench.csv")
    parser.add_argument("--repetitions", type=int, default=5, help="of each comparison; medians are reported")
    options = parser.parse_args()
    root = os.environ.get("DEEPORCH_PHILHARMONIA_ROOT")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if root:
            name, root = "philharmonia", Path(root)
        else:
            name, root = "sol", sol_tree(load_library("soundfont"), folder / "sol")
        with fresh_cache():
            notes, rows = load_times(name, root)
            compared = compare(notes, root, folder / "wav", options.repetitions)
            heard = constant_q(notes, options.repetitions) + recognizer_time(options.repetitions)
            rows = compared + heard + peers(notes, options.repetitions) + recipe(notes) + rows
    table = pd.DataFrame(rows, columns=["measure", "n", "value", "unit", "low", "high", "times_study"])
    table["n"] = table["n"].astype("Int64")
    print(table.to_string(index=False, float_format=lambda value: f"{value:,.2f}", na_rep=""))
    data = name if name == "philharmonia" else "soundfont, as WAV files"
    print(f"\nmedians; {data}; {describe_device()} ({platform.machine()}), torch on {torch.get_num_threads()} threads")
    if options.save:
        versions = environment()
        table = table.assign(data=data, device=describe_device(), torch=versions["torch"], git=versions["git"])
        with enter_origin(FIGURES / "bench.csv", f"{notes.name} {notes.key}") as path:
            table.to_csv(path, index=False, float_format="%.4g")
    missed = goals_missed(table)
    print("\n".join(missed) or "Every goal is met.")
    return 1 if missed else 0


def goals_missed(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each goal that a table of measurements misses."""
    missed = []
    for row in table.itertuples():
        if row.measure == "deeporch" and row.times_study < GOAL:
            missed.append(f"Too slow: {row.times_study:.1f} times the study's way at N={row.n}; the goal is {GOAL}.")
        if row.measure == "constant-Q" and row.n == 5 and row.value < CONSTANT_Q_GOAL:
            missed.append(f"Too slow: {row.value:,.0f} constant-Qs a second at N=5; the goal is {CONSTANT_Q_GOAL:,}.")
        goal = LIBROSA_GOAL if row.measure == "librosa.cqt" else PEER_GOAL
        if row.unit == scale.TIMES and row.value < goal:
            missed.append(f"Too slow: {row.value:.2f} times as fast as {row.measure}; the goal is {goal}.")
        if row.unit == "ms" and row.value > RECOGNIZER_GOAL:
            missed.append(f"Too slow: {row.value:.0f} ms to name a mixture; the goal is {RECOGNIZER_GOAL}.")
    return missed


if __name__ == "__main__":
    sys.exit(main())
