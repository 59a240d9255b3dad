"""EarTest: mixtures of different instruments, answers, the running score by N, and its CSV."""

import re

import pandas as pd
import pytest

from deeporch.widgets.ear_test import EarTest

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


@pytest.fixture
def test(tiny_library, untrained):
    return EarTest(tiny_library, networks=[untrained], n=2, seed=3)


def instruments(test):
    return [instrument for instrument, _ in test.truth]


def test_no_instrument_plays_twice(test):
    for n in (1, 2, 3, 6):
        test.n = n
        for _ in range(5):
            test.next()
            assert len(set(instruments(test))) == len(test.truth) == n
    assert test.message.text == ""


def test_answers_count_by_n(test, untrained):
    expected = []
    for n in (2, 2, 3):
        test.n = n
        test.next()
        truth = instruments(test)
        ranked = list(dict.fromkeys(h.instrument for h in untrained.predict(test.audio, 44_100, n=72)))
        network = len(set(ranked[:n]) & set(truth))
        wrong = next(name for name in test.instruments if name not in truth)
        test.guess = (*truth[:-1], wrong)
        test.answer()
        assert test.message.text == ""
        expected.append((n, n - 1, network))
    table = test.table
    assert list(zip(table["n"], table["you"], table["network"], strict=True)) == expected
    score = test.score()
    assert score.loc[2, "rounds"] == 2
    assert score.loc[2, "you"] == pytest.approx(0.5)
    assert score.loc[3, "you"] == pytest.approx(2 / 3)
    assert score.loc[2, "network"] == pytest.approx((expected[0][2] + expected[1][2]) / 4)


def test_the_answer_is_hidden_until_it_is_given(test):
    names = [f"{pitch}" for _, pitch in test.truth]
    shown = test._player.value.split("src=")[0] + test._result.value
    assert not any(name in shown for name in names)
    test.guess = tuple(instruments(test))
    test.answer()
    assert test.answered
    assert all(name in test._result.value for name in names)
    rows = re.findall(r"<th>(.*?)</th>(.*?)</tr>", test._result.value)
    assert [who for who, _ in rows] == ["you", "network 1"]
    assert rows[0][1].count("✓") == 2
    assert rows[1][1].count("✓") == test.table["network"].iloc[0]
    assert "<td>100%</td>" in test._score.value


def test_what_is_missing_is_said_and_not_counted(test):
    test.guess = ("Fl",)
    test.answer()
    assert test.message.text == "There are 2 instruments: choose as many; you chose 1."
    test.guess = tuple(instruments(test))
    test.answer()
    test.answer()
    assert test.message.text == "This mixture is answered: take a new one."
    assert len(test.table) == 1
    test.n = 7
    assert "6 instruments with at most 1 each allow 6" in test.message.text


def test_without_a_network_you_play_alone(tiny_library, tmp_path):
    test = EarTest(tiny_library, networks=[])
    test.guess = tuple(instruments(test))
    test.answer()
    assert "No trained network is here" in test._result.value
    assert test.score().loc[2, "you"] == 1
    assert pd.isna(test.score().loc[2, "network"])
    assert "–" in test._score.value
    test.to_csv(tmp_path / "score.csv")
    table = pd.read_csv(tmp_path / "score.csv")
    assert table["you"].tolist() == [2]
    assert table["network"].isna().all()
    assert table["instruments"].iloc[0].split() == instruments(test)
    test._offer()
    assert 'download="ear_test.csv"' in test._saved.value
