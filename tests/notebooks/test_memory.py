"""The measurement of memory over hours, at a toy's size."""

import mmap
import sys

import pytest
from experiments import memory
from experiments.figures.memory import draw_memory

from deeporch.results import load_results

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_memory_is_this_process_own():
    before = memory.memory()
    block = mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # no memory that is free already
    block.write(b"x" * len(block))
    after = memory.memory()
    assert 45 < after["anonymous"] - before["anonymous"] < 60
    assert after["resident"] >= after["anonymous"]
    assert after["peak"] >= after["resident"]
    block.close()


def test_every_stage_is_measured_in_turn_and_answers_alike():
    done = []
    doing = {"a": lambda turn: done.append(("a", turn)), "b": lambda turn: done.append(("b", turn)) or {"same"}}
    found = list(memory.measure(doing, 0.02))
    assert [name for name, _, _ in found] == [name for name, _ in done]
    assert done[:4] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert len(list(memory.measure(doing, 0))) == 2, "one turn at least"
    for other in (lambda turn: {str(turn)}, lambda turn: {"x", "y"}):
        with pytest.raises(RuntimeError, match=r"b of turn [12] gave another answer than the first\."):
            list(memory.measure({"b": other}, 9))


def test_the_table_has_every_stage_and_is_drawn(tiny_library, untrained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory.do, "load_library", lambda *_, **__: tiny_library)
    monkeypatch.setattr(memory.do.Recognizer, "load", lambda _: untrained)
    sizes = "--minutes 0 --mixtures 32 --predictions 3 --evaluations 50 --orchestra Fl"
    memory.main([*sizes.split(), "--out", str(tmp_path)])
    table = load_results("memory", tmp_path)
    assert table["setting"].unique().tolist() == ["training", "prediction", "orchestration"]
    assert set(table["quantity"]) == {"resident", "anonymous", "peak"}
    assert table["value"].between(100, 10_000).all()
    assert table["item"].astype(float).is_monotonic_increasing
    assert "min  resident " in capsys.readouterr().out
    [ax] = draw_memory(table).axes
    assert [line.get_label() for line in ax.lines] == [
        "after training", "after prediction", "after orchestration", "without mapped files",
    ]  # fmt: skip
    assert (tmp_path / "provenance.csv").is_file()
