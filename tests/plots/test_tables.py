"""The README's results table."""

import pandas as pd
import pytest
import torch
from experiments.figures import tables

from deeporch.metrics import score
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.results import COLUMNS, ROOT


def write_csv(folder, experiment, rows):
    labels = dict.fromkeys(COLUMNS, "") | {
        "experiment": experiment, "data": "tiny", "device": "1 CPU core", "profile": "quick", "n_classes": 12,
        "train_mixtures": 1000, "epochs": 3, "seconds": 4.5, "quantity": "top_n_recall",
    }  # fmt: skip
    pd.DataFrame([labels | row for row in rows]).to_csv(folder / f"{experiment}.csv", index=False)


def test_row_has_published_seen_and_held_out_with_their_spread(tmp_path):
    common = {"setting": "note", "n": 2}
    rows = [common | {"split": "mixture", "seed": seed, "value": 0.5 + 0.1 * seed} for seed in (0, 1, 2)]
    rows.append(common | {"split": "recording", "seed": 0, "value": 0.25})
    rows.append({"setting": "recording", "n": 2, "classes": "recording", "split": "mixture", "seed": 0, "value": 0.75})
    write_csv(tmp_path, "02_cnn_one_class_per_file", rows)
    header, _, note, file = tables.results_table(tmp_path).split("\n")
    assert header.count("|") == note.count("|") == file.count("|")
    assert note.startswith("| CNN, one class per note | 2 | – | – | 60.0 ± 10.0 % | 25.0 % | tiny, 12 classes; 1,000")
    assert file.startswith("| CNN, one class per file | 2 | 86.6 % | 75.0 % | – | – |")


def test_every_n_of_the_mixtures_stands_beside_its_published_recall(tmp_path):
    rows = [{"setting": f"N={n}", "n": n, "split": "mixture", "seed": 0, "value": 1 / n} for n in (2, 3, 5, 10)]
    write_csv(tmp_path, "05_mixtures_2_3_5_10", rows)
    lines = tables.results_table(tmp_path).split("\n")[2:]
    assert [line.split("|")[3].strip() for line in lines] == ["92.1 %", "83.8 %", "72.6 %", "52.1 %"]
    assert [line.split("|")[5].strip() for line in lines] == ["50.0 %", "33.3 %", "20.0 %", "10.0 %"]


def test_the_headlines_are_the_same_numbers_with_fewer_labels(tmp_path):
    names = ("CNN+LSTM+CNN", "CNN+LSTM")
    rows = [{"setting": name, "n": 2, "split": "mixture", "seed": 0, "value": 0.5} for name in names]
    write_csv(tmp_path, "04_cnn_lstm_cnn", [*rows, rows[0] | {"classes": "recording", "n_classes": 40, "value": 0.25}])
    header, _, line = tables.headline_table(tmp_path).split("\n")
    assert header.count("|") == line.count("|") == 8
    assert line == "| CNN+LSTM+CNN | 2 | 92.0 % | 25.0 % | 50.0 % | – | 12 / 40; 1,000 |"
    assert line.rpartition(" | ")[0] in tables.results_table(tmp_path)


def test_a_longer_run_of_the_network_stands_in_place_of_the_short_one(tmp_path):
    short = {"setting": "N=3", "model": "cnn", "n": 3, "split": "mixture", "seed": 0, "value": 0.4}
    write_csv(tmp_path, "05_mixtures_2_3_5_10", [short | {"classes": "note"}, short | {"classes": "recording"}])
    longer = short | {"setting": "CNN, many", "classes": "recording", "train_mixtures": 240_000}
    write_csv(tmp_path, "study_size", [longer | {"value": 0.7}, longer | {"train_mixtures": 40_000, "value": 0.5}])
    line = tables.headline_table(tmp_path).split("\n")[-1]
    assert line == "| CNN, N notes | 3 | 83.8 % | 70.0 % (240,000) | 40.0 % | – | 12; 1,000 |"
    row = tables.results_table(tmp_path).split("\n")[-1]
    assert row.startswith("| CNN, many, one class per file | 3 | 83.8 % | 60.0 ± 14.1 % | – | – |")


def test_the_time_of_all_trainings_counts_each_once(tmp_path):
    splits = [
        {"setting": "cnn", "n": 2, "split": split, "seed": 0, "seconds": 3600} for split in ("mixture", "recording")
    ]
    write_csv(tmp_path, "01_cnn_instruments", [*splits, splits[0] | {"seed": 1, "seconds": 300}])
    write_csv(tmp_path, "07_recognizer", splits)
    assert tables.training_time(tmp_path) == (
        "All 2 trainings of notebooks 01 to 06 together took 1 h 5 min on 1 CPU core (profile quick)."
    )


def test_writing_replaces_only_what_stands_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter \\1\n")
    assert tables.write_readme(readme, tmp_path)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after \\1\n")
    assert "old" not in text
    assert tables.SHORT_HEADER in text
    assert not tables.write_readme(readme, tmp_path)  # nothing new


def test_readme_without_markers_is_one_sentence(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(ValueError, match=r"README\.md has no .* between which the results could stand"):
        tables.write_readme(readme, tmp_path)


@pytest.fixture
def scores(tiny_library):
    """Scores of a perfect and of a blind network on two notes."""
    classes = Classes(tiny_library, by="instrument")
    targets = Mixtures(tiny_library, classes, n=2, size=40).targets()
    blind = torch.zeros_like(targets)
    blind[:, :2] = 1
    return {(2, "mixture"): score(targets, targets, classes), (2, "recording"): score(blind, targets, classes)}


def test_k_of_n_table_has_the_study_above_ours(scores):
    table = tables.k_of_n_table(scores).data
    assert table.index.tolist() == ["the study", "seen recordings", "unseen recordings"]
    assert table.loc["the study", 2] == "1/2: 15.350 %\n2/2: 84.470 %"
    assert table.loc["seen recordings", 2] == "1/2: 0.000 %\n2/2: 100.000 %"


def test_totals_table(scores):
    table = tables.totals_table(scores).data
    assert table["top-N recall"].tolist() == [1.0, scores[2, "recording"].top_n_recall]
    assert table["the study's recall"].tolist() == [0.92145] * 2


def test_instrument_table_has_the_study_where_it_has_the_instrument(scores):
    lines = tables.instrument_table(scores, split="mixture").data["N = 2"].tolist()
    flute = next(line for line in lines if line.startswith("Fl: "))
    right = int(scores[2, "mixture"].per_instrument.loc["Fl", "occurring"])
    assert flute == f"Fl: {right}/{right} = 100.000 %  (study 96.9%)"
    assert len(lines) == 6


def test_the_committed_readme_and_gallery_equal_the_committed_csvs():
    assert tables.headline_table() in (ROOT / "README.md").read_text(encoding="utf-8")
    gallery = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
    assert tables.results_table() in gallery
    assert tables.training_time() in gallery


def test_the_readmes_speed_is_that_of_the_bench():
    bench = pd.read_csv(ROOT / "figures" / "bench.csv")
    ratios = bench[bench["measure"] == "deeporch"].sort_values("n")["times_study"].round().astype(int).tolist()
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "notes are made {}, {} and {} times as fast as in the study's way".format(*ratios) in text


def test_other_takes_stand_beside_the_held_out_recordings(tmp_path):
    values = {"mixture": 0.9, "recording": 0.8, "other takes": 0.7}
    rows = [{"setting": "pitchnet", "n": 5, "split": s, "seed": 0, "value": v} for s, v in values.items()]
    write_csv(tmp_path, "07_recognizer", rows)
    (line,) = tables.results_table(tmp_path).split("\n")[2:]
    assert line.startswith("| PitchNet, the long run | 5 | 72.6 % | – | 90.0 % | 80.0 % (other takes: 70.0 %) |")
