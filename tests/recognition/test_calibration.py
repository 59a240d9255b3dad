"""Scores for an unknown number of notes, against scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from deeporch.recognition.calibration import (
    Calibration,
    calibrate,
    expected_calibration_error,
    f1_scores,
    mean_average_precision,
    reliability,
    score_open,
)


@pytest.fixture
def case(generator):
    """Logits of 200 mixtures and 12 classes, two of which never occur, and targets drawn with other probabilities."""
    logits = 4 * torch.randn(200, 12, generator=generator) - 3
    targets = (torch.rand(200, 12, generator=generator) < torch.sigmoid(logits / 2.5 + 0.8)).float()
    targets[:, [3, 7]] = 0
    return logits, targets


def test_f1_as_sklearn(case):
    logits, targets = case
    chosen = logits > -1
    occurs = targets.any(0)
    micro, macro = f1_scores(chosen, targets)
    assert micro == pytest.approx(f1_score(targets, chosen, average="micro"), abs=1e-6)
    expected = f1_score(targets[:, occurs], chosen[:, occurs], average="macro")
    assert macro == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_mean_average_precision_as_sklearn(case, ties):
    logits, targets = case
    logits = logits.round() if ties else logits
    occurs = targets.any(0)
    expected = average_precision_score(targets[:, occurs], logits[:, occurs], average="macro")
    assert mean_average_precision(logits, targets) == pytest.approx(expected, abs=1e-6)


def test_reliability_as_sklearn_and_error_as_a_slow_sum(case):
    logits, targets = case
    p = torch.sigmoid(logits)
    table = reliability(p, targets, bins=10)
    share, mean = calibration_curve(targets.flatten().numpy(), p.flatten().numpy(), n_bins=10)
    np.testing.assert_allclose(table["share"], share, atol=1e-6)
    np.testing.assert_allclose(table["probability"], mean, atol=1e-6)
    pairs = [(float(a), float(b)) for a, b in zip(p.flatten(), targets.flatten(), strict=True) if a >= 0.01]
    error = 0.0
    for low in range(10):
        inside = [(a, b) for a, b in pairs if low <= a * 10 < low + 1]
        if inside:
            error += abs(sum(a for a, _ in inside) - sum(b for _, b in inside)) / len(pairs)
    assert expected_calibration_error(p, targets, bins=10) == pytest.approx(error, abs=1e-6)


def test_calibration_is_the_logistic_regression_of_the_logits(case):
    logits, targets = case
    found = calibrate(logits, targets)
    slow = LogisticRegression(C=1e9, tol=1e-10, solver="newton-cholesky")
    slow.fit(logits.reshape(-1, 1).double().numpy(), targets.flatten().numpy())
    assert 1 / found.temperature == pytest.approx(slow.coef_[0, 0], rel=1e-5)
    assert found.offset == pytest.approx(slow.intercept_[0], rel=1e-5)


def test_calibrated_probabilities_are_frequencies(generator):
    """Of targets drawn with sigmoid(logit / 2.5 + 0.8), which the raw logits overstate."""
    logits = 4 * torch.randn(3000, 12, generator=generator) - 3
    targets = (torch.rand(3000, 12, generator=generator) < torch.sigmoid(logits / 2.5 + 0.8)).float()
    found = calibrate(logits, targets)
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found.offset == pytest.approx(0.8, rel=0.1)
    before, after = (expected_calibration_error(c.probabilities(logits), targets) for c in (Calibration(), found))
    assert after < 0.02
    assert before > 0.1


def test_the_threshold_has_the_best_micro_f1(case):
    logits, targets = case
    found = calibrate(logits, targets)
    p = found.probabilities(logits)
    best = max(f1_scores(p >= threshold, targets)[0] for threshold in np.linspace(0.01, 0.99, 197))
    assert f1_scores(p >= found.threshold, targets)[0] >= best


def test_something_is_always_reported():
    logits = torch.tensor([[-9.0, -8, -7], [5, 6, -7]])
    assert Calibration().decide(logits).tolist() == [[False, False, True], [True, True, False]]


def test_open_scores_by_hand():
    logits = torch.tensor([[3.0, 2, -5, -5], [4, -5, -5, -5]])
    targets = torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0]])
    scores = score_open(logits, targets, Calibration())
    assert scores.micro_f1 == pytest.approx(2 * 3 / (3 + 4))
    assert scores.macro_f1 == pytest.approx((1 + 1 + 0) / 3)
    assert scores.count_error == 0.5
    assert scores.count_right == 0.5
    assert scores.mean_average_precision == pytest.approx((1 + 1 + 0.5) / 3)


def test_useless_input_is_named():
    with pytest.raises(ValueError, match="two equal, non-empty tables"):
        calibrate(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="all absent or all present"):
        calibrate(torch.zeros(2, 3), torch.zeros(2, 3))
