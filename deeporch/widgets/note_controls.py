"""Notes of a mixture as a user places them: onset, level, and the row of controls of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ipywidgets
import numpy as np
import torch

from ..mixtures.mixtures import SAMPLES, Mixtures
from ..notes.instruments import dynamic_order, instrument_order, midi_to_pitch, pitch_to_midi
from ..notes.library import NoteLibrary
from ..plots.svg import Partials, colour_of
from ..util.files import atomic_path, write_text
from .audio import audio_element, encode
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


def mix(notes: NoteLibrary, placed: Sequence[Placed], *, samples: int = SAMPLES) -> torch.Tensor:
    """Return the sum of the notes that sound, divided by their number: float32 [samples]; see `Mixtures.audio`."""
    sounding = audible(placed)
    if not sounding:
        return torch.zeros(samples)
    gains = [[10 ** (note.level_db / 20) for note in sounding]]
    starts = [[-round(note.onset * notes.sample_rate) for note in sounding]]
    return Mixtures.from_recipe(notes, None, [[note.row for note in sounding]], gains, starts, samples=samples).audio(
        [0]
    )[0]


def names(notes: NoteLibrary, placed: Sequence[Placed]) -> list[tuple[str, str]]:
    """Return (instrument, pitch) of each note."""
    table = notes.table
    return [(table["instrument"].iloc[note.row], table["pitch"].iloc[note.row]) for note in placed]


def partials(notes: NoteLibrary, placed: Sequence[Placed], *, samples: int = SAMPLES) -> list[Partials]:
    """Return where the partials of the notes that sound lie; each note keeps its colour when others are muted."""
    found, sounding = [], audible(placed)
    for index, note in enumerate(placed):
        if any(note is other for other in sounding):
            row = notes.table.iloc[note.row]
            frequency = 440 * 2 ** ((int(row["midi"]) - 69) / 12)
            end = min(note.onset + float(row["seconds"]), samples / notes.sample_rate)
            name = f"{row['instrument']} {row['pitch']}"
            found.append(Partials(name, frequency, note.onset, end, colour_of(index)))
    return found


def card(notes: NoteLibrary, placed: Sequence[Placed], *, scale: float = 1.0) -> dict:
    """Return the labels of a mixture, in the form of `Mixtures.save`."""
    sounding = audible(placed)
    rows = []
    for note in sounding:
        row = notes.table.iloc[note.row]
        rows.append(
            {name: row[name] for name in ("instrument", "pitch", "dynamic", "file")} | {"midi": int(row["midi"])}
        )
        rows[-1] |= {"gain": 10 ** (note.level_db / 20), "start_sample": -round(note.onset * notes.sample_rate)}
    classes = [f"{instrument} {pitch}" for instrument, pitch in names(notes, sounding)]
    scale /= max(len(sounding), 1)
    return {"classes": classes, "sample_rate": notes.sample_rate, "scale": scale, "notes": rows}


def files(notes: NoteLibrary, placed: Sequence[Placed]) -> tuple[bytes, str]:
    """Return a mixture as a 16-bit WAV, scaled down only if it would clip, and its labels as JSON."""
    if not audible(placed):
        raise ValueError("There is nothing to save: no note sounds. Add one, or unmute one.")
    audio = mix(notes, placed)
    scale = 1 / max(1.0, float(audio.abs().max()))
    wav = encode(np.asarray(audio * scale), notes.sample_rate)
    return wav, json.dumps(card(notes, placed, scale=scale), indent=1, ensure_ascii=False)


def save(notes: NoteLibrary, placed: Sequence[Placed], path: str | Path) -> Path:
    """Write a mixture as ``.wav`` and its labels as ``.json`` beside it; return the WAV's path."""
    path = Path(path).with_suffix(".wav")
    wav, labels = files(notes, placed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(wav)
    write_text(path.with_suffix(".json"), labels)
    return path


NARROW = {"width": "5.5em"}


class PlacedRow(ipywidgets.HBox):
    """One note of a mixture: its choices, level, onset, mute, solo, its own player, and a button that removes it."""

    def __init__(self, index: int, changed: Callable[[int, Placed], None], removed: Callable[[int], None]) -> None:
        self.index, self._changed = index, changed
        self._showing, self._note, self._heard = False, Placed(-1), None
        which = f"of note {index + 1}"
        badge = f'<b style="color:{colour_of(index)}">&#9632; {index + 1}</b>'
        self._choices = {
            name: ipywidgets.Dropdown(tooltip=f"{name} {which}", layout=ipywidgets.Layout(**NARROW))
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
        super().__init__(
            children=(
                ipywidgets.HTML(badge), *self._choices.values(), self._level, self._onset, self._mute, self._solo,
                self._player, remove,
            ),
            layout=row().layout,
        )  # fmt: skip

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
            self._changed(
                self.index,
                replace(
                    self._note, level_db=self._level.value, onset=self._onset.value,
                    muted=self._mute.value, solo=self._solo.value,
                ),
            )  # fmt: skip


def desks(orchestra: Sequence[str]) -> list[str]:
    """Return what the players are called: ``"Fl 1"``, ``"Fl 2"``, and ``"Ob"`` where there is only one."""
    seated: Counter[str] = Counter()
    names = []
    for player in orchestra:
        seated[player] += 1
        names.append(f"{player} {seated[player]}" if orchestra.count(player) > 1 else player)
    return names
