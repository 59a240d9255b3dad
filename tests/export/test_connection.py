import dataclasses

import numpy as np
import pandas as pd
import pytest
from tones import harmonic_tone

from deeporch.notes.library import NoteLibrary
from deeporch.orchestration.saved import find_row, read_connection
from deeporch.orchestration.solution import Solution, SolutionNote


def written(tmp_path, text):
    path = tmp_path / "connection.txt"
    path.write_text(text, encoding="utf-8")
    return path


def row(library, instrument, pitch, dynamic):
    table = library.table
    found = table[(table["instrument"] == instrument) & (table["pitch"] == pitch) & (table["dynamic"] == dynamic)]
    return int(found.index[0])


def test_what_is_written_comes_back(tiny_library, tmp_path):
    notes = (
        SolutionNote.of(tiny_library, row(tiny_library, "Fl", "A4", "pp"), 1, onset=0.25, duration=1.0, cents=-30.5),
        SolutionNote.of(tiny_library, row(tiny_library, "Fl", "C#4", "mf"), 0, duration=0.5, gain=0.25),
        SolutionNote.of(tiny_library, row(tiny_library, "ClBb", "E4", "ff"), 2, onset=0.25, duration=1.75),
    )
    solution = Solution(notes, ("Fl", "Fl", "ClBb|Ob"), tiny_library, 0.5, "cosine", 2.0)
    path = solution.to_connection(tmp_path / "connection.txt")
    assert path.read_text(encoding="utf-8").splitlines()[:6] == [
        "[ orchestra Fl Fl ClBb|Ob ]",
        "[ segment 0",
        "\t[ solution 1",
        "\t\t[ note 500 Fl ord C#4 mf N N Fl-ord-C#4-mf-1 0 ]",
        "\t]",
        "]",
    ]
    again = read_connection(path, tiny_library)
    assert set(again.notes) == set(notes)
    assert (again.orchestra, again.seconds) == (solution.orchestra, 2.0)
    assert np.isnan(again.distance)
    np.testing.assert_array_equal(again.render(), solution.render())


@pytest.mark.parametrize(
    "text",
    [
        "[orchestration Fl Vn [segment 250 500 [note Fl ord A4 pp] [note 400 Vn ord C4 ff N 0]]]",
        "(orchestration Fl Vn\n(segment 250. 500.\n((note Fl ord A4 pp N)\n(400 Vn ord C4 ff))))\n",
        "[orchestration Fl Vn [segment 250 500 [500 Fl-ord-A4-pp-N-N.wav] [400 Vn/ord/Vn-ord-C4-ff-4c-N.wav]]]",
        "[segment 250 500 [solution 0.73 [note A4 pp Fl] [note 400 C4 Vn ord ff]]]",
    ],
)
def test_other_spellings_are_read(tiny_library, tmp_path, text):
    found = read_connection(written(tmp_path, text), tiny_library)
    notes = [(n.player, n.instrument, n.pitch, n.dynamic, n.onset, n.duration) for n in found.notes]
    assert notes == [(0, "Fl", "A4", "pp", 0.25, 0.5), (1, "Vn", "C4", "ff", 0.25, 0.4)]
    assert found.orchestra == ("Fl", "Vn")
    assert found.seconds == 0.75


ORCHIDEA = """[ orchestra ClBb ClBb Hn Vn ]
[ segment 0
\t[ solution 1
\t\t[ note 1200.5 ClBb ord B4 pp N T12d /Winds/Clarinet_Bb/ordinario/ClBb-ord-B4-pp-N-T12d.wav -2 ]
\t\t[ note 800 Vn ord C+4 mf 4c R /Strings/Violin/ordinario/Vn-ord-C4-mf-4c-R.wav 0 ]
\t\t[ note 800 Hn ord G#4 mf N N /Brass/Horn/ordinario/Hn-ord-G#4-mf-N-N.wav -41 ]
\t]
\t[ solution 2
\t\t[ note 800 Hn ord A4 mf N N /Brass/Horn/ordinario/Hn-ord-A4-mf-N-N.wav 0 ]
\t]
]
[ segment 1200.5
\t[ solution 1
\t\t[ note 300 Vn key-noise N mf N N /Strings/Violin/noise/Vn-noise-N-mf-N-N.wav 0 ]
\t\t[ note 300 ClBb ord C4 ff N N /Winds/Clarinet_Bb/ordinario/ClBb-ord-C4-ff-N-N.wav 1 ]
\t]
]
"""


def test_orchideas_own_form_is_read(tiny_library, tmp_path):
    with pytest.warns(UserWarning, match=r"line 14: left out, the library 'tiny' has no note without a pitch: '300 Vn"):
        found = read_connection(written(tmp_path, ORCHIDEA), tiny_library)
    notes = [(n.player, n.instrument, n.pitch, n.dynamic, n.onset, n.duration, n.cents) for n in found.notes]
    assert notes == [
        (0, "ClBb", "B4", "pp", 0, 1.2005, -2),
        (3, "Vn", "C4", "mf", 0, 0.8, 50),
        (2, "Hn", "G#4", "mf", 0, 0.8, -41),
        (0, "ClBb", "C4", "ff", 1.2005, 0.3, 1),
    ]
    assert (found.orchestra, found.seconds) == (("ClBb", "ClBb", "Hn", "Vn"), 1.5005)


def test_mutes_strings_and_retunings_are_written_and_read(tmp_path):
    names = ["Vn+S-ord-C4-pp-4c-N.wav", "Vn-ord-C4-pp-4c-T12u.wav", "Fl-ord-C5-mf-N-N.wav"]
    table = pd.DataFrame({"instrument": ["Vn", "Vn", "Fl"], "midi": [60, 60, 72], "dynamic": ["pp", "pp", "mf"],
                          "mute": ["S", None, None], "technique": "ord", "file": names})  # fmt: skip
    library = NoteLibrary.from_audio(table, [harmonic_tone(60, [1], 0.2)] * 3, name="sol")
    notes = [SolutionNote.of(library, 0, 0, duration=1), SolutionNote.of(library, 1, 1, duration=1, cents=20)]
    solution = Solution(tuple(notes), ("Vn", "Vn"), library, 0.1, "mel", 1.0)
    path = solution.to_connection(tmp_path / "connection.txt")
    text = path.read_text()
    assert "[ note 1000 Vn+S ord C4 pp 4c N Vn+S-ord-C4-pp-4c-N.wav 0 ]" in text
    assert "[ note 1000 Vn ord C4 pp 4c T12u Vn-ord-C4-pp-4c-T12u.wav 20 ]" in text
    assert read_connection(path, library).notes == solution.notes
    assert "con sord." in solution.to_musicxml(tmp_path / "a.musicxml").read_text()
    assert solution.table["mute"].tolist() == ["S", ""]


def test_players_keep_their_note_and_are_never_asked_for_two(tiny_library, tmp_path):
    text = (
        "[orchestration Fl Fl ClBb|Fl [segment 0 500 [note Fl ord C4 mf] [note Fl ord A4 mf]]"
        "[segment 500 500 [note Fl ord A4 mf] [note Fl ord D4 mf] [note Fl ord E4 mf]]]"
    )
    found = read_connection(written(tmp_path, text), tiny_library)
    assert [(n.pitch, n.player) for n in found.notes] == [("C4", 0), ("A4", 1), ("A4", 1), ("D4", 0), ("E4", 2)]
    with pytest.raises(ValueError, match=r"nobody in the orchestra Fl is free to play Fl A4 at 0 s\."):
        read_connection(written(tmp_path, text.replace("Fl Fl ClBb|Fl", "Fl")), tiny_library)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[segment 0 9 [note Fl ord A7 pp]]",
            r"line 1: the library 'tiny' has no Fl A7 pp ord; its Fl goes from C4 to",
        ),
        (
            "\n[segment 0 9\n[note Fl ord A4 p]]",
            r"line 3: the library 'tiny' has no Fl A4 p ord; that note has only ff",
        ),
        ("[segment 0 9 [note Vns ord A4 p]]", r"the library 'tiny' has no Vns A4 p ord; its instruments are Vn\."),
        ("[segment 0 9 [note Fl flatt A4 pp]]", r"has no Fl A4 pp flatt; that note has only ff ord, mf ord, pp ord\."),
        ("[segment 0 9 [note Fl ord mf]]", r"line 1: a note needs an instrument and a pitch, but reads 'Fl ord mf'\."),
        ("[segment 0 9 [note Fl ord A4 pp [player x]]]", r"line 1: player is a number, but reads 'x'\."),
        (
            "[segment zero [note Fl ord A4 pp]]",
            r"line 1: a segment needs an onset in ms \(and may have a duration\): 'seg",
        ),
        ("[segment 0 [note 9 Xyl ord A4 pp /X/Fl-ord-A4-pp.wav 0]]", r"has no Xyl A4 pp ord; its instruments are"),
        ("[segment 0 9 [note Fl ord A4 pp]", r"connection\.txt: the bracket of line 1 is not closed\."),
        ("[segment 0 9]]", r"connection\.txt, line 1: there is a closing bracket too many\."),
        ("", r"connection\.txt holds no note: a connection has lists such as"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tiny_library, tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_connection(written(tmp_path, text), tiny_library)


def test_a_missing_file_is_one_sentence(tiny_library, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file '.*none\.txt'\."):
        read_connection(tmp_path / "none.txt", tiny_library)


def test_the_file_decides_between_takes(soundfont_library, tmp_path):
    rows = [row(soundfont_library, "Vn", "A4", dynamic) for dynamic in ("ff", "mf")]
    file = soundfont_library.table["file"][rows[1]]
    assert find_row(soundfont_library, "x", file=f"sub/{file}.wav", instrument="Vn", midi=69, dynamic="ff") == rows[1]
    assert find_row(soundfont_library, "x", file="other.wav", instrument="Vn", midi=69, dynamic="ff") == rows[0]
    note = SolutionNote.of(soundfont_library, rows[0], 0)
    solution = Solution((note,), ("Vn",), soundfont_library, 0.0, "cosine", 1.5)
    again = read_connection(solution.to_connection(tmp_path / "connection.txt"), soundfont_library)
    assert again.notes == (note,)
    assert dataclasses.replace(again, distance=0.0).seconds == 2.0
