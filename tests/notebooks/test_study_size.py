"""The study's rows at its size, tried at a toy's."""

import pytest
from experiments import study_size

from deeporch.results import load_results

TOY = "--minutes 9 --shown 96 --most 48 --tests 20 --batch 16 --features logmel64 --device cpu".split()  # noqa: SIM905


def test_rows_are_trained_once_and_kept_with_their_curve(tiny_library, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study_size.do, "load_library", lambda *_, **__: tiny_library)
    study_size.main([*TOY, "--out", str(tmp_path), "--rows", "0"])
    first = load_results("study_size", tmp_path)
    assert set(first["setting"]) == {"CNN, 48 mixtures"}
    assert set(first["split"]) == {"mixture"}, "with one class per file nothing can be held out"
    curve = first[first["quantity"] == "recall_after"]
    assert curve["item"].tolist() == ["48", "96"], "mixtures seen, not epochs"
    last = first[first["quantity"] == "top_n_recall"]["value"].iloc[0]
    assert curve["value"].iloc[-1] == pytest.approx(last, abs=0.051)  # the same test; rounding of bfloat16 apart
    study_size.main([*TOY, "--out", str(tmp_path), "--rows", "0 9"])
    again = load_results("study_size", tmp_path)
    note = again[again["setting"] == "CNN+LSTM+CNN, 48 mixtures, one class per note"]
    assert set(note["split"]) == {"mixture", "recording"}
    assert len(again) == len(first) + len(note), "what was there is not trained again"
    assert capsys.readouterr().out.count("after") == 2


def test_no_time_is_no_training(tiny_library, tmp_path, monkeypatch):
    monkeypatch.setattr(study_size.do, "load_library", lambda *_, **__: tiny_library)
    study_size.main([*TOY, "--minutes", "0.1", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())
