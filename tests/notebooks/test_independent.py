"""Measures that no search minimises, on sounds whose values are known."""

import numpy as np
import pandas as pd
import pytest
import torch
from experiments.independent import MEASURES, RATE, apart, compare, describe, roughness, verdict


def tone(hertz, seconds=1.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def test_measures_are_zero_of_the_same_and_know_pitch_noise_and_level():
    one = describe(tone(440.0))
    assert apart(one, describe(0.1 * tone(440.0))) == pytest.approx(dict.fromkeys(MEASURES, 0), abs=0.01)
    assert apart(one, describe(tone(880.0)))["centroid"] == pytest.approx(12, abs=0.1)
    noise = np.random.default_rng(0).normal(size=RATE)
    assert describe(noise)["flatness"] == pytest.approx(-0.3, abs=0.3)  # of a mean of 87 spectra
    assert describe(tone(440.0))["flatness"] < -40
    time = np.arange(round(1.5 * RATE)) / RATE
    fading = describe(tone(440.0) * 10 ** (-time))  # 20 dB a second: 15 dB at 0.75 s
    assert apart(one, fading)["level"] == pytest.approx(15, abs=1)


def test_roughness_is_vassilakis_of_two_tones_and_none_far_apart():
    s = 0.24 * 30 / (0.0207 * 440 + 18.96)
    expected = 0.5**0.1 * 0.5 * (2 * 0.5 / 1.5) ** 3.11 * (np.exp(-3.5 * s) - np.exp(-5.75 * s))
    assert roughness(tone(440.0) + 0.5 * tone(470.0)) == pytest.approx(expected, rel=0.1)  # up to a bin of 5 Hz
    assert roughness(tone(440.0) + 0.5 * tone(1470.0)) < 0.01 * expected
    assert roughness(tone(440.0)) == 0


def test_ours_and_the_best_single_note_are_compared(tiny_library, cache):
    rows = [0, 100]
    chord = tiny_library.audio[rows].float().sum(0)[:RATE]
    single = tiny_library.sound(100).float()[: round(0.6 * RATE)]
    found = compare({"chord": chord, "note": single}, tiny_library, "Fl Ob ClBb Hn Vn Vc", evaluations=1500)
    assert found["target"].tolist() == ["chord"] * 6 + ["note"] * 6
    assert (found.loc[found["target"] == "chord", "ours"] < found.loc[found["target"] == "chord", "single"]).sum() >= 3
    counts = verdict(found)
    assert counts["targets"].tolist() == [2] * 6
    assert list(counts.index) == list(MEASURES)


def test_a_verdict_counts_what_is_nearer():
    table = pd.DataFrame({"measure": ["a", "a", "b"], "ours": [1.0, 3.0, 2.0], "single": [2.0, 2.0, 2.0]})
    assert verdict(table).loc["a"].tolist() == [1, 2, 2.0, 2.0]
    assert verdict(table).loc["b", "nearer"] == 0


def test_torch_sounds_are_described_too():
    assert describe(torch.from_numpy(tone(440.0)).numpy())["centroid"] == pytest.approx(12 * np.log2(440), abs=0.1)
