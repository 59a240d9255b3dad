import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from deeporch.metrics import score
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.results import COLUMNS, LABELS, Results, enter_origin, load_results, published, published_value
from deeporch.training.loop import History


@pytest.fixture(scope="module")
def test_set(tiny_library):
    return Mixtures(tiny_library, Classes(tiny_library, by="note"), n=3, size=40)


@pytest.fixture(scope="module")
def scores(test_set):
    targets = test_set.targets()
    noise = torch.randn(targets.shape, generator=torch.Generator().manual_seed(0))
    return score(noise + 2 * targets, targets, test_set.classes)


@pytest.fixture(scope="module")
def history():
    table = pd.DataFrame(
        {
            "epoch": [1, 2],
            "train_loss": [4.25, 3.1],
            "train_recall": [0.1, 0.2],
            "valid_loss": [math.nan, 3.3],
            "valid_recall": [math.nan, 0.15],
            "valid_exact": [math.nan, 0.0],
            "seconds": [1.0, 2.26],
            "mixtures_per_second": [100.0, 110.0],
        }
    )
    return History(table, "cpu")


@pytest.fixture
def results(scores, test_set, history):
    made = Results("02_cnn_one_class_per_file", data="tiny", profile="quick", device="2 CPU cores")
    made.add(scores, test_set, setting="note", split="mixture", model="cnn", seed=3, history=history, train_mixtures=64)
    return made


def values(table, quantity):
    rows = table[table["quantity"] == quantity]
    return dict(zip(rows["item"], rows["value"], strict=True))


def test_every_score_is_a_labelled_row(results, scores):
    table = results.table
    assert tuple(table.columns) == COLUMNS
    assert values(table, "top_n_recall") == {"": scores.top_n_recall}
    assert values(table, "exact_match") == {"": scores.exact_match}
    assert values(table, "macro_recall") == {"": scores.macro_recall}
    assert values(table, "loss") == {"": scores.loss}
    assert values(table, "k_of_n") == {str(k): share for k, share in enumerate(scores.k_of_n)}
    assert values(table, "right") == scores.per_instrument["right"].to_dict()
    assert values(table, "occurring") == scores.per_instrument["occurring"].to_dict()
    assert values(table, "curve_train_loss") == {"1": 4.25, "2": 3.1}
    assert values(table, "curve_valid_recall") == {"2": 0.15}, "epochs without validation have no row"
    expected = {
        "experiment": "02_cnn_one_class_per_file", "setting": "note", "model": "cnn", "n": 3, "split": "mixture",
        "classes": "note", "seed": 3, "data": "tiny", "n_classes": 72, "train_mixtures": 64, "test_mixtures": 40,
        "epochs": 2, "seconds": 2.3, "device": "2 CPU cores", "profile": "quick",
    }  # fmt: skip
    for label, value in expected.items():
        assert table[label].unique().tolist() == [value], label
    recall = sum(int(k) * share for k, share in values(table, "k_of_n").items()) / 3
    assert recall == pytest.approx(values(table, "top_n_recall")[""], abs=1e-6)


def test_csv_round_trip(results, tmp_path):
    path = results.save(tmp_path / "figures")
    assert path == tmp_path / "figures" / "02_cnn_one_class_per_file.csv"
    again = load_results("02_cnn_one_class_per_file", tmp_path / "figures")
    assert len(again) == len(results.table)
    for column in (*LABELS, "quantity", "item"):
        assert again[column].tolist() == results.table[column].tolist(), column
    np.testing.assert_allclose(again["value"], results.table["value"].astype(float), rtol=1e-5)
    assert results.save(tmp_path / "figures").read_bytes() == path.read_bytes()


def test_the_origin_of_a_table_is_entered_beside_it(tiny_library, tmp_path, monkeypatch):
    def save(value, command):
        monkeypatch.setenv("DEEPORCH_COMMAND", command)
        made = Results("x", data=tiny_library, profile="quick", device="c")
        made.add_rows([("a", "1", value), ("a", "2", 2.0)])
        made.save(tmp_path)
        return pd.read_csv(tmp_path / "provenance.csv")

    first = save(1.0, "deeporch run 05 -p ROOT=/home/me/my/sounds --out a/b")
    assert first["file"].tolist() == ["x.csv"]
    assert first["command"].tolist() == ["deeporch run 05 -p ROOT=…/sounds --out a/b"], "no folder of one machine"
    assert first["library"].tolist() == [f"tiny {tiny_library.key}"]
    assert re.fullmatch(r"[0-9a-f]{7,}\+?", first["git"][0])
    assert f"torch {torch.__version__.partition('+')[0]}" in first["versions"][0]
    assert load_results("x", tmp_path)["data"].unique().tolist() == ["tiny"]
    assert save(1.0, "deeporch run 05 -p ROOT=/home/me/my/sounds --out a/b").equals(first), "the same once"
    assert save(3.0, "another")["command"].tolist() == [*first["command"], "another"], "rows of both are there"
    monkeypatch.setenv("DEEPORCH_COMMAND", "new")
    with enter_origin(tmp_path / "x.csv", "none") as path:
        path.write_text("a\n9\n")
    assert pd.read_csv(tmp_path / "provenance.csv")["command"].tolist() == ["new"], "nothing of the others is left"
    monkeypatch.delenv("DEEPORCH_COMMAND")
    monkeypatch.setattr("sys.argv", ["/usr/bin/tool.py", "--minutes", "1 2"])
    with enter_origin(tmp_path / "w.csv") as path:
        path.write_text("a\n9\n")
    table = pd.read_csv(tmp_path / "provenance.csv", keep_default_na=False)
    assert table[["file", "command", "library"]].values.tolist() == [
        ["w.csv", "tool.py --minutes '1 2'", ""], ["x.csv", "new", "none"],
    ]  # fmt: skip


def test_other_seeds_join(scores, test_set, history, tmp_path):
    def run(seed, train_mixtures=64):
        made = Results("x", data="tiny", profile="quick", device="2 CPU cores")
        labels = {"setting": "note", "split": "mixture", "seed": seed, "train_mixtures": train_mixtures}
        made.add(scores, test_set, history=history, more=[("mark", "", seed + train_mixtures / 1000)], **labels)
        return made

    run(0).save(tmp_path)
    second = run(1)
    second.join(tmp_path)
    second.save(tmp_path)
    table = load_results("x", tmp_path)
    assert table["seed"].unique().tolist() == [0, 1]
    assert table.groupby("seed").size().nunique() == 1, "every seed has the same rows"
    assert table[table["quantity"] == "mark"]["value"].tolist() == [0.064, 1.064]
    again = run(1)
    again.join(tmp_path)
    assert len(again.table) == len(table), "a seed that is run again is replaced"
    with pytest.raises(ValueError, match=r"x\.csv was made with another train_mixtures \(64, here 65\): other seeds"):
        run(2, train_mixtures=65).join(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no results x\.csv"):
        run(2).join(tmp_path / "empty")


def test_values_that_are_missing_survive(tmp_path):
    made = Results("x", data="d", profile="p", device="c")
    made.add_rows([("a", "NA", math.nan), ("b", "null", 0.5)], setting="None")
    made.save(tmp_path)
    again = load_results("x", tmp_path)
    assert again["item"].tolist() == ["NA", "null"]
    assert again["setting"].tolist() == ["None", "None"]
    assert math.isnan(again["value"][0])
    assert again["value"][1] == 0.5


def test_runs_are_appended(results, scores, test_set):
    one = len(results.table)
    results.add(scores, test_set, setting="note", split="recording", model="cnn", seed=4)
    table = results.table
    assert table["split"].tolist()[:one] == ["mixture"] * one
    assert set(table["split"][one:]) == {"recording"}
    assert not table["quantity"][one:].str.startswith("curve").any(), "no history, no curves"
    results.add_rows([("own", "a", 1.5)], setting="s")
    assert results.table.iloc[-1][["quantity", "item", "value"]].tolist() == ["own", "a", 1.5]
    with pytest.raises(ValueError, match="Unknown label 'settings': did you mean 'setting'"):
        results.add_rows([("own", "a", 1.5)], settings="s")


def test_an_experiment_without_results(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no results 03_resnet\.csv: run `deeporch run --profile"):
        load_results("03_resnet", tmp_path)
    assert Results("x", data="d", profile="p", device="c").table.empty


# The study's numbers


def test_published_totals():
    assert published_value("02_cnn_one_class_per_file", item="CNN") == 0.86625
    assert published_value("04_cnn_lstm_cnn", item="CNN+LSTM+CNN") == 0.91963
    with pytest.raises(KeyError, match="The study published no top_n_recall 'ResNet' for N=2 of 03_resnet"):
        published_value("03_resnet", item="ResNet")


@pytest.mark.parametrize(
    ("n", "exact", "recall", "macro"),
    [(2, 0.8447, 0.9215, 0.930), (3, 0.5534, 0.8380, 0.852), (5, 0.1017, 0.7262, 0.746), (10, 0.0, 0.5208, 0.550)],
)
def test_published_tables_agree_with_one_another(n, exact, recall, macro):
    """Top-N recall is the sum over k of k/N x share; the 26 instruments' accuracies have the stated mean."""
    table = published("05_mixtures_2_3_5_10")
    part = table[table["n"] == n]
    shares = {int(k): share for k, share in values(part, "k_of_n").items()}
    assert shares[n] == exact
    assert sum(shares.values()) == pytest.approx(1, abs=0.003)
    assert values(part, "top_n_recall")[""] == pytest.approx(recall, abs=1e-4)
    assert sum(k / n * share for k, share in shares.items()) == pytest.approx(recall, abs=1e-4)
    per_instrument = [q for q in part["quantity"].unique() if q not in ("k_of_n", "top_n_recall")]
    accuracy = values(part, "accuracy") if "accuracy" in per_instrument else None
    if accuracy is None:
        right, occurring = values(part, "right"), values(part, "occurring")
        accuracy = {name: right[name] / occurring[name] for name in right}
    assert len(accuracy) == 26
    assert np.mean(list(accuracy.values())) == pytest.approx(macro, abs=6e-4)
    assert part["value"].notna().all()
