import pytest
from experiments.figures import draw_piano_roll

from deeporch.orchestration.solution import Solution, SolutionNote


def test_piano_roll_has_a_lane_a_player_and_a_bar_a_note(tiny_library):
    table = tiny_library.table
    quiet = int(table[(table["instrument"] == "Fl") & (table["dynamic"] == "pp")].index[0])
    loud = int(table[(table["instrument"] == "Vn") & (table["dynamic"] == "ff")].index[0])
    notes = (
        SolutionNote.of(tiny_library, quiet, 0, onset=0.5, duration=9.0, cents=-20),
        SolutionNote.of(tiny_library, loud, 2, duration=0.25),
    )
    figure = draw_piano_roll(Solution(notes, ("Fl|Ob", "Hn", "Vn"), tiny_library, 0.1, "cosine", 2.0))
    (ax,) = figure.axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in ax.patches]
    assert bars == [(0.5, 1.5, pytest.approx(0)), (0, 0.25, pytest.approx(2))]
    assert ax.patches[1].get_height() > 1.5 * ax.patches[0].get_height(), "louder is thicker"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Fl|Ob", "Hn", "Vn"]
    texts = [text.get_text() for text in ax.texts]
    assert "Fl C4" in texts[0]
    assert "-20 c" in texts[0]
    assert "C4" in texts[1]
    assert "Vn" not in texts[1], "who plays one instrument need not be told"
    assert ax.get_xlim() == (0, 2)
