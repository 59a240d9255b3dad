"""The validation of distances, recovery and the comparison of methods, on notes made up so that answers are known."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from experiments.distance_validation import ALTERNATIVES, INDIFFERENT, judge, make_cases, verdict
from experiments.figures import gallery
from experiments.search_comparison import (
    METHODS,
    compare_budgets,
    compare_methods,
    cost_of_search,
    recover,
    sound_of,
    tidy_trials,
    won,
)
from experiments.targets import CHOSEN_ON, recorded_targets, synthetic_targets, varied_targets

from deeporch.mixtures.classes import Classes
from deeporch.mixtures.splits import split
from deeporch.orchestration.distances import DISTANCES


@pytest.fixture(scope="module")
def pools(tiny_library):
    classes = Classes(tiny_library, by="note")
    return classes, split(tiny_library, classes, by="recording", test=0.34, seed=0)


def test_true_notes_win_under_the_default_and_not_under_the_follow_ups(tiny_library, pools, cache):
    classes, parts = pools
    cases = make_cases(tiny_library, classes, parts, sizes=(2, 3), count=24)
    assert [len(each) for each in cases] == [12, 12]
    assert all(set(each.indices.flatten().tolist()) <= set(parts.test.tolist()) for each in cases)
    names = ("combined", "partials", "asymmetric_excess")
    ours, narrow, theirs = (verdict(judge(DISTANCES[name], cases, parts.train)) for name in names)
    assert list(ours.columns) == [*ALTERNATIVES, "all", "cases"]
    assert ours["cases"].tolist() == [12, 12, 24]
    assert ours.loc["all N", "single"] >= 0.8
    assert (ours - narrow).loc["all N", list(ALTERNATIVES[:4])].min() > -0.05  # one of 24 cases
    assert ours.loc["all N", "all"] > theirs.loc["all N", "all"]


def test_a_verdict_counts_wins_and_leaves_out_what_there_is_not():
    judged = pd.DataFrame(
        {"n": [2, 2], "true": [1.0, 1.0], "single": [2.0, 0.5], "less": [2.0, 2.0], "plus": [2.0, 2.0],
         "semitone": [2.0, 2.0], "octave": [np.nan, 0.9]}
    )  # fmt: skip
    shares = verdict(judged).loc["all N"]
    assert shares["single"] == 0.5
    assert shares["less"] == 1
    assert shares["octave"] == 0
    assert shares["all"] == 0.5
    assert shares["cases"] == 2


def test_recovery_compares_methods_cost_and_figure(tiny_library, pools, cache, tmp_path, untrained):
    classes, parts = pools
    measure = DISTANCES["partials"]
    found = recover(tiny_library, classes, parts.train, parts.train, measure, sizes=(1, 2), count=4, evaluations=2000)
    assert found.loc[found["n"] == 1, "recall"].mean() == 1
    assert (found["pitch_recall"] >= found["recall"]).all()
    targets = {name: sound for name, sound in synthetic_targets(1.0).items() if name == "car horn"}
    some = ("best single note", "orthogonal pursuit", "pursuit", "ours")
    methods = compare_methods(targets, tiny_library, "Fl Vn", [measure], methods=some, recognizer=untrained)
    assert methods["method"].tolist() == [*some, "network only"]
    some = ("random", "best single note")
    twice = compare_methods(targets, tiny_library, "Fl Fl Vn Vn", [measure], methods=some, seeds=(0, 1))
    assert twice["method"].tolist() == ["random", "random", "best single note"]  # which draws nothing
    assert twice["seed"].tolist() == [0, 1, 0]
    assert twice["distance"][:2].nunique() == 2
    scores = methods.set_index("method")["score"]
    assert scores["ours"] <= min(scores["best single note"], scores["pursuit"]) + 1e-6
    assert methods.set_index("method").loc["best single note", ["notes", "evaluations"]].tolist() == [1, 73]
    assert scores["ours"] <= scores["network only"]
    budgets = compare_budgets(targets, tiny_library, "Fl Vn", measure, budgets=(0.05, 0.1), seeds=(0, 1))
    assert budgets["method"].tolist() == 2 * ["plain genetic", "plain genetic", "ours", "ours"]
    assert budgets["seed"].tolist() == 4 * [0, 1]
    assert (budgets["seconds"] < 5).all()
    cost = cost_of_search(tiny_library, targets["car horn"], measure, sizes=(50, 300), orchestras=(2,), evaluations=500)
    assert cost["library"].tolist() == [50, 300]
    assert cost["megabytes"].iloc[1] == pytest.approx(cost["megabytes"].iloc[0] * 301 / 51)
    verdicts = {"partials": pd.DataFrame({"single": [0.9], "all": [0.8], "cases": [10]}, index=["all N"])}
    audio = sound_of(methods, tiny_library, "Fl Vn", target="car horn", measure="partials", method="ours")
    expected = methods.set_index("method").loc["ours", "distance"]
    assert float(measure(targets["car horn"], torch.from_numpy(audio)[None])[0]) == pytest.approx(expected, rel=1e-3)
    methods = pd.concat([methods, methods[methods["method"] == "ours"].assign(method="plain genetic")])
    beside = pd.DataFrame([{"target": "car horn", "measure": "log-mel", "ours": 0.5, "single": 0.75, "notes": 3}])
    table = tidy_trials(
        "09_comparing_searches", data="tiny", profile="quick", device="CPU", methods=methods, verdicts=verdicts,
        recovery={"in the library": found}, budgets=budgets, cost=cost, beside=beside,
    )  # fmt: skip
    assert table.loc[table["quantity"] == "independent", "value"].tolist() == [0.5, 0.75]
    table.to_csv(tmp_path / "09_comparing_searches.csv", index=False)
    (picture,) = gallery.redraw(["09_comparing_searches"], tmp_path)
    assert picture.stat().st_size > 10_000


def test_wins_and_ties_are_counted_apart():
    rows = [("a", "x", 1.0, 0.9), ("a", "y", 1.0, 1.0), ("a", "z", 1.0, 1.2), ("b", "x", 2.0, 1.0)]
    methods = pd.DataFrame(
        [
            {"measure": m, "target": t, "method": name, "distance": d}
            for m, t, plain, ours in rows
            for name, d in (("plain genetic", plain), ("ours", ours))
        ]
    )
    assert won(methods).loc["a"].tolist() == [1, 1, 1]
    assert won(methods).loc["b"].tolist() == [1, 0, 0]
    assert METHODS["ours"][1] * 10 == 150_000


def test_wins_are_counted_in_the_mean_over_seeds():
    distances = {"plain genetic": (1.0, 1.0, 1.0), "ours": (0.7, 0.9, 1.3)}  # two of three, yet nearer on average
    methods = pd.DataFrame(
        [
            {"measure": "a", "target": "x", "method": name, "seed": seed, "distance": d}
            for name, each in distances.items()
            for seed, d in enumerate(each)
        ]
    )
    assert won(methods).loc["a"].tolist() == [1, 0, 0]
    assert won(methods[methods["seed"] == 2]).loc["a"].tolist() == [0, 0, 1]


def test_evidence_helps_the_true_notes(tiny_library, pools, cache):
    """Of a network that is right about everything: alone it lets the true notes win, whatever the distance says."""
    classes, parts = pools
    cases = make_cases(tiny_library, classes, parts, sizes=(2,), count=6)

    class Oracle:
        sample_rate = tiny_library.sample_rate
        model = type("Model", (), {"classes": classes})
        calibration = type("Calibration", (), {"probabilities": staticmethod(torch.sigmoid)})
        targets = iter(cases[0].targets())

        def logits(self, sounds):
            return 12 * next(self.targets)[None] - 6

    shares = verdict(judge(INDIFFERENT, cases, parts.train, recognizer=Oracle())).loc["all N"]
    assert shares["all"] == 1
    nothing = verdict(judge(INDIFFERENT, cases, parts.train)).loc["all N"]
    assert nothing["all"] == 0


def test_recorded_targets_are_cut_and_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPORCH_TARGETS_ROOT", raising=False)
    assert recorded_targets() == {}
    tone = np.sin(np.arange(3 * 44_100) / 10)
    for name in ("guitar_A3_long.wav", "gong__loud.wav"):
        soundfile.write(tmp_path / name, tone, 44_100)
    found = recorded_targets(tmp_path, seconds=1.0)
    assert list(found) == ["gong", "guitar A3"]
    assert all(len(sound) == 44_100 and sound[-1] == 0 for sound in found.values())


def test_synthetic_targets_are_alike_and_repeat():
    first, second = synthetic_targets(0.5), synthetic_targets(0.5)
    assert len(first) == 10
    for name, sound in first.items():
        assert torch.equal(sound, second[name])
        assert len(sound) == 22_050
        assert float(sound.abs().max()) == pytest.approx(0.5, abs=0.05)


def test_varied_targets_are_held_or_die_away_and_some_are_kept_for_testing():
    found, again = varied_targets(), varied_targets()
    assert set(found) - set(CHOSEN_ON) == {"gong 80 Hz", "multiphonic A#3", "voice i", "wind", "motor"}
    assert all(torch.equal(sound, again[name]) for name, sound in found.items())
    power = {name: np.abs(np.fft.rfft(sound.numpy())) ** 2 for name, sound in found.items()}
    centroids = {name: (p @ np.fft.rfftfreq(len(found[name]), 1 / 44_100)) / p.sum() for name, p in power.items()}
    assert centroids["glass A5"] == pytest.approx(950, abs=80)  # nearly its lowest partial, 880 Hz
    assert 500 < centroids["wind"] < 3000
