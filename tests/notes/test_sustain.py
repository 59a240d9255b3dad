import numpy as np
import pytest
from tones import harmonic_tone

from deeporch.notes.instruments import INSTRUMENTS, holds
from deeporch.notes.sustain import held

RATE = 44_100


def level(sound, size=441):
    frames = sound[: len(sound) // size * size].reshape(-1, size)
    return 20 * np.log10(np.maximum(np.sqrt(np.square(frames).mean(1)), 1e-9))


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("midi", [28, 57, 93])
def test_a_tone_goes_on_for_as_long_as_is_asked(midi, seconds):
    tone = harmonic_tone(midi, [1, 0.6, 0.3], seconds)
    long = held(tone, 5 * RATE, RATE, 440 * 2 ** ((midi - 69) / 12))
    assert 5 * RATE <= len(long) <= 5.2 * RATE
    inside = level(long, 4410)[1:48]
    assert inside.min() > inside.max() - 4
    assert np.abs(np.diff(long)).max() < 1.1 * np.abs(np.diff(tone)).max()


def test_the_attack_and_the_end_are_those_of_the_recording():
    tone = harmonic_tone(60, [1, 0.5], 1.0)
    long = held(tone, 3 * RATE, RATE, 261.6)
    np.testing.assert_array_equal(long[: RATE // 20], tone[: RATE // 20])
    np.testing.assert_allclose(long[-1000:], tone[-1000:], atol=2e-4)
    assert np.array_equal(held(tone, 3 * RATE, RATE, 261.6), long), "always the same"
    assert not np.array_equal(held(tone, 3 * RATE, RATE, 261.6, seed=1), long)


def test_a_tone_that_fades_a_little_fades_as_much_and_never_into_silence():
    tone = harmonic_tone(69, [1, 0.5], 1.0) * np.geomspace(1, 0.5, RATE).astype(np.float32)
    loud = level(held(tone, 6 * RATE, RATE, 440))
    assert loud[20] - loud[550] == pytest.approx(6, abs=2)
    assert np.diff(loud[20:550]).min() > -1.5


def test_what_is_long_enough_or_too_short_comes_back():
    tone = harmonic_tone(69, [1], 1.0)
    for sound in (tone, tone[:300], np.zeros(1000, np.float32), tone[:0]):
        assert held(sound, len(sound), RATE, 440) is sound
    click = np.zeros(2000, np.float32)
    click[3] = 1
    assert held(click, RATE, RATE, 440) is click


def test_who_holds_a_tone():
    assert {name for name in INSTRUMENTS if not holds(name, "ord")} == {"Hp", "Gtr"}
    assert holds("Vn", "trem")
    assert holds("theremin", "")
    for technique in ("pizz", "pizz-bartok", "arco-staccato", "col-legno-battuto", "slap", "key-click"):
        assert not holds("Vc", technique)
