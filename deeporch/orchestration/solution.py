"""An orchestration: which player plays which recorded note, when, how long and how loud; heard, and seen as a table."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
import soxr

from ..export.engraving import to_pdf, to_svg
from ..export.midi import to_midi
from ..export.musicxml import to_musicxml, to_parts
from ..export.saved import to_connection, to_json
from ..export.sessions import to_bach, to_reaper
from ..export.wav import to_wav
from ..notes.instruments import holds, writing
from ..notes.library import NoteLibrary
from ..notes.sustain import held

RELEASE = 0.05  # seconds: the fade of a note that is stopped before its recording ends
BREATH, ATTACKS, LEAPING, CHANGING = 12.0, 0.1, 0.25, 3.0  # seconds: of one breath at most; least between attacks, for
# a leap of more than an octave, and to change instrument
JOINED = 1e-3  # seconds: a note that begins so soon after the same one has ended goes on with it


@dataclass(frozen=True)
class SolutionNote:
    """One note of a solution; instrument, pitch, dynamic, technique and mute are as in the library's table."""

    note: int  # its row in the library
    player: int  # an index into the solution's orchestra
    instrument: str
    pitch: str  # what sounds, whatever the instrument's transposition
    midi: int  # 60 is C4
    dynamic: str
    technique: str = "ord"
    cents: float = 0.0  # hundredths of a semitone by which the recording is retuned
    onset: float = 0.0  # in seconds
    duration: float = 1.0  # in seconds; a held note may be longer than its recording, what is struck dies away
    gain: float = 1.0  # linear; 1 is as recorded
    file: str = ""  # the recording, relative to the library's root
    mute: str = ""  # "S" is con sordino
    swell: float = 0.0  # decibels by which it grows (below 0: fades) from its onset to its end

    @classmethod
    def of(cls, library: NoteLibrary, note: int, player: int, **numbers: float) -> SolutionNote:
        """Return row `note` of a library as played by `player`, with cents, onset, …; it lasts as its recording."""
        row = library.table.iloc[note]
        names = {name: str(row[name]) for name in ("instrument", "pitch", "dynamic", "technique", "file")}
        mute = row["mute"] if "mute" in row.index and isinstance(row["mute"], str) else ""
        numbers = {name: float(value) for name, value in ({"duration": row["seconds"]} | numbers).items()}
        return cls(note=int(note), player=int(player), midi=int(row["midi"]), mute=mute, **names, **numbers)


@dataclass(frozen=True)
class Solution:
    """An orchestration of a target; ValueError if a note's player, instrument or row of the library does not exist."""

    notes: tuple[SolutionNote, ...]  # in any order
    orchestra: tuple[str, ...]  # one entry a player; "ClBb|BClBb" is one player who doubles
    library: NoteLibrary = field(repr=False, compare=False)
    distance: float  # from the target
    distance_name: str
    seconds: float  # the target's duration, and that of `render`
    title: str = ""  # of the score: the target's name
    loudness: float | None = None  # the target's, by `deeporch.util.audio.loudness`: what is written as WAV is as loud
    single: float = math.nan  # the distance of the best single note, if that is known

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "orchestra", tuple(self.orchestra))
        if not (np.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"A solution lasts longer than 0 s, but seconds is {self.seconds!r}.")
        for note in self.notes:
            name, players = f"{note.instrument} {note.pitch} is", self.orchestra
            if not 0 <= note.player < len(players):
                last = len(players) - 1
                raise ValueError(f"{name} played by player {note.player}, but the orchestra has players 0 to {last}.")
            if note.instrument not in players[note.player].split("|"):
                raise ValueError(f"{name} given to player {note.player}, who plays {players[note.player]}.")
            if not 0 <= note.note < len(self.library):
                last = len(self.library) - 1
                raise ValueError(f"{name} row {note.note} of the library, which has rows 0 to {last}.")

    @property
    def quality(self) -> str:
        """How near it is, in words and as a share of the best single note's distance; empty if that is not known."""
        if not self.single > 0:
            return ""
        share = self.distance / self.single
        near = min(share, 5 * self.distance) < 0.3
        word = "very close" if near else "close" if share < 0.6 else "similar" if share < 0.85 else "far"
        return f"{word}: {share:.0%} of the best single note's distance"

    @property
    def warnings(self) -> list[str]:
        """What a player has too little time or breath for, a sentence each."""
        return hard_to_play(self.attacks, self.orchestra)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a note, in score order, with the fields of SolutionNote as columns."""
        first = ["player", "instrument", "pitch", "dynamic", "onset", "duration", "cents", "gain", "technique"]
        rest = [name for name in SolutionNote.__dataclass_fields__ if name not in first]
        rows = sorted(self.notes, key=lambda note: (note.player, note.onset, note.midi))
        return pd.DataFrame([asdict(note) for note in rows], columns=first + rest)

    @cached_property
    def attacks(self) -> tuple[SolutionNote, ...]:
        """The notes as they are struck, by player and onset: a note that goes on with the same recording is one."""
        found: list[SolutionNote] = []
        for note in sorted(self.notes, key=lambda note: (note.player, note.midi, note.note, note.onset)):
            last = found[-1] if found else None
            if last and abs(last.onset + last.duration - note.onset) < JOINED and _same(last, note):
                duration = note.onset + note.duration - last.onset
                found[-1] = replace(last, duration=duration, swell=last.swell + note.swell)
            else:
                found.append(note)
        return tuple(sorted(found, key=lambda note: (note.player, note.onset, note.midi)))

    def stems(self) -> np.ndarray:
        """Return what each player plays: float32 [players, samples], at the library's sample rate."""
        rate = self.library.sample_rate
        out = np.zeros((len(self.orchestra), round(self.seconds * rate)), dtype=np.float32)
        for note in self.attacks:
            start = round(note.onset * rate)
            room = max(0.0, self.seconds - note.onset)
            sound = note_audio(self.library, replace(note, duration=min(note.duration, room)))
            sound = sound[: max(0, out.shape[1] - start)]
            out[note.player, start : start + len(sound)] += sound
        return out

    def render(self, *, players: Iterable[int] | None = None) -> np.ndarray:
        """Return the sum of the notes, or those of some players: mono float32 [samples], maybe beyond full scale."""
        stems = self.stems()
        return stems.sum(0) if players is None else stems[list(players)].sum(0)

    to_wav, to_midi, to_musicxml, to_parts, to_svg, to_pdf = to_wav, to_midi, to_musicxml, to_parts, to_svg, to_pdf
    to_bach, to_reaper, to_json, to_connection = to_bach, to_reaper, to_json, to_connection

    def _repr_html_(self) -> str:
        shown = self.table.drop(columns=["note", "midi", "file"])
        notes = f"{len(self.notes)} note" + "s" * (len(self.notes) != 1)
        words = f"{notes}, {self.distance_name} {self.distance:.4g}, {self.seconds:.2f} s"
        heading = html.escape(f"{self.title}: {words}" if self.title else words)
        table = shown.to_html(index=False, border=0, float_format="%.3g")
        return f"<div><p><strong>{heading}</strong></p>{table}</div>"


def _same(before: SolutionNote, after: SolutionNote) -> bool:
    """Return whether two notes of one player and recording sound alike."""
    return before == replace(after, onset=before.onset, duration=before.duration, swell=before.swell)


def note_audio(library: NoteLibrary, note: SolutionNote) -> np.ndarray:
    """Return one note as it sounds: retuned, held or cut to its duration, scaled; float32 [samples]."""
    rate = library.sample_rate
    sound = library.sound(note.note).numpy().astype(np.float32)
    if note.cents:  # played faster it sounds higher and shorter, as on tape
        sound = soxr.resample(sound, rate * 2 ** (note.cents / 1200), rate)
    samples = max(0, round(note.duration * rate))
    if holds(note.instrument, note.technique):
        sound = held(sound, samples, rate, 440 * 2 ** ((note.midi - 69 + note.cents / 100) / 12), note.note)
    if samples < len(sound):
        fade = min(round(RELEASE * rate), samples)
        sound = sound[:samples].copy()
        sound[samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    if note.swell:
        sound = sound * np.geomspace(1, 10 ** (note.swell / 20), len(sound), dtype=np.float32)
    return sound * np.float32(note.gain)


def hard_to_play(notes: Iterable[SolutionNote], players: Sequence[str]) -> list[str]:
    """Return a warning for each thing that a player has too little time or breath for."""
    found = []
    for p, player in enumerate(players):
        own = sorted((note for note in notes if note.player == p), key=lambda note: note.onset)
        for note in own:
            if note.duration > BREATH and writing(note.instrument).family in ("woodwinds", "brass"):
                found.append(f"{player}: {note.pitch} at {note.onset:.1f} s, {note.duration:.0f} s in one breath")
        for before, after in pairwise(own):
            gap, free = after.onset - before.onset, after.onset - before.onset - before.duration
            leap = abs(after.midi - before.midi)
            what = f"{player}: {before.pitch} to {after.instrument} {after.pitch} at {after.onset:.1f} s"
            if gap < ATTACKS:
                found.append(f"{what}, {gap:.2f} s after the note before")
            elif leap > 12 and gap < LEAPING:
                found.append(f"{what}, a leap of {leap} semitones within {gap:.2f} s")
            if after.instrument != before.instrument and free < CHANGING:
                found.append(f"{what}, with {max(free, 0):.1f} s to change instrument")
    return found
