"""What is written is read again by a small parser of its own, and held against the W3C's schema."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import musicxml as schema_package
import pandas as pd
import pytest
from lxml import etree
from tones import harmonic_tone

from deeporch.export.musicxml import engrave, musicxml
from deeporch.notes.instruments import INSTRUMENTS, WRITING
from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.solution import Solution, SolutionNote

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# Written minus sounding, in semitones, out of Adler's table; everything else is written as it sounds.
ABOVE = {"Picc": -12, "BFl": 12, "CbFl": 24, "EH": 7, "ClEb": -3, "ClBb": 2, "BClBb": 14, "CbClBb": 26, "ASax": 9,
         "CBn": 12, "Hn": 7, "Gtr": 12, "Cb": 12}  # fmt: skip
STUBS = {
    "xml.xsd": """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
        targetNamespace="http://www.w3.org/XML/1998/namespace">
        <xs:attribute name="lang" type="xs:language"/><xs:attribute name="space" type="xs:string"/></xs:schema>""",
    "xlink.xsd": """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
        targetNamespace="http://www.w3.org/1999/xlink">"""
    + "".join(f'<xs:attribute name="{n}"/>' for n in ("href", "type", "role", "title", "show", "actuate"))
    + "</xs:schema>",
}


@pytest.fixture(scope="module")
def library():
    """One E4 a known instrument, and three pitches of two dynamics for those that the melodies need."""
    rows = [{"instrument": name, "pitch": "E4", "dynamic": "mf"} for name in INSTRUMENTS]
    rows += [
        {"instrument": name, "pitch": pitch, "dynamic": dynamic}
        for name in ("Fl", "Hn", "Picc", "ClBb", "BClBb")
        for pitch in ("C4", "G#4", "A4")
        for dynamic in ("pp", "ff")
    ]
    tone = harmonic_tone(60, [1, 0.5], 0.2)
    return NoteLibrary.from_audio(pd.DataFrame(rows), [tone] * len(rows), name="one each")


@pytest.fixture(scope="module")
def schema():
    class Stubs(etree.Resolver):
        def resolve(self, url, _, context):
            return self.resolve_string(STUBS[url.split("/")[-1]], context) if url.split("/")[-1] in STUBS else None

    parser = etree.XMLParser()
    parser.resolvers.add(Stubs())
    path = Path(schema_package.__file__).parent / "generate_classes" / "musicxml_4_0.xsd"
    return etree.XMLSchema(etree.parse(str(path), parser))


def play(library, *events, orchestra, seconds=4.0):
    """Return a solution of (player, instrument, pitch, dynamic, onset, duration, cents)."""
    notes = []
    for player, instrument, pitch, dynamic, onset, duration, *cents in events:
        table = library.table
        found = table[(table["instrument"] == instrument) & (table["pitch"] == pitch) & (table["dynamic"] == dynamic)]
        options = {"cents": cents[0] if cents else 0, "onset": onset, "duration": duration}
        notes.append(SolutionNote.of(library, int(found.index[0]), player, **options))
    return Solution(tuple(notes), tuple(orchestra.split()), library, 0.5, "cosine", seconds)


def parts(xml):
    """Read MusicXML: per part its name, sounding notes (start, end, midi; ties joined), written ones, words, bars."""
    root = ElementTree.fromstring(xml)
    for part, name in zip(root.findall("part"), root.iter("part-name"), strict=True):
        divisions, shift, position, bars = 1, 0, 0.0, []
        sounding, written, words = [], [], []
        for measure in part.findall("measure"):
            bar_start = position
            for element in measure:
                if element.tag == "attributes":
                    divisions = int(element.findtext("divisions", str(divisions)))
                    if (move := element.find("transpose")) is not None:
                        octaves = int(move.findtext("octave-change", "0"))
                        shift = int(move.findtext("chromatic")) + 12 * octaves
                        steps = int(move.findtext("diatonic")) + 7 * octaves
                        assert abs(shift * 7 / 12 - steps) <= 1, "as many steps as semitones allow"
                if element.tag == "direction":
                    for what in element.iter():
                        if what.tag == "words":
                            words.append((position, what.text))
                        if what.tag == "dynamics":
                            words.append((position, what[0].tag))
                if element.tag != "note":
                    continue
                length = int(element.findtext("duration")) / divisions
                start = position - length if element.find("chord") is not None else position
                if (pitch := element.find("pitch")) is not None:
                    midi = STEPS[pitch.findtext("step")] + 12 * (int(pitch.findtext("octave")) + 1)
                    midi += int(pitch.findtext("alter", "0"))
                    ties = {tie.get("type") for tie in element.findall("tie")}
                    if "stop" in ties:
                        before = next(n for n in reversed(sounding) if n[2] == midi + shift)
                        assert before[1] == start
                        before[1] = start + length
                    else:
                        sounding.append([start, start + length, midi + shift])
                        written.append(midi)
                if element.find("chord") is None:
                    position += length
            bars.append(position - bar_start)
        yield name.text, [tuple(note) for note in sounding], written, words, bars


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_every_instrument_is_written_at_its_transposition(library, schema, instrument):
    xml = musicxml(play(library, (0, instrument, "E4", "mf", 0, 1), orchestra=instrument))
    ((_, sounding, written, words, bars),) = parts(xml)
    assert sounding == [(0, 1, 64)]
    assert written == [64 + ABOVE.get(instrument, 0)]
    assert words == [(0, "mf")]
    assert bars == [4]
    assert (b"<transpose>" in xml) == (instrument in ABOVE)
    schema.assertValid(etree.fromstring(xml))


def test_every_known_instrument_has_its_writing():
    assert list(WRITING) == list(INSTRUMENTS)


def test_bars_add_up_and_notes_are_tied_over_barlines(library, schema):
    xml = musicxml(
        play(
            library, (0, "Fl", "A4", "pp", 1.5, 5.25), (0, "Fl", "C4", "ff", 8.06, 0.2), (1, "Hn", "G#4", "ff", 3, 9),
            orchestra="Fl Hn Vn", seconds=10.0,
        )
    )  # fmt: skip
    flute, horn, violin = parts(xml)
    assert flute[1][0] == (1.5, 6.75, 69)
    assert flute[1][1][0] == pytest.approx(8.06, abs=0.05)
    assert horn[1] == [(3, 12, 68)]
    assert horn[2] == [75], "a fifth above, once: what is tied is one note"
    assert violin[1] == []
    for part in (flute, horn, violin):
        assert part[4] == [4, 4, 4]
    assert [part[0] for part in (flute, horn, violin)] == ["Flute", "Horn", "Violin"]
    assert flute[3] == [(1.5, "pp"), (flute[1][1][0], "ff")]
    schema.assertValid(etree.fromstring(xml))


def test_the_same_note_goes_on_tied_over_segments_and_others_are_struck_again(library):
    xml = musicxml(
        play(
            library, (0, "Fl", "A4", "pp", 0, 1), (0, "Fl", "A4", "ff", 1, 2), (0, "Fl", "C4", "ff", 3, 1),
            (1, "Fl", "A4", "pp", 0, 1), (1, "Fl", "A4", "pp", 1.5, 1), (1, "Fl", "A4", "pp", 2.5, 1, 30),
            orchestra="Fl Fl",
        )
    )  # fmt: skip
    first, second = parts(xml)
    assert first[1] == [(0, 3, 69), (3, 4, 60)]
    assert first[3] == [(0, "pp"), (1, "ff")]
    assert second[1] == [(0, 1, 69), (1.5, 2.5, 69), (2.5, 3.5, 69)], "a gap, and another tuning"
    assert [first[0], second[0]] == ["Flute 1", "Flute 2"]


def test_a_player_who_doubles_changes_the_transposition_in_mid_bar(library, schema):
    xml = musicxml(
        play(
            library, (0, "ClBb", "A4", "pp", 0, 1), (0, "BClBb", "C4", "pp", 1.25, 0.5), (0, "ClBb", "A4", "pp", 5, 1),
            (1, "Fl", "C4", "ff", 0, 1), (1, "Picc", "A4", "ff", 2.75, 2), (1, "Fl", "C4", "ff", 6, 1),
            orchestra="ClBb|BClBb Picc|Fl", seconds=8.0,
        )
    )  # fmt: skip
    clarinet, flute = parts(xml)
    assert clarinet[1] == [(0, 1, 69), (1.25, 1.75, 60), (5, 6, 69)]
    assert clarinet[2] == [71, 74, 71]
    assert clarinet[3] == [(0, "pp"), (1.25, "Bass clarinet"), (5, "Clarinet in B flat")]
    assert flute[1] == [(0, 1, 60), (2.75, 4.75, 69), (6, 7, 60)]
    assert flute[2] == [60, 57, 60]
    assert clarinet[0] == "Clarinet in B flat / Bass clarinet"
    schema.assertValid(etree.fromstring(xml))


def test_cents_techniques_and_chords(library):
    solution = play(
        library, (0, "Fl", "C4", "ff", 0, 1, -32.4), (0, "Fl", "A4", "ff", 0, 1), (0, "Fl", "C4", "ff", 2, 1, 0.3),
        orchestra="Fl",
    )  # fmt: skip
    ((_, sounding, _, words, _),) = parts(musicxml(solution))
    assert sounding == [(0, 1, 60), (0, 1, 69), (2, 3, 60)]
    assert Counter(words) == Counter([(0, "C4 -32 cents"), (0, "ff")])


def test_short_and_close_notes_take_a_finer_grid(library):
    onsets = [0, 0.06, 0.12, 0.2]
    events = [
        (0, "Fl", pitch, "ff", onset, 0.03) for pitch, onset in zip(["C4", "A4", "C4", "A4"], onsets, strict=True)
    ]
    ((_, sounding, *_),) = parts(musicxml(play(library, *events, orchestra="Fl", seconds=0.5)))
    assert [note[2] for note in sounding] == [60, 69, 60, 69]
    assert [note[0] for note in sounding] == pytest.approx(onsets, abs=1 / 32)
    ((_, faster, *_),) = parts(musicxml(play(library, *events, orchestra="Fl", seconds=0.5), tempo=120))
    assert [note[0] / 2 for note in faster] == pytest.approx(onsets, abs=1 / 32)


def test_the_same_solution_gives_the_same_bytes_and_music21_reads_it(library, tmp_path):
    from music21 import converter

    solution = play(library, (0, "ClBb", "A4", "pp", 0.5, 5), (1, "Hn", "C4", "ff", 0, 1), orchestra="ClBb Hn")
    xml = musicxml(solution)
    assert musicxml(solution) == xml
    (tmp_path / "score.musicxml").write_bytes(xml)
    read = converter.parse(tmp_path / "score.musicxml").toSoundingPitch()
    sounding = [[(n.offset, n.quarterLength, n.pitch.midi) for n in p.stripTies().flatten().notes] for p in read.parts]
    assert sounding == [[(0.5, 5, 69)], [(0, 1, 60)]]


def test_tempo_out_of_range(library):
    with pytest.raises(ValueError, match=r"tempo must lie between 20 and 400, but is 5\."):
        musicxml(play(library, orchestra="Fl"), tempo=5)


def test_engraving_is_a_picture_with_every_note(library):
    solution = play(
        library, (0, "Fl", "A4", "pp", 0, 1, 20), (0, "Fl", "C4", "ff", 1, 1), (1, "Hn", "C4", "ff", 0, 6),
        orchestra="Fl Hn", seconds=6.0,
    )  # fmt: skip
    svg = engrave(solution)
    root = ElementTree.fromstring(svg)
    classes = Counter(element.get("class") for element in root.iter() if element.get("class"))
    assert classes["note"] == 4, "the horn's is tied over the barline"
    assert classes["tie"] == 1
    assert classes["dynam"] == 3
    assert classes["staff"] == 4
    assert "+20 cents" in "".join(root.itertext())
    assert engrave(solution) == svg
