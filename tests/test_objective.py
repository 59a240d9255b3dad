"""The validation of distances, recovery and the comparison of methods, on notes made up so that answers are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from deeporch import plots
from deeporch.distances import DISTANCES
from deeporch.mixtures import Classes, split
from deeporch.objective import ALTERNATIVES, judge, make_cases, verdict
from deeporch.synthetic import synthetic_targets
from deeporch.trials import compare_methods, cost_of_search, recover, tidy_trials


@pytest.fixture(scope="module")
def pools(tiny_library):
    classes = Classes(tiny_library, by="note")
    return classes, split(tiny_library, classes, by="recording", test=0.34, seed=0)


def test_true_notes_win_under_the_default_and_not_under_the_follow_ups(tiny_library, pools, cache):
    classes, parts = pools
    cases = make_cases(tiny_library, classes, parts, sizes=(2, 3), count=24)
    assert [len(each) for each in cases] == [12, 12]
    assert all(set(each.indices.flatten().tolist()) <= set(parts.test.tolist()) for each in cases)
    ours, theirs = (verdict(judge(DISTANCES[n], cases, parts.train)) for n in ("partials", "asymmetric_excess"))
    assert list(ours.columns) == [*ALTERNATIVES, "all"]
    assert ours.loc["all N", "single"] >= 0.9
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


def test_recovery_compares_methods_cost_and_figure(tiny_library, pools, cache, tmp_path):
    classes, parts = pools
    measure = DISTANCES["partials"]
    found = recover(tiny_library, classes, parts.train, parts.train, measure, sizes=(1, 2), count=4, evaluations=2000)
    assert found.loc[found["n"] == 1, "recall"].mean() == 1
    assert (found["pitch_recall"] >= found["recall"]).all()
    targets = {name: sound for name, sound in synthetic_targets(1.0).items() if name == "car horn"}
    methods = compare_methods(
        targets, tiny_library, "Fl Vn", [measure], methods=("best single note", "orthogonal pursuit", "pursuit", "ours")
    )
    scores = methods.set_index("method")["score"]
    assert scores["ours"] <= min(scores["best single note"], scores["pursuit"]) + 1e-6
    assert methods.set_index("method").loc["best single note", ["notes", "evaluations"]].tolist() == [1, 72]
    cost = cost_of_search(tiny_library, targets["car horn"], measure, sizes=(50, 300), orchestras=(2,), evaluations=500)
    assert cost["library"].tolist() == [50, 300]
    assert cost["megabytes"].iloc[1] == pytest.approx(cost["megabytes"].iloc[0] * 301 / 51)
    verdicts = {"partials": pd.DataFrame({"single": [0.9], "all": [0.8]}, index=["all N"])}
    methods = pd.concat([methods, methods[methods["method"] == "ours"].assign(method="plain genetic")])
    table = tidy_trials(
        "08_orchestrate_a_target", data="tiny", profile="quick", device="CPU", methods=methods, verdicts=verdicts,
        recovery={"in the library": found}, cost=cost,
    )  # fmt: skip
    table.to_csv(tmp_path / "08_orchestrate_a_target.csv", index=False)
    (picture,) = plots.redraw(["08_orchestrate_a_target"], tmp_path)
    assert picture.stat().st_size > 10_000


def test_synthetic_targets_are_alike_and_repeat():
    first, second = synthetic_targets(0.5), synthetic_targets(0.5)
    assert len(first) == 10
    for name, sound in first.items():
        assert torch.equal(sound, second[name])
        assert len(sound) == 22_050
        assert float(sound.abs().max()) == pytest.approx(0.5, abs=0.05)
