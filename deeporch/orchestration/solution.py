"""An orchestration: which player plays which recorded note, when, how long and how loud; heard, and seen as a table."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

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
    """One note of a solution.

    Parameters
    ----------
    note : int
        Its row in the library.
    player : int
        Who plays it: an index into the solution's orchestra.
    instrument, pitch, dynamic, technique : str
        As in the library's table; what sounds is `pitch`, whatever the instrument's transposition.
    midi : int
        The number of `pitch`; 60 is C4.
    cents : float
        How far the recording is retuned, in hundredths of a semitone.
    onset, duration : float
        In seconds. Of an instrument that holds a tone, a note longer than its recording is continued; what is struck or
        plucked dies away.
    gain : float
        Linear; 1.0 is as recorded.
    file : str
        The recording, relative to the library's root.
    mute : str
        As in the library: ``"S"`` is con sordino; empty without one.
    swell : float
        By how many decibels the note grows (or, below 0, fades) from its onset to its end.
    """

    note: int
    player: int
    instrument: str
    pitch: str
    midi: int
    dynamic: str
    technique: str = "ord"
    cents: float = 0.0
    onset: float = 0.0
    duration: float = 1.0
    gain: float = 1.0
    file: str = ""
    mute: str = ""
    swell: float = 0.0

    @classmethod
    def of(
        cls,
        library: NoteLibrary,
        note: int,
        player: int,
        *,
        cents: float = 0.0,
        onset: float = 0.0,
        duration: float | None = None,
        gain: float = 1.0,
        swell: float = 0.0,
    ) -> SolutionNote:
        """Return row `note` of a library as played by `player`; its default duration is the whole recording."""
        row = library.table.iloc[note]
        names = {name: str(row[name]) for name in ("instrument", "pitch", "dynamic", "technique", "file")}
        mute = row["mute"] if "mute" in row.index and isinstance(row["mute"], str) else ""
        seconds = float(row["seconds"]) if duration is None else float(duration)
        return cls(
            note=int(note), player=int(player), midi=int(row["midi"]), cents=float(cents), onset=float(onset),
            duration=seconds, gain=float(gain), swell=float(swell), mute=mute, **names,
        )  # fmt: skip


@dataclass(frozen=True)
class Solution:
    """An orchestration of a target.

    Parameters
    ----------
    notes : tuple of SolutionNote
        In any order.
    orchestra : tuple of str
        One entry a player; ``"ClBb|BClBb"`` is one player who doubles.
    library : NoteLibrary
        Where the recordings are.
    distance : float
        From the target.
    distance_name : str
        Which distance that is.
    seconds : float
        The target's duration, and that of `render`.
    title : str
        What the score is called: the target's name.
    loudness : float, optional
        The target's, as `deeporch.util.audio.loudness` measures it: what is written as WAV is as loud.
    single : float
        The distance of the best single note; NaN if that is not known.

    Raises
    ------
    ValueError
        If a note names a player, an instrument of a player, or a row of the library that does not exist.
    """

    notes: tuple[SolutionNote, ...]
    orchestra: tuple[str, ...]
    library: NoteLibrary = field(repr=False, compare=False)
    distance: float
    distance_name: str
    seconds: float
    title: str = ""
    loudness: float | None = None
    single: float = math.nan

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "orchestra", tuple(self.orchestra))
        if not (np.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"A solution lasts longer than 0 s, but seconds is {self.seconds!r}.")
        for note in self.notes:
            if not 0 <= note.player < len(self.orchestra):
                raise ValueError(
                    f"{note.instrument} {note.pitch} is played by player {note.player}, but the orchestra has "
                    f"players 0 to {len(self.orchestra) - 1}."
                )
            if note.instrument not in self.orchestra[note.player].split("|"):
                raise ValueError(
                    f"{note.instrument} {note.pitch} is given to player {note.player}, who plays "
                    f"{self.orchestra[note.player]}."
                )
            if not 0 <= note.note < len(self.library):
                raise ValueError(
                    f"{note.instrument} {note.pitch} is row {note.note} of the library, which has rows 0 to "
                    f"{len(self.library) - 1}."
                )

    @property
    def quality(self) -> str:
        """How near it is, in words and as a share of the best single note's distance; empty if that is not known."""
        if not self.single > 0:
            return ""
        share = self.distance / self.single
        word = (
            "very close"
            if min(share, 5 * self.distance) < 0.3
            else "close"
            if share < 0.6
            else "similar"
            if share < 0.85
            else "far"
        )
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
        """Return the solution as it sounds: mono float32 [samples], at the library's sample rate.

        Parameters
        ----------
        players : iterable of int, optional
            Only these; default all.

        Returns
        -------
        numpy.ndarray
            The notes' sum, `seconds` long. As many loud notes exceed full scale, so may this.
        """
        stems = self.stems()
        return stems.sum(0) if players is None else stems[list(players)].sum(0)

    def to_wav(self, path: str | Path, *, room: float = 0.0, gain: float = 1.0) -> Path:
        """Write stereo WAV, the players seated on the stage; see `deeporch.export.wav`."""
        return to_wav(self, path, room=room, gain=gain)

    def to_musicxml(self, path: str | Path, *, tempo: float | None = None) -> Path:
        """Write a score, one part a player; see `deeporch.export.musicxml`."""
        return to_musicxml(self, path, tempo=tempo)

    def to_parts(self, folder: str | Path, *, tempo: float | None = None) -> Path:
        """Write the part of each player into a folder; see `deeporch.export.musicxml`."""
        return to_parts(self, folder, tempo=tempo)

    def to_midi(self, path: str | Path, *, tempo: float | None = None) -> Path:
        """Write a MIDI file, one track a player and instrument; see `deeporch.export.midi`."""
        return to_midi(self, path, tempo=tempo)

    def to_svg(self, path: str | Path, *, tempo: float | None = None) -> Path:
        """Write the engraved score as SVG; see `deeporch.export.engraving`."""
        return to_svg(self, path, tempo=tempo)

    def to_pdf(self, path: str | Path, *, tempo: float | None = None) -> Path:
        """Write the engraved score as PDF; see `deeporch.export.engraving`."""
        return to_pdf(self, path, tempo=tempo)

    def to_bach(self, path: str | Path) -> Path:
        """Write the text of a bach.roll; see `deeporch.export.sessions`."""
        return to_bach(self, path)

    def to_reaper(self, path: str | Path, *, tempo: float | None = None) -> Path:
        """Write a Reaper project and a WAV a player; see `deeporch.export.sessions`."""
        return to_reaper(self, path, tempo=tempo)

    def to_json(self, path: str | Path) -> Path:
        """Write everything but the audio; `deeporch.orchestration.saved.from_json` reads it back."""
        return to_json(self, path)

    def to_connection(self, path: str | Path) -> Path:
        """Write Orchidea's connection.txt form; `deeporch.orchestration.saved.read_connection` reads it back."""
        return to_connection(self, path)

    def _repr_html_(self) -> str:
        shown = self.table.drop(columns=["note", "midi", "file"])
        words = f"{len(self.notes)} notes, {self.distance_name} {self.distance:.4g}, {self.seconds:.2f} s"
        heading = html.escape(f"{self.title}: {words}" if self.title else words)
        return (
            f"<div><p><strong>{heading}</strong></p>{shown.to_html(index=False, border=0, float_format='%.3g')}</div>"
        )


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
