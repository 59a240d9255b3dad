"""`MixtureExplorer`: put a mixture together, hear and see it, and ask the networks what is in it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ipywidgets
import pandas as pd
import torch
import traitlets

from ..features.registry import FEATURES, get_features
from ..mixtures.classes import Classes
from ..mixtures.mixtures import SAMPLES, Mixtures
from ..notes.instruments import dynamic_order, midi_to_pitch
from ..notes.library import SOURCES, NoteLibrary, load_library
from ..plots import svg
from ..recognition.recognizer import Heard
from . import note_controls
from .audio import audio_element, download_link
from .controls import Chips, Room, Slider, blank, button, choice, row, side_by_side
from .networks import NONE_THERE, Given, Networks
from .note_controls import Placed, PlacedRow

MOST = 10  # notes


class MixtureExplorer(Room):
    """Mixtures to play with: draw one at random or place its notes, solo and mute them, ask the networks."""

    library = traitlets.Unicode()
    instruments = traitlets.Tuple()
    dynamics = traitlets.Tuple()
    lowest = traitlets.Int(0)
    highest = traitlets.Int(127)
    n = traitlets.Int(3)
    seed = traitlets.Int(0)
    placed = traitlets.Tuple()
    chosen_networks = traitlets.Tuple()

    def __init__(
        self, library: NoteLibrary | str = "default", *, networks: Given = None, n: int = 3, seed: int = 0
    ) -> None:
        super().__init__()
        self.networks = Networks(networks)
        self.heard: dict[str, list[Heard]] = {}
        self.audio = torch.zeros(SAMPLES)
        self._rows: list[PlacedRow] = []
        self._make_controls()
        self.n, self.seed, self.chosen_networks = n, seed, tuple(self.networks.names)
        self.observe(self.draw, ["instruments", "dynamics", "lowest", "highest", "n", "seed"])
        self.observe(self._refresh, ["placed", "chosen_networks"])
        self._use(library if isinstance(library, NoteLibrary) else load_library(library))
        self.observe(self._load, "library")

    # ---- The notes ---------------------------------------------------------------------------------------------------

    def draw(self, change: object = None) -> None:
        """Draw the random mixture of the settings; what is impossible is said in `message`."""
        with self.message.catching():
            if self.lowest > self.highest:
                raise ValueError("The lowest pitch lies above the highest: no note is left.")
            fits = self._fitting(self.instruments, self.dynamics)
            if not fits.any():
                who = " or ".join(self.instruments) or "this library"
                how = f" played {' or '.join(self.dynamics)}" * bool(self.dynamics)
                span = f"{midi_to_pitch(self.lowest)} to {midi_to_pitch(self.highest)}"
                raise ValueError(f"No note is left: {who} has none{how} from {span}.")
            pool = torch.from_numpy(fits.to_numpy(copy=True)).nonzero().flatten()
            recipe = Mixtures(self.notes, self._classes, n=self.n, size=1, seed=self.seed, pool=pool)
            drawn = tuple(Placed(int(i)) for i in recipe.indices[0])
            if drawn == self.placed:  # nobody would be told
                self._refresh()
            self.placed = drawn

    def next(self) -> None:
        """Draw the next random mixture."""
        self.seed += 1

    def add(self) -> None:
        """Add a note, the middle one of those that may be drawn."""
        if len(self.placed) < MOST:
            fits = self._fitting(self.instruments)
            rows = fits.index[fits] if fits.any() else fits.index
            self.placed = (*self.placed, Placed(int(rows[len(rows) // 2])))
        else:
            self.message.warn(f"{MOST} notes are as many as fit here: remove one first.")

    def _fitting(self, instruments: Sequence[str], dynamics: Sequence[str] = ()) -> pd.Series:
        """Return which notes of the library lie in the range and are played by these, like this; () is all."""
        fits = self.notes.table["midi"].between(self.lowest, self.highest)
        for column, wanted in (("instrument", instruments), ("dynamic", dynamics)):
            if wanted:
                fits &= self.notes.table[column].isin(wanted)
        return fits

    def save(self, path: str | Path) -> Path:
        """Write the mixture as WAV and its labels as JSON beside it; return the WAV's path."""
        return note_controls.mixture(self.notes, self.placed).save(path)

    @property
    def truth(self) -> list[tuple[str, str]]:
        """(instrument, pitch) of the notes that sound."""
        return note_controls.names(self.notes, note_controls.audible(self.placed))

    def _use(self, notes: NoteLibrary) -> None:
        """Take another library, and draw from it."""
        classes = Classes(notes, by="note")  # first: it may say that the library is too small
        self.notes, self._classes = notes, classes
        self.placed = ()
        table = notes.table
        self._chips["instruments"].set_options(notes.summary()["name"].to_dict())
        self._chips["dynamics"].set_options(sorted(table["dynamic"].unique(), key=dynamic_order))
        low, high = int(table["midi"].min()), int(table["midi"].max())
        with self.hold_trait_notifications():
            self.library, self.lowest, self.highest = notes.name, low, high
        for name in ("lowest", "highest"):
            self._sliders[name].span(low, high, map(midi_to_pitch, range(low, high + 1)), getattr(self, name))
        self.draw()

    def _load(self, change: dict) -> None:
        if change["new"] != self.notes.name and not self.work.start(self._load_here, done=self._use):
            self.library = self.notes.name

    def _load_here(self) -> NoteLibrary:
        """Load the library that was chosen, if it is on this machine; nothing is downloaded."""
        try:
            return load_library(self.library, **({"download": False} if self.library == "tinysol" else {}))
        except BaseException:
            self.library = self.notes.name
            raise

    # ---- The page ----------------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        libraries = choice("Library", SOURCES, width="12.5em")

        def show_library(change: dict) -> None:
            if change["new"] not in libraries.options:
                libraries.options = (*libraries.options, change["new"])
            libraries.value = change["new"]

        self.observe(show_library, "library")
        libraries.observe(lambda change: setattr(self, "library", change["new"]), "value")
        limits = {"n": (1, MOST), "lowest": (0, 127), "highest": (0, 127), "seed": (0, 999)}
        self._sliders = {
            name: Slider(description="Notes" if name == "n" else name.capitalize(), min=low, max=high).bind(self, name)
            for name, (low, high) in limits.items()
        }
        self._chips = {name: Chips(label=f"{name.capitalize()}:") for name in ("instruments", "dynamics")}
        asked = Chips(self.networks.names, label="Networks:")
        self.bind(chosen_networks=asked, **self._chips)
        self._seen, self._player, self._answers, self._saved = blank(4)
        self._rows_box = ipywidgets.VBox()
        buttons = button("Add a note", self.add), button("Save WAV and labels", self._offer)
        self.furnish(
            row(libraries, *self._sliders.values(), button("New mixture", self.next)), *self._chips.values(),
            self.work, row(self._player, *buttons, self._saved), self._rows_box, self._seen, asked, self._answers,
        )  # fmt: skip

    def _refresh(self, change: object = None) -> None:
        """Mix, draw and ask anew."""
        with self.message.catching():
            self._saved.value = ""
            self._show_rows()
            if not note_controls.audible(self.placed):
                self.audio, self.heard = torch.zeros(SAMPLES), {}
                self._player.value = self._seen.value = self._answers.value = ""
                raise ValueError("No note sounds: add one, or unmute one.")
            self.audio = note_controls.mixture(self.notes, self.placed).audio([0])[0]
            self._player.value = audio_element(self.audio, self.notes.sample_rate, label="The mixture", form="FLAC")
            self._seen.value = self.picture()
            self._ask()

    def picture(self) -> str:
        """Return the waveform, the mel spectrogram and the constant-Q transform with the notes' partials, as HTML."""
        lines = note_controls.partials(self.notes, self.placed)
        seen = [svg.waveform(self.audio, self.notes.sample_rate)]
        for name in ("logmel128", "cqt24"):
            features = replace(get_features(name), sample_rate=self.notes.sample_rate)
            picture = self.networks.pictures(features, self.audio[None])[0]
            if name == "logmel128":  # from decibels above a fixed floor to decibels below the maximum
                picture = 1 - (picture.max() - picture) * 100 / 80
            seen.append(svg.spectrogram(FEATURES[name], picture, lines))
        return side_by_side(*seen)

    def still(self) -> str:
        """Return what it showed last."""
        return self.picture() if note_controls.audible(self.placed) else ""

    def _ask(self) -> None:
        truth, rate, ask = self.truth, self.notes.sample_rate, self.networks.predict
        self.heard = {name: ask(name, self.audio, rate, len(truth)) for name in self.chosen_networks}
        bars = [svg.heard_bars(heard, truth, title=name) for name, heard in self.heard.items()]
        self._answers.value = side_by_side(*bars) + ("" if self.networks.names else f"<p>{NONE_THERE}</p>")

    def _show_rows(self) -> None:
        for index, note in enumerate(self.placed):
            if index == len(self._rows):
                self._rows.append(PlacedRow(index, self._changed, self._removed))
            self._rows[index].show(self.notes, note)
        self._rows_box.children = tuple(self._rows[: len(self.placed)])

    def _changed(self, index: int, note: Placed) -> None:
        self.placed = (*self.placed[:index], note, *self.placed[index + 1 :])

    def _removed(self, index: int) -> None:
        self.placed = (*self.placed[:index], *self.placed[index + 1 :])

    def _offer(self) -> None:
        with self.message.catching(), tempfile.TemporaryDirectory() as folder:
            wav = self.save(Path(folder) / "mixture.wav")
            files = ((wav, "audio/wav"), (wav.with_suffix(".json"), "application/json"))
            self._saved.value = "".join(download_link(f.read_bytes(), f.name, kind, f.name) for f, kind in files)
