"""Notes of a mixture as a user places them: onset, level, and the row of controls of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import ipywidgets

from ..mixtures.mixtures import SAMPLES, Mixtures
from ..notes.instruments import dynamic_order, instrument_order, midi_to_pitch, pitch_to_midi
from ..notes.library import NoteLibrary
from ..plots.svg import Partials, colour_of
from .audio import audio_element
from .controls import Slider, button, row, toggle

MAX_ONSET = 1.0  # seconds


@dataclass(frozen=True)
class Placed:
    """One note of a mixture: its row of the library, change of level, seconds before it starts, muted or solo."""

    row: int
    level_db: float = 0.0
    onset: float = 0.0
    muted: bool = False
    solo: bool = False


def audible(placed: Sequence[Placed]) -> list[Placed]:
    """Return the notes that sound."""
    solo = any(note.solo for note in placed)
    return [note for note in placed if not note.muted and (note.solo or not solo)]


def mixture(notes: NoteLibrary, placed: Sequence[Placed]) -> Mixtures:
    """Return the notes that sound as a mixture."""
    sounding = audible(placed)
    if not sounding:
        raise ValueError("There is nothing to save: no note sounds. Add one, or unmute one.")
    gains = [[10 ** (note.level_db / 20) for note in sounding]]
    starts = [[-round(note.onset * notes.sample_rate) for note in sounding]]
    rows = [[note.row for note in sounding]]
    return Mixtures.from_recipe(notes, None, rows, gains, starts)


def names(notes: NoteLibrary, placed: Sequence[Placed]) -> list[tuple[str, str]]:
    """Return (instrument, pitch) of each note."""
    table = notes.table
    return [(table["instrument"].iloc[note.row], table["pitch"].iloc[note.row]) for note in placed]


def partials(notes: NoteLibrary, placed: Sequence[Placed]) -> list[Partials]:
    """Return where the partials of the notes that sound lie; each note keeps its colour when others are muted."""
    found, sounding = [], set(map(id, audible(placed)))
    for index, (note, name) in enumerate(zip(placed, names(notes, placed), strict=True)):
        if id(note) in sounding:
            row = notes.table.iloc[note.row]
            end = min(note.onset + float(row["seconds"]), SAMPLES / notes.sample_rate)
            frequency = 440 * 2 ** ((int(row["midi"]) - 69) / 12)
            found.append(Partials(" ".join(name), frequency, note.onset, end, colour_of(index)))
    return found


class PlacedRow(ipywidgets.HBox):
    """One note of a mixture: its choices, level, onset, mute, solo, its own player, and a button that removes it."""

    def __init__(self, index: int, changed: Callable[[int, Placed], None], removed: Callable[[int], None]) -> None:
        self.index, self._changed = index, changed
        self._showing, self._note, self._heard = False, Placed(-1), None
        which = f"of note {index + 1}"
        badge = f'<b style="color:{colour_of(index)}">&#9632; {index + 1}</b>'
        self._choices = {
            name: ipywidgets.Dropdown(tooltip=f"{name} {which}", layout=ipywidgets.Layout(width="5.5em"))
            for name in ("instrument", "pitch", "dynamic")
        }
        self._level = Slider(description="Level", title=f"Level {which}", min=-30, max=6, unit=" dB")
        self._onset = Slider(description="Onset", title=f"Onset {which}", max=MAX_ONSET, step=0.05, unit=" s")
        self._mute, self._solo = (toggle(text, f"{text} note {index + 1}") for text in ("Mute", "Solo"))
        self._player = ipywidgets.HTML()
        for choice in self._choices.values():
            choice.observe(self._chosen, "value")
        for control in (self._level, self._onset, self._mute, self._solo):
            control.observe(self._set, "value")
        remove = button("✕", lambda: removed(index), tooltip=f"Remove note {index + 1}")
        controls = (*self._choices.values(), self._level, self._onset, self._mute, self._solo, self._player, remove)
        super().__init__((ipywidgets.HTML(badge), *controls), layout=row().layout)

    def show(self, notes: NoteLibrary, note: Placed) -> None:
        """Show a note, without telling anybody that it changed."""
        if (notes.key, note) == (getattr(self, "_key", None), self._note):
            return
        self._notes, self._key, self._note, self._showing = notes, notes.key, note, True
        try:
            line = notes.table.iloc[note.row]
            self._offer(line["instrument"], int(line["midi"]), line["dynamic"])
            self._level.value, self._onset.value = note.level_db, note.onset
            self._mute.value, self._solo.value = note.muted, note.solo
            if self._heard != (notes.key, note.row):
                audio = notes.audio[note.row, : int(notes.lengths[note.row])][: 2 * notes.sample_rate]
                label = f"Note {self.index + 1}: {line['instrument']} {line['pitch']} {line['dynamic']}"
                self._player.value = audio_element(audio, notes.sample_rate, label=label, form="FLAC", short=True)
                self._heard = (notes.key, note.row)
        finally:
            self._showing = False

    def _offer(self, instrument: str, midi: int, dynamic: str) -> None:
        """Offer the library's instruments, this one's pitches and that one's dynamics, and choose."""
        table = self._notes.table
        own = table[table["instrument"] == instrument]
        offers = {
            "instrument": (sorted(table["instrument"].unique(), key=instrument_order), instrument),
            "pitch": ([midi_to_pitch(m) for m in sorted(own["midi"].unique())], midi_to_pitch(midi)),
            "dynamic": (sorted(own.loc[own["midi"] == midi, "dynamic"].unique(), key=dynamic_order), dynamic),
        }
        for name, (options, value) in offers.items():
            choice = self._choices[name]
            if list(choice.options) != options:
                choice.options = options
            choice.value = value

    def _chosen(self, change: dict) -> None:
        """Take the note that was chosen; where there is none, the nearest pitch, and a dynamic that exists."""
        if self._showing:
            return
        table = self._notes.table
        instrument, pitch, dynamic = (choice.value for choice in self._choices.values())
        own = table[table["instrument"] == instrument]
        own = own[(distance := (own["midi"] - pitch_to_midi(pitch)).abs()) == distance.min()]
        same = own[own["dynamic"] == dynamic]
        self._changed(self.index, replace(self._note, row=int((same if len(same) else own).index[0])))

    def _set(self, change: dict) -> None:
        if not self._showing:
            values = (control.value for control in (self._level, self._onset, self._mute, self._solo))
            self._changed(self.index, Placed(self._note.row, *values))
