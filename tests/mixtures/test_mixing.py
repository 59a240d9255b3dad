"""Compiled mixing and mel spectrograms against numpy, and the threads that share the work."""

import threading

import librosa
import numpy as np
import pytest

from deeporch.features.constantq import ConstantQ
from deeporch.features.mel import Mel
from deeporch.mixtures import mixing
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures


def add(half, out, *, gain=1.0, start=0, length=None):
    lengths = np.array([half.shape[1] if length is None else length])
    mixing.mix(
        half.view(np.int16), lengths, np.array([0]), np.array([gain], np.float32), np.array([start]), out
    )  # fmt: skip
    return out


def test_every_half_precision_number_is_read_exactly():
    half = np.arange(65_536, dtype=np.uint16).view(np.float16)[None]
    found = add(half, np.zeros(65_536, np.float32))
    np.testing.assert_array_equal(found, half[0].astype(np.float32))
    assert np.isnan(found).sum() == 2 * 1023
    assert np.isinf(found).sum() == 2


@pytest.mark.parametrize("start", [0, 700, 2_999, 3_000, 5_000, -1, -1_500, -1_999, -2_000, -9_000])
def test_notes_begin_late_and_end_early(start):
    note = np.random.default_rng(0).normal(0, 0.3, (1, 4_000)).astype(np.float16)
    whole = np.zeros(20_000)
    whole[10_000 : 10_000 + 3_000] = 0.5 * note[0, :3_000].astype(float)
    found = add(note, np.ones(2_000, np.float32), gain=0.5, start=start, length=3_000)
    np.testing.assert_allclose(found, 1 + whole[10_000 + start : 12_000 + start], atol=1e-6)


@pytest.mark.parametrize("hop", [1, 512, 333, 2_048])
def test_mel_power_equals_a_double_precision_transform(hop):
    sound = np.random.default_rng(hop).normal(0, 0.3, mixing.N_FFT + 9 * hop).astype(np.float32)
    out = np.empty((10, 128), np.float32)
    mixing.mel_power(sound, hop, mixing.transform_constants(), mixing.mel_bands(44_100, 128), out)
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(float), mixing.N_FFT)[::hop]
    window = np.hanning(mixing.N_FFT + 1)[:-1]
    matrix = librosa.filters.mel(sr=44_100, n_fft=mixing.N_FFT, n_mels=128, dtype=np.float64)
    expected = np.abs(np.fft.rfft(frames * window)) ** 2 @ matrix.T
    np.testing.assert_allclose(out, expected, atol=1e-6 * expected.max(), rtol=1e-4)


def test_the_power_of_every_bin_the_first_and_the_last_included():
    sound = np.random.default_rng(0).normal(0.1, 0.3, mixing.N_FFT).astype(np.float32)
    each = np.arange(mixing.POINTS + 1)
    out, one = np.empty((1, len(each)), np.float32), np.ones(len(each), np.int64)
    mixing.mel_power(sound, 1, mixing.transform_constants(), (each, one, each, one.astype(np.float32)), out)
    expected = np.abs(np.fft.rfft(sound * np.hanning(mixing.N_FFT + 1)[:-1].astype(float))) ** 2
    np.testing.assert_allclose(out[0], expected, atol=1e-6 * expected.max(), rtol=1e-4)


@pytest.mark.parametrize(("count", "threads"), [(0, 2), (1, 4), (7, 1), (7, 2), (3, 8)])
def test_each_number_is_worked_on_once(count, threads):
    done, who = [], set()

    def work(share):
        who.add(threading.get_ident())
        done.extend(share)

    mixing.in_threads(work, count, threads)
    assert sorted(done) == list(range(count))
    assert threading.get_ident() in who
    assert len(who) <= threads


def test_what_goes_wrong_in_a_thread_is_raised():
    def work(share):
        if 1 in share:
            raise ValueError("the second share")

    with pytest.raises(ValueError, match="the second share"):
        mixing.in_threads(work, 4, 2)


def test_after_warming_up_nothing_is_compiled(tiny_library):
    mixing.warm_up()
    mixtures = Mixtures(tiny_library, Classes(tiny_library), n=2, size=4, gain_db=(-6, 0), onset=0.1)
    before = {name: len(each.signatures) for name, each in vars(mixing).items() if hasattr(each, "signatures")}
    Mel().of(mixtures, range(4))
    ConstantQ().of(mixtures, range(4))
    after = {name: len(each.signatures) for name, each in vars(mixing).items() if hasattr(each, "signatures")}
    assert len(before) == 10
    assert before == after
