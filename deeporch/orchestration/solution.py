"""An orchestration: which player plays which recorded note, when, how long and how loud; heard, and seen as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import soxr

from ..export.connection import to_connection
from ..export.json import to_json
from ..export.midi import to_midi
from ..export.musicxml import to_musicxml
from ..export.wav import to_wav
from ..notes.library import NoteLibrary

RELEASE = 0.05  # seconds: the fade of a note that is stopped before its recording ends


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
        In seconds. A note that is longer than its recording ends with the recording.
    gain : float
        Linear; 1.0 is as recorded.
    file : str
        The recording, relative to the library's root.
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
    ) -> SolutionNote:
        """Return row `note` of a library as played by `player`; its default duration is the whole recording."""
        row = library.table.iloc[note]
        names = {name: str(row[name]) for name in ("instrument", "pitch", "dynamic", "technique", "file")}
        seconds = float(row["seconds"]) if duration is None else float(duration)
        return cls(
            note=int(note), player=int(player), midi=int(row["midi"]), cents=float(cents), onset=float(onset),
            duration=seconds, gain=float(gain), **names,
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

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a note, in score order, with the fields of SolutionNote as columns."""
        first = ["player", "instrument", "pitch", "dynamic", "onset", "duration", "cents", "gain", "technique"]
        rest = [name for name in SolutionNote.__dataclass_fields__ if name not in first]
        rows = sorted(self.notes, key=lambda note: (note.player, note.onset, note.midi))
        return pd.DataFrame([asdict(note) for note in rows], columns=first + rest)

    def stems(self) -> np.ndarray:
        """Return what each player plays: float32 [players, samples], at the library's sample rate."""
        rate = self.library.sample_rate
        out = np.zeros((len(self.orchestra), round(self.seconds * rate)), dtype=np.float32)
        for note in self.notes:
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

    def to_wav(self, path: str | Path, *, room: float = 0.0) -> Path:
        """Write stereo WAV, the players seated on the stage; see `deeporch.export.wav`."""
        return to_wav(self, path, room=room)

    def to_musicxml(self, path: str | Path, *, tempo: float = 60.0) -> Path:
        """Write a score, one part a player; see `deeporch.export.musicxml`."""
        return to_musicxml(self, path, tempo=tempo)

    def to_midi(self, path: str | Path) -> Path:
        """Write a MIDI file, one track a player and instrument; see `deeporch.export.midi`."""
        return to_midi(self, path)

    def to_json(self, path: str | Path) -> Path:
        """Write everything but the audio; `deeporch.orchestration.saved.from_json` reads it back."""
        return to_json(self, path)

    def to_connection(self, path: str | Path) -> Path:
        """Write Orchidea's connection.txt form; `deeporch.orchestration.saved.read_connection` reads it back."""
        return to_connection(self, path)

    def _repr_html_(self) -> str:
        shown = self.table.drop(columns=["note", "midi", "file"])
        heading = f"{len(self.notes)} notes, {self.distance_name} {self.distance:.4g}, {self.seconds:.2f} s"
        return (
            f"<div><p><strong>{heading}</strong></p>{shown.to_html(index=False, border=0, float_format='%.3g')}</div>"
        )


def note_audio(library: NoteLibrary, note: SolutionNote) -> np.ndarray:
    """Return one note as it sounds: retuned, cut to its duration with a short fade, scaled; float32 [samples]."""
    rate = library.sample_rate
    sound = library.sound(note.note).numpy().astype(np.float32)
    if note.cents:  # played faster it sounds higher and shorter, as on tape
        sound = soxr.resample(sound, rate * 2 ** (note.cents / 1200), rate)
    samples = max(0, round(note.duration * rate))
    if samples < len(sound):
        fade = min(round(RELEASE * rate), samples)
        sound = sound[:samples]
        sound[samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound * np.float32(note.gain)
