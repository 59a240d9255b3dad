import math
from itertools import permutations
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from experiments.errors import family_confusion, recall_by_doubling

from deeporch.metrics import (
    KINDS_OF_ERROR,
    confusion,
    count_right,
    hits,
    k_of_n,
    k_of_n_form,
    kinds_of_error,
    mistakes,
    per_instrument,
    reliability,
    score,
    study_form,
    top_n,
    top_n_recall,
)
from deeporch.mixtures.classes import Classes


@pytest.fixture(scope="module")
def classes(tiny_library):
    return Classes(tiny_library, by="note")


def case(n, size=60, count=72, seed=0):
    """Return logits that find some of the notes, and multi-hot targets."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.zeros(size, count)
    for row in targets:
        row[torch.randperm(count, generator=generator)[:n]] = 1
    return torch.randn(size, count, generator=generator) + 2 * targets, targets


def slow_hits(logits, targets):
    """Count, with sorting and sets of plain numbers, what is right in each mixture."""
    found = []
    for outputs, wanted in zip(logits.tolist(), targets.tolist(), strict=True):
        right = {c for c, value in enumerate(wanted) if value}
        ranked = sorted(range(len(outputs)), key=lambda c: -outputs[c])
        found.append(set(ranked[: len(right)]) & right)
    return found


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_every_metric_equals_a_slow_loop(classes, n):
    logits, targets = case(n)
    right = slow_hits(logits, targets)
    counts = [len(r) for r in right]
    assert 0 < sum(counts) < 60 * n
    assert hits(logits, targets).tolist() == counts
    assert top_n_recall(logits, targets) == pytest.approx(sum(counts) / (60 * n), abs=1e-9)
    assert k_of_n(logits, targets) == pytest.approx([counts.count(k) / 60 for k in range(n + 1)], abs=1e-6)
    assert k_of_n(logits, targets)[-1] == pytest.approx(counts.count(n) / 60, abs=1e-6)
    chosen = top_n(logits, targets)
    assert chosen.sum(1).tolist() == [n] * 60
    table = per_instrument(logits, targets, classes)
    assert table.index.tolist() == classes.instruments
    for instrument in classes.instruments:
        own = {c for c, name in enumerate(classes.table["instrument"]) if name == instrument}
        occurring = sum(int(targets[i, c]) for i in range(60) for c in own)
        found = sum(len(r & own) for r in right)
        row = table.loc[instrument]
        assert (row["right"], row["occurring"]) == (found, occurring)
        assert row["accuracy"] == pytest.approx(found / occurring)


def test_score_gathers_them(classes):
    logits, targets = case(3, seed=5)
    scores = score(logits, targets, classes, seconds=1.5)
    logs = logits.double() - logits.double().exp().sum(1, keepdim=True).log()
    loss = -sum(logs[i, c].item() / 3 for i in range(60) for c in range(72) if targets[i, c]) / 60
    assert scores.loss == pytest.approx(loss, rel=1e-5)
    assert (scores.n, scores.size, scores.seconds) == (3, 60, 1.5)
    assert scores.top_n_recall == top_n_recall(logits, targets)
    assert scores.exact_match == scores.k_of_n[3] == k_of_n(logits, targets)[-1]
    assert sum(k * share / 3 for k, share in enumerate(scores.k_of_n)) == pytest.approx(scores.top_n_recall, abs=1e-6)
    accuracies = [scores.per_instrument["accuracy"][name] for name in classes.instruments]
    assert scores.macro_recall == pytest.approx(sum(accuracies) / 6)


def test_perfect_and_hopeless(classes):
    _, targets = case(4)
    perfect, hopeless = score(targets, targets, classes), score(-targets, targets, classes)
    assert (perfect.top_n_recall, perfect.exact_match, perfect.k_of_n) == (1, 1, [0, 0, 0, 0, 1])
    assert (hopeless.top_n_recall, hopeless.exact_match, hopeless.k_of_n) == (0, 0, [1, 0, 0, 0, 0])
    assert perfect.seconds == 0
    assert "accuracy" not in repr(perfect), "a table in a line cannot be read"


def test_one_mixture_one_note_each_and_instruments_in_the_classes_order():
    classes = SimpleNamespace(table=pd.DataFrame({"instrument": ["Vn", "Fl", "Ob"]}))
    scores = score(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[1.0, 1.0, 0.0]]), classes)
    assert (scores.n, scores.size, scores.k_of_n) == (2, 1, [0, 1, 0])
    accuracy = scores.per_instrument["accuracy"]
    assert accuracy.index.tolist() == ["Vn", "Fl", "Ob"]
    assert accuracy.tolist() == pytest.approx([1, 0, math.nan], nan_ok=True)


def test_an_instrument_that_never_occurs(classes):
    logits, targets = case(2)
    fl = torch.tensor([name == "Fl" for name in classes.table["instrument"]])
    keep = (targets * fl).sum(1) == 0
    scores = score(logits[keep], targets[keep], classes)
    row = scores.per_instrument.loc["Fl"]
    assert row["occurring"] == 0
    assert math.isnan(row["accuracy"])
    others = scores.per_instrument.drop(index="Fl")["accuracy"]
    assert scores.macro_recall == pytest.approx(others.mean())
    assert not math.isnan(scores.macro_recall)


def test_the_studys_form():
    table = pd.DataFrame({"right": [786.0, 7.0], "occurring": [815.0, 7.0]}, index=["Va", "Cb"])
    table["accuracy"] = table["right"] / table["occurring"]
    assert study_form(table) == "Va: 786/815 = 96.442 %\nCb: 7/7 = 100.000 %"


def test_the_studys_form_of_k_of_n():
    assert k_of_n_form([0.002, 0.1535, 0.8447]) == "1/2: 15.350 %\n2/2: 84.470 %"


def pairing_cost(true, heard):
    """Pitch classes weigh most, then instruments, then octaves."""
    interval = heard["midi"] - true["midi"]
    fold = min(interval % 12, -interval % 12)
    return 2 * fold + 0.1 * abs(interval) / 12 + (heard["instrument"] != true["instrument"])


def test_mistakes_are_paired_at_the_least_cost(classes):
    logits, targets = case(5, size=25, seed=2)
    table = mistakes(logits, targets, classes)
    right = slow_hits(logits, targets)
    rows = [classes.table.loc[c] for c in range(72)]
    for i in range(25):
        part = table[table["mixture"] == i]
        missed = {c for c in range(72) if targets[i, c]} - right[i]
        heard = set(sorted(range(72), key=lambda c: -logits[i, c])[:5]) - right[i]
        assert sorted(part["true"]) == sorted(missed)
        assert sorted(part["predicted"]) == sorted(heard)
        least = min(
            sum(pairing_cost(rows[a], rows[b]) for a, b in zip(sorted(missed), order, strict=True))
            for order in permutations(sorted(heard))
        )
        found = sum(pairing_cost(rows[a], rows[b]) for a, b in zip(part["true"], part["predicted"], strict=True))
        assert found == pytest.approx(least)
        for row in part.itertuples():
            assert row.true_instrument == rows[row.true]["instrument"]
            assert row.predicted_instrument == rows[row.predicted]["instrument"]
            assert row.interval == rows[row.predicted]["midi"] - rows[row.true]["midi"]
    counts = confusion(table, classes.instruments)
    assert counts.to_numpy().sum() == len(table) > 20
    one = table[(table["true_instrument"] == "Fl") & (table["predicted_instrument"] == "Vn")]
    assert counts.loc["Fl", "Vn"] == len(one)
    assert mistakes(targets, targets, classes).empty


def test_an_octave_error_is_paired_as_one():
    table = pd.DataFrame({"instrument": ["Fl", "Ob", "Ob", "Fl"], "midi": [60, 72, 60, 72]})
    targets, logits = torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    found = mistakes(logits, targets, SimpleNamespace(table=table))
    assert found[["true", "predicted", "interval"]].to_numpy().tolist() == [[0, 3, 12], [1, 2, -12]]
    counts = confusion(found, ["Vn", "Ob", "Fl"])
    assert counts.to_numpy().tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]], "what never occurs is 0"


def test_recall_by_doubling_against_a_loop():
    logits, targets = case(5, size=60, seed=3)
    midi = [48 + c % 36 for c in range(72)]  # two instruments, three octaves
    classes = SimpleNamespace(table=pd.DataFrame({"midi": midi}))
    counts = {"unison": [0, 0], "octave": [0, 0], "alone": [0, 0]}
    for i, right in enumerate(slow_hits(logits, targets)):
        notes = [c for c in range(72) if targets[i, c]]
        for c in notes:
            apart = [abs(midi[c] - midi[d]) for d in notes if d != c]
            kind = "unison" if 0 in apart else "octave" if any(a % 12 == 0 for a in apart) else "alone"
            counts[kind][0] += 1
            counts[kind][1] += c in right
    found = recall_by_doubling(logits, targets, classes)
    assert found["notes"].tolist() == [n for n, _ in counts.values()]
    assert found["recall"].tolist() == pytest.approx([right / n for n, right in counts.values()])
    assert found["notes"].sum() == 300
    assert found["notes"].min() > 5


def test_families_that_are_mistaken_for_one_another():
    cases = [("Fl", "Ob"), ("Fl", "Vn"), ("Vn", "Vc"), ("Ob", "Fl"), ("Hn", "Tbn")]
    found = family_confusion(pd.DataFrame(cases, columns=["true_instrument", "predicted_instrument"]))
    assert found.loc["woodwinds", "woodwinds"] == pytest.approx(2 / 3)
    assert found.loc["woodwinds", "strings"] == pytest.approx(1 / 3)
    assert found.loc["brass", "brass"] == 1
    assert (found.sum(axis=1) == 1).all()


def test_kinds_of_error():
    cases = [("Fl", "Ob", 0), ("Fl", "Fl", -12), ("Fl", "Ob", 24), ("Fl", "Fl", 1), ("Fl", "Fl", -7), ("Fl", "Ob", 2),
             ("Fl", "Ob", -1), ("Vn", "Vn", -1), ("Ob", "Ob", 1), ("Ob", "Ob", 0), ("Fl", "Fl", 2)]  # fmt: skip
    table = pd.DataFrame(cases, columns=["true_instrument", "predicted_instrument", "interval"])
    expected = dict(zip(KINDS_OF_ERROR, (1, 1, 1, 3, 3, 2), strict=True))
    assert kinds_of_error(table) == {name: count / 11 for name, count in expected.items()}
    assert kinds_of_error(table[:0]) == dict.fromkeys(KINDS_OF_ERROR, 0.0)


def test_notes_beyond_a_mixtures_own_number_are_not_counted():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0]])
    target = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])  # the first has one note, and it came second
    assert count_right(logits, target) == count_right(logits, target, most=3) == 1


def test_reliability_has_fifteen_bins_from_zero_to_one():
    probabilities = torch.tensor([[0.01, 0.065, 0.10, 1.0]])  # two below 1/15, one below 2/15
    found = reliability(probabilities, torch.tensor([[0.0, 1.0, 1.0, 1.0]]))
    assert found["count"].tolist() == [2, 1, 1]
    assert found["probability"] == pytest.approx([0.0375, 0.10, 1.0])
    assert found["share"].tolist() == [0.5, 1, 1]
    top = reliability(torch.tensor([[0.92, 0.95, 1.0]]), torch.ones(1, 3))  # one below 14/15, and the last bin's two
    assert top["count"].tolist() == [1, 2]


def test_one_sentence_for_each_mistake():
    logits, targets = case(2)
    with pytest.raises(ValueError, match=r"Outputs \[60, 72\] and targets \[60, 71\] must be two equal, non-empty"):
        top_n(logits, targets[:, 1:])
    with pytest.raises(ValueError, match="non-empty tables"):
        top_n(logits[:0], targets[:0])
    mixed = targets.clone()
    mixed[7] = 0
    for wrong in (mixed, torch.zeros(60, 72)):
        with pytest.raises(ValueError, match="the same number of notes, at least one: score each N on its own"):
            top_n(logits, wrong)
