"""An orchestra as players."""

import pytest

from deeporch.orchestra import ORCHESTRA, parse_orchestra


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
