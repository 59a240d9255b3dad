"""Players, filters, fixed notes: which rows of the library each player may be given."""

import numpy as np
import pytest

from deeporch.orchestration.orchestra import ORCHESTRA, candidates, fix, note_filters, parse_orchestra
from deeporch.orchestration.solution import SolutionNote


def test_players_repeat_and_double(tiny_library):
    assert parse_orchestra("Fl Fl ClBb|Ob, Vn", tiny_library) == ("Fl", "Fl", "ClBb|Ob", "Vn")
    assert parse_orchestra(["Fl", "Vc"], tiny_library) == ("Fl", "Vc")
    rows = candidates(tiny_library, ("Fl", "ClBb|Ob"), [])
    table = tiny_library.table
    assert set(table["instrument"].iloc[rows[0]]) == {"Fl"}
    assert len(rows[0]) == 36
    assert sorted(set(table["instrument"].iloc[rows[1]])) == ["ClBb", "Ob"]
    assert len(rows[1]) == 72


@pytest.mark.parametrize(
    ("orchestra", "sentence"),
    [
        ("Fl Vln", r"Unknown instrument 'Vln' in the orchestra: did you mean 'Vn'.*\? The library 'tiny' has ClBb, Fl"),
        ("Fl violin", r"Unknown instrument 'violin' in the orchestra: did you mean 'Vn'"),
        ("Fl|Obo", r"Unknown instrument 'Obo' in the orchestra: did you mean 'Ob'"),
        ("", r"The orchestra has no player: give instruments separated by spaces"),
    ],
)
def test_an_orchestra_that_cannot_play_is_told_why(tiny_library, orchestra, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_orchestra(orchestra, tiny_library)


def test_filters_keep_what_passes_all(tiny_library):
    filters = note_filters(tiny_library, pitch_range=("D4", 67), pitches="C4 E4 G4", dynamics="pp mf")
    (rows,) = candidates(tiny_library, ("Fl",), filters)
    part = tiny_library.table.iloc[rows]
    assert sorted(set(part["pitch"])) == ["E4", "G4"]
    assert sorted(set(part["dynamic"])) == ["mf", "pp"]
    assert len(part) == 4


@pytest.mark.parametrize("words", ["C4 E4", "C4,E4", "C4, E4"])
def test_pitches_are_separated_by_spaces_or_commas(tiny_library, words):
    (rows,) = candidates(tiny_library, ("Fl",), note_filters(tiny_library, pitches=words))
    assert set(tiny_library.table["pitch"].iloc[rows]) == {"C4", "E4"}


def test_partials_keep_notes_within_a_quarter_tone(tiny_library):
    filters = note_filters(tiny_library, partials=np.array([60.4, 66.6]), partial_filter=0.1)
    (rows,) = candidates(tiny_library, ("Fl",), filters)
    assert sorted(set(tiny_library.table["midi"].iloc[rows])) == [60, 67]


def test_an_emptied_orchestra_is_told_which_filter_did_it(tiny_library):
    filters = note_filters(tiny_library, pitches=["C4"], pitch_range=("D4", "B4"))
    with pytest.raises(
        ValueError, match="leave the orchestra without notes: the pitches C4 emptied Fl, Ob, Vn; widen them"
    ):
        candidates(tiny_library, ("Fl", "Ob|Vn"), filters)
    filters = note_filters(tiny_library, partials=np.empty(0), partial_filter=0.9)
    with pytest.raises(ValueError, match=r"the partial filter 0\.9 \(0 partials\) emptied Fl"):
        candidates(tiny_library, ("Fl",), filters)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dynamics": "mf fff"}, "Unknown dynamic 'fff'"),
        ({"techniques": "pizz"}, "Unknown technique 'pizz'"),
        ({"pitch_range": ("C5", "C4")}, "The lowest pitch, C5, lies above the highest, C4."),
        ({"pitches": ["H4"]}, "'H4' is no pitch name"),
    ],
)
def test_filters_that_make_no_sense(tiny_library, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        note_filters(tiny_library, **options)


def test_fixed_notes_take_a_player(tiny_library):
    players = ("Fl", "Vc", "Vc|Vn")
    free = candidates(tiny_library, players, [])
    choices, must_play = fix(tiny_library, players, free, ["Vc C4 ff", "Vn E4"])
    assert must_play == [1, 2]
    assert tiny_library.table.iloc[choices[1]][["pitch", "dynamic"]].values.tolist() == [["C4", "ff"]]
    assert sorted(tiny_library.table["dynamic"].iloc[choices[2]]) == ["ff", "mf", "pp"]
    np.testing.assert_array_equal(choices[0], free[0])
    note = SolutionNote.of(tiny_library, int(free[1][0]), 2)  # a note of a solution keeps its player
    choices, must_play = fix(tiny_library, players, free, ["Vc C4 ff", note])
    assert sorted(must_play) == [1, 2]
    assert choices[2].tolist() == [free[1][0]]


@pytest.mark.parametrize(
    ("fixed", "sentence"),
    [
        (["Fl C9"], "The fixed note 'Fl C9' is not in the library 'tiny'"),
        (["Fl"], "The fixed note 'Fl' is not in the library"),
        (["Fl C4", "Fl D4"], "No player of the orchestra Fl Vn is left for the fixed note 'Fl D4'"),
        (["Ob C4"], "No player of the orchestra Fl Vn is left for the fixed note 'Ob C4'"),
    ],
)
def test_fixed_notes_that_nobody_can_play(tiny_library, fixed, sentence):
    players = ("Fl", "Vn")
    with pytest.raises(ValueError, match=sentence):
        fix(tiny_library, players, candidates(tiny_library, players, []), fixed)


def test_a_doubling_players_missing_instrument_is_left_out(tiny_library):
    assert parse_orchestra("Fl Fl ClBb|BClBb", tiny_library) == ("Fl", "Fl", "ClBb")
    assert parse_orchestra("Fl|Ob", tiny_library) == ("Fl|Ob",)
    with pytest.raises(ValueError, match="Unknown instrument 'BClBb' in the orchestra"):
        parse_orchestra("Fl BClBb", tiny_library)
    with pytest.raises(ValueError, match="Unknown instrument 'ClBp' in the orchestra: did you mean 'ClBb'"):
        parse_orchestra("Fl ClBb|ClBp", tiny_library)


def test_the_usual_orchestra_can_be_had_of_the_default_library(soundfont_library):
    players = parse_orchestra(ORCHESTRA, soundfont_library)
    assert " ".join(players) == "Fl Fl Ob ClBb Bn Hn TpC Tbn Vn Va Vc Cb"
