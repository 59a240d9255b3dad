"""Solutions as files: stereo WAV, MusicXML, MIDI, JSON and Orchidea's connection form. All are written atomically."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ..notes.instruments import DYNAMICS, ORDINARY, full_name, midi_to_pitch, writing
from ..util.checks import check_range
from ..util.files import writing_to

if TYPE_CHECKING:
    from ..orchestration.solution import Solution, SolutionNote


def to_musicxml(solution: Solution, path: str | Path, *, tempo: float = 60.0) -> Path:
    """Write a score, one part a player; see `musicxml` for what is in it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    text = musicxml(solution, tempo=tempo)
    with writing_to(path) as temporary:
        temporary.write_bytes(text)
    return Path(path)


BEATS = 4  # quarters in a bar
GRIDS = (4, 8, 16)  # parts of a quarter that onsets may fall on: the coarsest that keeps them is used
LATE = 0.05  # seconds that a notated onset may be off, where a finer grid is to be had


@dataclass(frozen=True)
class Event:
    """What one player begins at one place of the score: notes of one instrument, in units of the grid."""

    start: int
    end: int
    notes: tuple[SolutionNote, ...]
    tied: bool  # continues the event before


def musicxml(solution: Solution, *, tempo: float = 60.0) -> bytes:
    """Return a solution as a score in MusicXML 4, one part a player.

    Transposing instruments are written at their transposition, with its ``<transpose>``; a player who doubles changes
    it where the instrument changes. Dynamics are marked where they change, retuning is a text in cents, as are
    techniques other than the ordinary one. Notes are tied over barlines, and where a player goes on with the same note.

    Parameters
    ----------
    solution : Solution
        What to write.
    tempo : float
        Quarters a minute, 20 to 400; bars are of four quarters. Onsets are rounded to sixteenths, or to 32nds or 64ths
        where that would move one by more than 50 ms or let two of a player fall together.

    Returns
    -------
    bytes
        UTF-8, opens in MuseScore, Finale, Sibelius and Dorico.

    Raises
    ------
    ValueError
        If `tempo` lies outside its range.
    """
    from music21 import clef, dynamics, expressions, metadata, meter, note, stream  # slow to import
    from music21 import tempo as tempos
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    check_range(tempo, 20, 400, "tempo")
    grid = _grid(solution, tempo)
    by_player = [list(_events(solution, player, tempo, grid)) for player in range(len(solution.orchestra))]
    last = max([solution.seconds * tempo / 60 * grid, *(event.end for events in by_player for event in events)])
    quarters = BEATS * max(1, math.ceil(round(last) / (BEATS * grid)))
    score = stream.Score()
    score.metadata = metadata.Metadata(title="Orchestration")
    score.metadata.movementName = f"{solution.distance_name} {solution.distance:.4g}"
    for player, events in enumerate(by_player):
        part = stream.Part(id=f"P{player + 1}")
        part.insert(0, _instrument(solution, player))
        part.insert(0, getattr(clef, f"{_clef(solution, player, events).capitalize()}Clef")())
        part.insert(0, meter.TimeSignature(f"{BEATS}/4"))
        if player == 0:
            mark = tempos.MetronomeMark(number=tempo)
            mark.placement = "above"
            part.insert(0, mark)
        dynamic = instrument = None
        for position, event in enumerate(events):
            first, offset = event.notes[0], event.start / grid
            following = events[position + 1] if position + 1 < len(events) else None
            part.insert(offset, _element(event, grid, continues=following is not None and following.tied))
            if first.dynamic in DYNAMICS and first.dynamic != dynamic:
                part.insert(offset, dynamics.Dynamic(first.dynamic))
            for text in _texts(event, changed=instrument not in (None, first.instrument)):
                words = expressions.TextExpression(text)
                words.placement = "above"
                part.insert(offset, words)
            dynamic, instrument = first.dynamic, first.instrument
        for start, length in _rests(events, quarters * grid):
            part.insert(start / grid, note.Rest(quarterLength=length / grid))
        score.insert(0, part.makeNotation())
    root = ElementTree.fromstring(GeneralObjectExporter(score).parse())
    identification = root.find("identification")
    for element in (identification.find("creator"), identification.find("encoding/encoding-date")):
        if element is not None:  # the same solution gives the same bytes, and music21 composed nothing
            next(parent for parent in root.iter() if element in parent).remove(element)
    for part, events in zip(root.findall("part"), by_player, strict=True):
        _write_transpositions(part, events, grid)
    return _serialised(root)


def _grid(solution: Solution, tempo: float) -> int:
    """Return the coarsest grid on which no onset moves by more than LATE, and none of a player's fall together."""
    onsets = sorted({(note.player, note.onset) for note in solution.notes})
    for grid in GRIDS[:-1]:
        units = [(player, round(onset * tempo / 60 * grid)) for player, onset in onsets]
        pairs = zip(onsets, units, strict=True)
        moved = max((abs(onset - unit * 60 / tempo / grid) for (_, onset), (_, unit) in pairs), default=0)
        if moved <= LATE and len(set(units)) == len(units):
            return grid
    return GRIDS[-1]


def _events(solution: Solution, player: int, tempo: float, grid: int) -> Iterator[Event]:
    """Yield what a player plays; a note ends where the next one begins, and lasts one unit at least."""
    at: dict[int, list[SolutionNote]] = {}
    for note in sorted((n for n in solution.notes if n.player == player), key=lambda n: (n.onset, n.midi)):
        at.setdefault(round(note.onset * tempo / 60 * grid), []).append(note)
    before = None
    for start, following in zip_longest(at, list(at)[1:]):
        notes = tuple(note for note in at[start] if note.instrument == at[start][0].instrument)
        end = max(round((note.onset + note.duration) * tempo / 60 * grid) for note in notes)
        end = max(start + 1, end if following is None else min(end, following))
        tied = before is not None and before.end == start and _same(before.notes, notes)
        before = Event(start, end, notes, tied)
        yield before


def _rests(events: list[Event], end: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of the rests between events: undotted, and none across a beat that it could begin on."""
    edges = [0, *(edge for event in events for edge in (event.start, event.end)), end]
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        while start < stop:
            length = min(start & -start or end, 1 << (stop - start).bit_length() - 1)
            length = min(length, BEATS * GRIDS[-1] if not start else length)
            yield start, length
            start += length


def _same(before: tuple[SolutionNote, ...], after: tuple[SolutionNote, ...]) -> bool:
    """Return whether a player goes on with what he played."""
    kinds = [[(n.instrument, n.midi, n.technique, round(n.cents)) for n in notes] for notes in (before, after)]
    return kinds[0] == kinds[1]


def _element(event: Event, grid: int, *, continues: bool) -> Any:
    """Return an event as a note or chord at written pitch, with its ties."""
    from music21 import chord, duration, note, pitch, tie

    pitches = [pitch.Pitch(midi=n.midi - writing(n.instrument).semitones) for n in event.notes]
    length = duration.Duration((event.end - event.start) / grid)
    element = note.Note(pitches[0], duration=length) if len(pitches) == 1 else chord.Chord(pitches, duration=length)
    if event.tied or continues:
        element.tie = tie.Tie("continue" if event.tied and continues else "stop" if event.tied else "start")
    return element


def _texts(event: Event, *, changed: bool) -> Iterator[str]:
    """Yield what is written over an event: a change of instrument, its technique, its retuning."""
    if changed:
        yield full_name(event.notes[0].instrument)
    if event.tied:
        return
    if event.notes[0].technique not in ORDINARY:
        yield event.notes[0].technique
    for note in event.notes:
        if round(note.cents):
            yield f"{midi_to_pitch(note.midi)} " * (len(event.notes) > 1) + f"{note.cents:+.0f} cents"


def _instrument(solution: Solution, player: int) -> Any:
    """Return music21's instrument of a player: names and sound; transpositions are written later."""
    from music21 import instrument

    names = solution.orchestra[player].split("|")
    made = instrument.Instrument(part_name(solution, player))
    made.partName, made.partAbbreviation = made.instrumentName, "/".join(names) + desk(solution, player)
    made.instrumentAbbreviation, made.midiProgram = made.partAbbreviation, writing(names[0]).program
    made.partId, made.instrumentId = f"P{player + 1}", f"I{player + 1}"
    return made


def desk(solution: Solution, player: int) -> str:
    """Return the number of a player among those who play the same, ``" 2"``, or nothing if there is only one."""
    same = [index for index, plays in enumerate(solution.orchestra) if plays == solution.orchestra[player]]
    return f" {same.index(player) + 1}" if len(same) > 1 else ""


def part_name(solution: Solution, player: int) -> str:
    """Return what a player's part is called: ``"Flute 2"``, ``"Clarinet in B flat / Bass clarinet"``."""
    return " / ".join(map(full_name, solution.orchestra[player].split("|"))) + desk(solution, player)


def _clef(solution: Solution, player: int, events: list[Event]) -> str:
    """Return the clef of a player's part: the instrument's, or treble where a bass clef's part stays above C4."""
    usual = writing(events[0].notes[0].instrument if events else solution.orchestra[player].split("|")[0]).clef
    written = [note.midi - writing(note.instrument).semitones for event in events for note in event.notes]
    return "treble" if usual == "bass" and written and min(written) >= 60 else usual


def _write_transpositions(part: ElementTree.Element, events: list[Event], grid: int) -> None:
    """Write ``<transpose>`` before the first note and wherever the instrument changes (music21: at barlines only)."""
    changes, instrument = {}, None
    for event in events:
        if writing(event.notes[0].instrument)[3:] != (writing(instrument)[3:] if instrument else (0, 0)):
            changes[event.start if changes or instrument else 0] = event.notes[0].instrument
        instrument = event.notes[0].instrument
    position, divisions = 0.0, 1
    for measure in part.findall("measure"):
        for element in list(measure):
            if element.tag == "attributes":
                divisions = int(element.findtext("divisions", str(divisions)))
            if element.tag in ("note", "direction") and round(position * grid) in changes:
                attributes = measure.find("attributes") if position == 0 else None
                if attributes is None:
                    attributes = ElementTree.Element("attributes")
                    measure.insert(list(measure).index(element), attributes)
                attributes.append(_transpose(changes.pop(round(position * grid))))
            if element.tag == "note" and element.find("chord") is None:
                position += float(element.findtext("duration", "0")) / divisions


def _transpose(instrument: str) -> ElementTree.Element:
    """Return an instrument's ``<transpose>``: from written to sounding, whole octaves apart."""
    how = writing(instrument)
    element = ElementTree.Element("transpose")
    ElementTree.SubElement(element, "diatonic").text = str(how.steps - 7 * how.octaves)
    ElementTree.SubElement(element, "chromatic").text = str(how.semitones - 12 * how.octaves)
    if how.octaves:
        ElementTree.SubElement(element, "octave-change").text = str(how.octaves)
    return element


def _serialised(root: ElementTree.Element) -> bytes:
    doctype = (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<!DOCTYPE score-partwise PUBLIC '
        '"-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
    )
    ElementTree.indent(root)
    return doctype.encode() + ElementTree.tostring(root, encoding="utf-8") + b"\n"


def engrave(solution: Solution, *, tempo: float = 60.0) -> str:
    """Return the score as a picture: an SVG of one system, for ``IPython.display.SVG``.

    Parameters
    ----------
    solution : Solution
        What to engrave.
    tempo : float
        As of `musicxml`.

    Raises
    ------
    RuntimeError
        If verovio cannot read the score.
    """
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions(
        {"breaks": "none", "adjustPageHeight": True, "adjustPageWidth": True, "scale": 40, "footer": "none",
         "header": "none", "svgViewBox": True, "xmlIdSeed": 1, "smuflTextFont": "embedded", "pageMarginLeft": 200}
    )  # fmt: skip
    if not toolkit.loadData(musicxml(solution, tempo=tempo).decode()):
        raise RuntimeError("verovio cannot read this score.")
    return toolkit.renderToSVG(1)
