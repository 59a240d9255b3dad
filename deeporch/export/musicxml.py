"""Solutions as scores: MusicXML 4, written as players read it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ..notes.instruments import DYNAMICS, Instrument, midi_to_pitch, writing
from ..util.files import write_bytes
from .staves import Event, Staff, staves, tempo_and_grid, words, written

if TYPE_CHECKING:
    from ..orchestration.solution import Solution

BEATS = 4  # quarters in a bar
TYPES = {4: "whole", 2: "half", 1: "quarter", 0.5: "eighth", 0.25: "16th", 0.125: "32nd"}  # by quarters
ACCIDENTALS = {
    -0.5: "quarter-flat", -0.25: "natural-down", 0: "natural", 0.25: "natural-up",
    0.5: "quarter-sharp", 0.75: "sharp-down", 1: "sharp", 1.25: "sharp-up", 1.5: "three-quarters-sharp",
}  # fmt: skip
CLEFS = {"treble": ("G", 2, 30), "alto": ("C", 3, 24), "tenor": ("C", 4, 22), "bass": ("F", 4, 18)}  # and lowest line
LEDGERS, OCTAVE = 3, 5  # a note that needs more ledger lines changes the clef, and so many more go an octave down
SWELL = 4.0  # decibels: a note that changes by as much has a hairpin; a dynamic is worth DYNAMIC_DB
DYNAMIC_DB = 6.0
PAPER = {"A4": (210, 297), "A3": (297, 420)}  # millimetres


def to_musicxml(solution: Solution, path: str | Path, *, tempo: float | None = None) -> Path:
    """Write a score, one part a player who plays; see `musicxml` for what is in it."""
    return write_bytes(path, musicxml(solution, tempo=tempo))


def to_parts(solution: Solution, folder: str | Path, *, tempo: float | None = None) -> Path:
    """Write into a folder the part of each player who plays, with the tempo and the bars of the score."""
    for staff in staves(solution, *tempo_and_grid(solution, tempo)):
        path = Path(folder) / f"{staff.name.replace(' / ', '-')}.musicxml"
        write_bytes(path, musicxml(solution, tempo=tempo, player=staff.player))
    return Path(folder)


def musicxml(solution: Solution, *, tempo: float | None = None, player: int | None = None) -> bytes:
    """Return a solution, or one player's part of it, as a score in MusicXML 4."""
    tempo, grid = tempo_and_grid(solution, tempo)
    parts = staves(solution, tempo, grid)
    bars = max(1, math.ceil(max((event.end for staff in parts for event in staff.events), default=1) / (BEATS * grid)))
    parts = [staff for staff in parts if player in (None, staff.player)]
    root = Element("score-partwise", version="4.0")
    _add(_add(root, "work"), "work-title", solution.title or "Orchestration")
    _add(_add(_add(root, "identification"), "encoding"), "software", "deeporch")
    _defaults(root, len(parts))
    _part_list(_add(root, "part-list"), parts)
    for number, staff in enumerate(parts, 1):
        part = _add(root, "part", id=f"P{number}")
        writer = _Writer(staff, grid, bars, None if number > 1 else tempo)
        for bar, measure in enumerate(writer.measures(), 1):
            measure.set("number", str(bar))
            part.append(measure)
    ElementTree.indent(root)
    doctype = (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<!DOCTYPE score-partwise PUBLIC '
        '"-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
    )
    return doctype.encode() + ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _add(parent: Element, tag: str, text: str | float | None = None, **attributes: str) -> Element:
    """Append an element; characters that XML forbids are left out of its text."""
    child = ElementTree.SubElement(parent, tag, attributes)
    if text is not None:
        text = f"{text:g}" if isinstance(text, float) else str(text)
        child.text = re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
    return child


def _defaults(root: Element, count: int) -> None:
    """Write a page on which `count` staves and the title fit."""
    tenths = 135 * count + 280  # a staff with what is above and below it, and the title
    size = {name: min(7.0, 40 * (height - 26) / tenths) for name, (_, height) in PAPER.items()}
    paper = "A4" if size["A4"] >= 3.5 else "A3"
    defaults = _add(root, "defaults")
    scaling = _add(defaults, "scaling")
    _add(scaling, "millimeters", round(size[paper], 3))
    _add(scaling, "tenths", 40)
    layout = _add(defaults, "page-layout")
    for name, millimetres in zip(("page-height", "page-width"), PAPER[paper][::-1], strict=True):
        _add(layout, name, round(millimetres * 40 / size[paper], 1))
    margins = _add(layout, "page-margins", type="both")
    for name in ("left", "right", "top", "bottom"):
        _add(margins, f"{name}-margin", round(13 * 40 / size[paper], 1))
    _add(_add(defaults, "staff-layout"), "staff-distance", 65)


def _part_list(parent: Element, parts: Sequence[Staff]) -> None:
    """Write names and sounds of the parts, families of two and more in brackets."""
    families = [writing(staff.plays[0]).family or staff.plays[0] for staff in parts]
    for number, (staff, family) in enumerate(zip(parts, families, strict=True), 1):
        before, after = families[number - 2] if number > 1 else None, (*families, None)[number]
        if family != before and family == after:
            group = _add(parent, "part-group", number="1", type="start")
            _add(group, "group-symbol", "bracket")
            _add(group, "group-barline", "yes")
        part = _add(parent, "score-part", id=f"P{number}")
        _add(part, "part-name", staff.name)
        _add(part, "part-abbreviation", staff.short)
        for index, instrument in enumerate(staff.plays, 1):
            _add(_add(part, "score-instrument", id=f"I{number}-{index}"), "instrument-name", writing(instrument).name)
        for index, instrument in enumerate(staff.plays, 1):
            midi = _add(part, "midi-instrument", id=f"I{number}-{index}")
            _add(midi, "midi-program", writing(instrument).program + 1)
        if family == before and family != after:
            _add(parent, "part-group", number="1", type="stop")


class _Writer:
    """Writes the measures of one part."""

    def __init__(self, staff: Staff, grid: int, bars: int, tempo: float | None) -> None:
        self.staff, self.grid, self.bars, self.tempo = staff, grid, bars, tempo
        self.words = words(staff.events, len(staff.plays) > 1)
        self.clefs = _choose_clefs(staff)
        self.high = [_ledgers(event, clef) > OCTAVE for event, clef in zip(staff.events, self.clefs, strict=True)]
        self.instrument = staff.events[0].instrument if staff.events else staff.plays[0]
        self.clef = self.clefs[0] if staff.events else writing(self.instrument).clefs.split()[0]
        self.dynamic = ""

    def measures(self) -> Iterator[Element]:
        """Yield the measures, the last with a final bar line."""
        length = BEATS * self.grid
        pieces = [piece for span in self._spans() for piece in _pieces(*span, self.grid)]
        for bar in range(self.bars):
            measure, self.altered, beamed = Element("measure"), {}, []
            if bar == 0:
                self._begin(measure)
            for start, end, which in (piece for piece in pieces if piece[0] // length == bar):
                if which is None:
                    self._rest(measure, start, end)
                    beamed.append((start, None))
                else:
                    beamed.append((start, self._event(measure, start, end, which)))
            _beam(beamed, self.grid)
            if bar == self.bars - 1:
                _add(_add(measure, "barline", location="right"), "bar-style", "light-heavy")
            yield measure

    def _spans(self) -> Iterator[tuple[int, int, int | None]]:
        """Yield start, end and number of every event, and of the rests (None) between."""
        at = 0
        for which, event in enumerate(self.staff.events):
            if at < event.start:
                yield at, event.start, None
            yield event.start, event.end, which
            at = event.end
        if at < self.bars * BEATS * self.grid:
            yield at, self.bars * BEATS * self.grid, None

    def _begin(self, measure: Element) -> None:
        attributes = _add(measure, "attributes")
        _add(attributes, "divisions", self.grid)
        _add(_add(attributes, "key"), "fifths", 0)
        time = _add(attributes, "time")
        _add(time, "beats", BEATS)
        _add(time, "beat-type", 4)
        _clef(attributes, self.clef)
        _transpose(attributes, writing(self.instrument))
        if self.tempo is not None:
            direction = _add(measure, "direction", placement="above")
            metronome = _add(_add(direction, "direction-type"), "metronome")
            _add(metronome, "beat-unit", "quarter")
            _add(metronome, "per-minute", float(self.tempo))
            _add(direction, "sound", tempo=f"{self.tempo:g}")

    def _event(self, measure: Element, start: int, end: int, which: int) -> list[Element]:
        """Write one piece of an event, with what changes before it and what ends after it; return its notes."""
        event = self.staff.events[which]
        first, last = start == event.start, end == event.end
        if first:
            self._changes(measure, event, which)
        notes = []
        for number, note in enumerate(sorted(event.notes, key=lambda note: note.midi)):
            midi, cents = written(note)
            name = midi_to_pitch(midi)
            element = _add(measure, "note")
            if number:
                _add(element, "chord")
            pitch, alter = _add(element, "pitch"), ("#" in name) + cents / 100
            _add(pitch, "step", name[0])
            if alter:
                _add(pitch, "alter", float(alter))
            _add(pitch, "octave", name.lstrip("ABCDEFG#"))
            _add(element, "duration", end - start)
            ties = [kind for kind, there in (("stop", not first), ("start", not last)) if there]
            for kind in ties:
                _add(element, "tie", type=kind)
            _add(element, "voice", 1)
            _type(element, (end - start) / self.grid)
            place = name.replace("#", "")
            if first and alter != self.altered.get(place, 0):
                _add(element, "accidental", ACCIDENTALS[alter])
            if first:
                self.altered[place] = alter
            if ties:
                notations = _add(element, "notations")
                for kind in ties:
                    _add(notations, "tied", type=kind)
            notes.append(element)
        if last:
            self._ends(measure, event, which)
        return notes

    def _changes(self, measure: Element, event: Event, which: int) -> None:
        """Write what changes before an event: transposition, clef, octave, words, dynamic, the start of a hairpin."""
        how, before = writing(event.instrument), writing(self.instrument)
        moved, clef = (how.steps, how.semitones) != (before.steps, before.semitones), self.clefs[which]
        if moved or clef != self.clef:
            attributes = _add(measure, "attributes")
            if clef != self.clef:
                _clef(attributes, clef)
            if moved:
                _transpose(attributes, how, always=True)
        self.instrument, self.clef = event.instrument, clef
        for text in self.words[which]:
            _add(_direction(measure, "above"), "words", text)
        if self.high[which] and not (which and self.high[which - 1]):
            _add(_direction(measure, "above"), "octave-shift", type="down", size="8")
        first = event.notes[0]
        if first.dynamic != self.dynamic and first.dynamic in DYNAMICS:
            _add(_add(_direction(measure, "below"), "dynamics"), first.dynamic)
            self.dynamic = first.dynamic
        if abs(first.swell) >= SWELL:
            kind = "crescendo" if first.swell > 0 else "diminuendo"
            _add(_direction(measure, "below"), "wedge", type=kind)

    def _ends(self, measure: Element, event: Event, which: int) -> None:
        """Write what ends with an event: its hairpin and the dynamic reached, a passage an octave higher."""
        first, following = event.notes[0], self.staff.events[which + 1 : which + 2]
        if self.high[which] and not (following and self.high[which + 1]):
            _add(_direction(measure, "above"), "octave-shift", type="stop", size="8")
        if abs(first.swell) >= SWELL:
            _add(_direction(measure, "below"), "wedge", type="stop")
            if first.dynamic in DYNAMICS and not (following and following[0].start == event.end):
                reached = DYNAMICS.index(first.dynamic) + round(first.swell / DYNAMIC_DB)
                self.dynamic = DYNAMICS[min(max(reached, 0), len(DYNAMICS) - 1)]
                _add(_add(_direction(measure, "below"), "dynamics"), self.dynamic)

    def _rest(self, measure: Element, start: int, end: int) -> None:
        note = _add(measure, "note")
        whole = end - start == BEATS * self.grid
        _add(note, "rest", **({"measure": "yes"} if whole else {}))
        _add(note, "duration", end - start)
        _add(note, "voice", 1)
        if not whole:
            _type(note, (end - start) / self.grid)


def _direction(measure: Element, placement: str) -> Element:
    return _add(_add(measure, "direction", placement=placement), "direction-type")


def _clef(attributes: Element, name: str) -> None:
    clef, (sign, line, _) = _add(attributes, "clef"), CLEFS[name]
    _add(clef, "sign", sign)
    _add(clef, "line", line)


def _transpose(attributes: Element, how: Instrument, *, always: bool = False) -> None:
    """Write a transposition, from written to sounding, whole octaves apart; none is written only where one ends."""
    if not (how.semitones or always):
        return
    octaves = int(how.steps / 7)  # towards zero
    element = _add(attributes, "transpose")
    _add(element, "diatonic", how.steps - 7 * octaves)
    _add(element, "chromatic", how.semitones - 12 * octaves)
    if octaves:
        _add(element, "octave-change", octaves)


def _type(note: Element, quarters: float) -> None:
    dotted = quarters not in TYPES
    _add(note, "type", TYPES[quarters / 1.5 if dotted else quarters])
    if dotted:
        _add(note, "dot")


def _pieces(start: int, end: int, which: int | None, grid: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield start, end and number of the single notes or rests that a span is written as."""
    quarter, bar = grid, BEATS * grid
    while start < end:
        at, length = start % bar, min(end - start, bar - start % bar)
        allowed = [bar] if at == 0 else []
        allowed += [3 * quarter] if which is not None and at in (0, quarter) else []
        allowed += [2 * quarter] if at in (0, 2 * quarter) or (which is not None and at == quarter) else []
        allowed += [3 * quarter // 2] if which is not None and at % (2 * quarter) == 0 else []
        allowed += [quarter] if at % quarter == 0 or (which is not None and at % (2 * quarter) == quarter // 2) else []
        for part in (quarter // 2, quarter // 4):
            dotted = which is not None and part > 1 and at % quarter in (0, quarter - 3 * part // 2)
            allowed += ([3 * part // 2] if dotted else []) + ([part] if at % part == 0 else [])
        size = next(size for size in [*allowed, 1] if size <= length)
        yield start, start + size, which
        start += size


def _beam(notes: Sequence[tuple[int, list[Element] | None]], grid: int) -> None:
    """Beam what is shorter than a quarter within each beat."""
    groups: list[list[Element]] = [[]]
    flags, beat = {"eighth": 1, "16th": 2, "32nd": 3}, -1
    for start, elements in notes:
        short = elements is not None and elements[0].findtext("type") in flags
        if not short or start // grid != beat:
            groups.append([])
        if short:
            groups[-1].append(elements[0])
        beat = start // grid
    for group in (group for group in groups if len(group) > 1):
        counts = [flags[note.findtext("type")] for note in group]
        for i, note in enumerate(group):
            after = next((k for k, child in enumerate(note) if child.tag == "notations"), len(note))
            for level in range(1, counts[i] + 1):
                left, right = i > 0 and counts[i - 1] >= level, i + 1 < len(group) and counts[i + 1] >= level
                hook = "backward hook" if i else "forward hook"
                beam = Element("beam", number=str(level))
                beam.text = {(1, 1): "continue", (0, 1): "begin", (1, 0): "end", (0, 0): hook}[left, right]
                note.insert(after + level - 1, beam)


def _ledgers(event: Event, clef: str) -> int:
    """Return how many ledger lines the notes of an event need in a clef: above as a positive, below as a negative."""
    lowest, most = CLEFS[clef][2], 0
    for note in event.notes:
        name = midi_to_pitch(written(note)[0])
        step = 7 * int(name.lstrip("ABCDEFG#")) + "CDEFGAB".index(name[0])
        lines = max(0, step - lowest - 8) // 2 - max(0, lowest - step) // 2
        most = lines if abs(lines) > abs(most) else most
    return most


def _choose_clefs(staff: Staff) -> list[str]:
    """Return the clef of every event: the one that suits the part best, another where notes lie far outside."""
    found: list[str] = []
    for event in staff.events:
        known, clef = writing(event.instrument).clefs.split(), found[-1] if found else ""
        if clef not in known:
            alike = [other for other in staff.events if other.instrument == event.instrument]
            clef = min(known, key=lambda each: sum(max(0, abs(_ledgers(other, each)) - 1) for other in alike))
        if abs(_ledgers(event, clef)) > LEDGERS:
            clef = min(known, key=lambda each: abs(_ledgers(event, each)))
        found.append(clef)
    return found
