"""What is written is read again by a small parser of its own, and held against the W3C's schema."""

import dataclasses
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import musicxml as schema_package
import numpy as np
import pandas as pd
import pretty_midi
import pytest
from lxml import etree
from tones import harmonic_tone

from deeporch.export.engraving import engrave
from deeporch.export.musicxml import _pieces, musicxml
from deeporch.notes.instruments import INSTRUMENTS
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
                    midi += float(pitch.findtext("alter", "0"))
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


def test_bars_add_up_and_notes_are_tied_over_barlines(library, schema):
    xml = musicxml(
        play(
            library, (0, "Fl", "A4", "pp", 1.5, 5.25), (0, "Fl", "C4", "ff", 8.06, 0.2), (1, "Hn", "G#4", "ff", 3, 9),
            orchestra="Fl Hn Vn", seconds=10.0,
        ),
        tempo=60,
    )  # fmt: skip
    flute, horn = parts(xml)
    assert flute[1] == [(1.5, 6.75, 69), (8, 8.25, 60)]
    assert horn[1] == [(3, 12, 68)]
    assert horn[2] == [75], "a fifth above, once: what is tied is one note"
    assert flute[4] == horn[4] == [4, 4, 4]
    assert [flute[0], horn[0]] == ["Flute", "Horn"], "the violin is silent"
    assert flute[3] == [(1.5, "pp"), (8, "ff")]
    schema.assertValid(etree.fromstring(xml))


def test_score_midi_and_sound_have_the_same_attacks(library, tmp_path):
    solution = play(
        library, (0, "Fl", "A4", "pp", 0, 1), (0, "Fl", "A4", "pp", 1, 2), (0, "Fl", "A4", "ff", 3, 1),
        (1, "Fl", "A4", "pp", 0, 1), (1, "Fl", "A4", "pp", 1.5, 1), (1, "Fl", "A4", "pp", 2.5, 1, 30),
        orchestra="Fl Fl",
    )  # fmt: skip
    first, second = parts(musicxml(solution))
    assert first[1] == [(0, 3, 69), (3, 4, 69)], "the same goes on, another dynamic is struck again"
    assert first[3] == [(0, "pp"), (3, "ff")], "no dynamic changes under a tie"
    assert second[1] == [(0, 1, 69), (1.5, 2.5, 69), (2.5, 3.5, 69.25)], "a gap, and another tuning"
    assert [first[0], second[0]] == ["Flute 1", "Flute 2"]
    midi = pretty_midi.PrettyMIDI(str(solution.to_midi(tmp_path / "score.mid")))
    for part, track in zip((first, second), midi.instruments, strict=True):
        attacks = [(note.start, note.end, note.pitch) for note in track.notes]
        assert attacks == [pytest.approx((start, end, int(pitch)), abs=1e-3) for start, end, pitch in part[1]]
    assert [len([n for n in solution.attacks if n.player == i]) for i in (0, 1)] == [2, 3]


def test_a_player_who_doubles_changes_the_transposition_in_mid_bar(library, schema):
    xml = musicxml(
        play(
            library, (0, "ClBb", "A4", "pp", 0, 1), (0, "BClBb", "C4", "pp", 1.25, 0.5), (0, "ClBb", "A4", "pp", 5, 1),
            (1, "Fl", "C4", "ff", 0, 1), (1, "Picc", "A4", "ff", 2.75, 2), (1, "Fl", "C4", "ff", 6, 1),
            orchestra="ClBb|BClBb Picc|Fl", seconds=8.0,
        )
    )  # fmt: skip
    flute, clarinet = parts(xml)
    assert clarinet[1] == [(0, 1, 69), (1.25, 1.75, 60), (5, 6, 69)]
    assert clarinet[2] == [71, 74, 71]
    assert clarinet[3] == [(0, name := "Clarinet in B flat"), (0, "pp"), (1.25, "Bass clarinet"), (5, name)]
    assert flute[1] == [(0, 1, 60), (2.75, 4.75, 69), (6, 7, 60)]
    assert flute[2] == [60, 57, 60]
    assert clarinet[0] == "Clarinet in B flat / Bass clarinet"
    schema.assertValid(etree.fromstring(xml))


def test_retuning_is_an_accidental_in_eighth_tones(library, schema):
    cents = [0.3, 9.9, 10.1, -32.4, 42, -49, 75, 140]
    events = [
        (0, "Fl", pitch, "ff", 2 * k + p, 1, c) for k, c in enumerate(cents) for p, pitch in enumerate(["C4", "G#4"])
    ]
    xml = musicxml(play(library, *events, orchestra="Fl", seconds=16.0))
    ((_, sounding, _, words, _),) = parts(xml)
    steps = [0, 0, 0.25, -0.25, 0.5, -0.5, 0.75, 1.5]
    assert [note[2] for note in sounding] == [base + step for step in steps for base in (60, 68)]
    assert words == [(0, "ff")], "no text in cents"
    shown = [element.text for element in ElementTree.fromstring(xml).iter("accidental")]
    assert shown[:4] == ["sharp", "natural-up", "sharp-up", "natural-down"]
    assert "quarter-sharp" in shown
    assert "three-quarters-sharp" in shown
    schema.assertValid(etree.fromstring(xml))


def test_techniques_are_written_where_they_change(library):
    how = [("arco-normal", ""), ("pizz-normal", ""), ("ord", ""), ("sul-pont", "S"), ("ord", "S"), ("", "")]
    solution = play(library, *((0, "Vn", "E4", "mf", k, 0.5) for k in range(6)), orchestra="Vn", seconds=6.0)
    notes = [
        dataclasses.replace(note, technique=technique, mute=mute)
        for note, (technique, mute) in zip(solution.notes, how, strict=True)
    ]
    ((*_, words, _),) = parts(musicxml(dataclasses.replace(solution, notes=notes)))
    assert [(at, word) for at, word in words if word != "mf"] == [
        (1, "pizz."), (2, "arco"), (3, "con sord."), (3, "sul pont."), (4, "ord."), (5, "senza sord."),
    ]  # fmt: skip


def test_onsets_of_one_player_never_fall_together_and_rhythm_is_readable(library, schema):
    rng = np.random.default_rng(0)
    onsets = np.cumsum(rng.uniform(0.07, 0.9, 60))
    events = [
        (0, "Fl", ("C4", "A4")[k % 2], "ff", t, min(0.4, d))
        for k, (t, d) in enumerate(zip(onsets, np.diff([*onsets, 99]), strict=True))
    ]
    for tempo in (None, 60, 120):
        xml = musicxml(play(library, *events, orchestra="Fl", seconds=40.0), tempo=tempo)
        ((_, sounding, *_, bars),) = parts(xml)
        assert len(sounding) == 60
        assert set(bars) == {4}
        root = ElementTree.fromstring(xml)
        per_minute = float(root.findtext(".//per-minute"))
        assert max(abs(60 / per_minute * note[0] - t) for note, t in zip(sounding, onsets, strict=True)) < 0.08
        assert max(len(note.findall("dot")) for note in root.iter("note")) <= 1
        assert {kind.text for kind in root.iter("type")} <= {"whole", "half", "quarter", "eighth", "16th", "32nd"}
        schema.assertValid(etree.fromstring(xml))


@pytest.mark.parametrize(("start", "end", "lengths"), [
    (0, 16, [16]), (0, 12, [12]), (4, 16, [12]), (2, 8, [4, 2]), (6, 10, [2, 2]), (0, 31, [16, 12, 3]), (3, 5, [1, 1]),
    (1, 4, [3]), (0, 6, [6]), (4, 10, [4, 2]), (8, 14, [6]), (4, 12, [8]),
])  # fmt: skip
def test_a_note_is_cut_where_it_would_hide_a_beat(start, end, lengths):
    assert [b - a for a, b, _ in _pieces(start, end, 0, 4)] == lengths
    assert all(b - a in (1, 2, 4, 8, 16) for a, b, _ in _pieces(start, end, None, 4)), "rests have no dots"


def test_brackets_clefs_octaves_and_pages(schema):
    names = ["Vn", "Va", "Fl", "Ob", "Bn", "Hn", "Tbn", "Vc"]
    rows = [{"instrument": n, "midi": m} for n, m in zip(names, (105, 86, 93, 70, 74, 60, 70, 76), strict=True)]
    rows += [{"instrument": "Bn", "midi": 36}, {"instrument": "Va", "midi": 50}]
    library = NoteLibrary.from_audio(pd.DataFrame(rows), [harmonic_tone(60, [1], 0.1)] * len(rows))
    notes = [SolutionNote.of(library, k, k) for k in range(8)] + [SolutionNote.of(library, 8, 4, onset=2)]
    xml = musicxml(Solution(tuple(notes), tuple(names), library, 0.1, "mel", 4.0, title="A <bell> & \x00more"))
    schema.assertValid(etree.fromstring(xml))
    root = ElementTree.fromstring(xml)
    assert root.findtext("work/work-title") == "A <bell> & more"
    assert [name.text for name in root.iter("part-name")] == [
        "Flute", "Oboe", "Bassoon", "Horn", "Trombone", "Violin", "Viola", "Cello",
    ]  # fmt: skip
    groups = [(child.tag, child.get("type")) for child in root.find("part-list")]
    opened = [index for index, group in enumerate(groups) if group == ("part-group", "start")]
    closed = [index for index, group in enumerate(groups) if group == ("part-group", "stop")]
    assert [stop - start - 1 for start, stop in zip(opened, closed, strict=True)] == [3, 2, 3], "families"
    clefs = [[(c.findtext("sign"), c.findtext("line")) for c in part.iter("clef")] for part in root.iter("part")]
    assert clefs[2] == [("C", "4"), ("F", "4")], "a high bassoon in tenor clef, then in bass"
    assert clefs[4] == [("C", "4")]
    assert clefs[6] == [("G", "2")], "a high viola"
    assert clefs[7] == [("G", "2")]
    assert [shift.get("type") for shift in root.iter("octave-shift")] == ["down", "stop"]
    millimetres = float(root.findtext(".//millimeters")) / 40
    assert float(root.findtext(".//page-height")) * millimetres == pytest.approx(297, abs=0.5)


def test_a_note_that_fades_has_a_hairpin_and_the_dynamic_it_reaches(library, schema):
    solution = play(library, (0, "Fl", "A4", "ff", 0, 3), (1, "Fl", "C4", "pp", 0, 6), orchestra="Fl Fl")
    notes = [dataclasses.replace(note, swell=swell) for note, swell in zip(solution.notes, (-12, 7), strict=True)]
    xml = musicxml(dataclasses.replace(solution, notes=notes))
    schema.assertValid(etree.fromstring(xml))
    wedges = [wedge.get("type") for wedge in ElementTree.fromstring(xml).iter("wedge")]
    assert wedges == ["diminuendo", "stop", "crescendo", "stop"]
    first, second = parts(xml)
    assert first[3] == [(0, "ff"), (3, "mf")]
    assert second[3] == [(0, "pp"), (6, "p")]


def test_the_same_solution_gives_the_same_bytes_and_music21_reads_it(library, tmp_path):
    from music21 import converter

    solution = play(library, (0, "ClBb", "A4", "pp", 0.5, 5), (1, "Hn", "C4", "ff", 0, 1), orchestra="ClBb Hn")
    xml = musicxml(solution)
    assert musicxml(solution) == xml
    (tmp_path / "score.musicxml").write_bytes(xml)
    read = converter.parse(tmp_path / "score.musicxml").toSoundingPitch()
    sounding = [[(n.offset, n.quarterLength, n.pitch.midi) for n in p.stripTies().flatten().notes] for p in read.parts]
    assert sounding == [[(0.5, 5, 69)], [(0, 1, 60)]]


def test_each_player_has_a_part_as_long_as_the_score(library, schema, tmp_path):
    events = ((0, "Fl", "C4", "ff", 0, 1), (1, "Fl", "A4", "ff", 0.5, 6), (2, "Hn", "C4", "ff", 2, 1))
    solution = play(library, *events, orchestra="Fl Fl Hn ClBb", seconds=7.0)
    files = sorted(solution.to_parts(tmp_path / "parts", tempo=90).iterdir())
    assert [file.name for file in files] == ["Flute 1.musicxml", "Flute 2.musicxml", "Horn.musicxml"]
    score = {name: rest for name, *rest in parts(musicxml(solution, tempo=90))}
    for file in files:
        schema.assertValid(etree.fromstring(file.read_bytes()))
        ((name, *rest),) = parts(file.read_bytes())
        assert file.stem == name
        assert "<per-minute>90<" in file.read_text()
        assert rest == score[name]


def test_tempo_out_of_range(library):
    with pytest.raises(ValueError, match=r"tempo must lie between 20 and 400, but is 5\."):
        musicxml(play(library, orchestra="Fl"), tempo=5)


def test_engraving_is_a_picture_with_every_note(library, tmp_path):
    solution = play(
        library, (0, "Fl", "A4", "pp", 0, 1, 20), (0, "Fl", "C4", "ff", 1, 1), (1, "Hn", "C4", "ff", 0, 6),
        orchestra="Fl Hn", seconds=6.0,
    )  # fmt: skip
    svg = engrave(solution)
    classes = Counter(element.get("class") for element in ElementTree.fromstring(svg).iter() if element.get("class"))
    assert classes["note"] == 4, "the horn's is tied over the barline"
    assert classes["tie"] == 1
    assert classes["dynam"] == 3
    assert classes["staff"] == 4
    assert classes["accid"] == 1, "an eighth-tone"
    assert engrave(solution) == svg
    pdf = solution.to_pdf(tmp_path / "score.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") == 1
