"""Sound as it comes: lengths, types, channels and rates against what was put in."""

import io

import numpy as np
import pytest
import soundfile
import torch
from tones import harmonic_tone

from deeporch.util.audio import as_float, check_rate, decode, read_sound, to_mono, write_sound

RATE = 44_100
TONE = harmonic_tone(69, [1, 0.5], 0.4)


@pytest.mark.parametrize("length", [bytes(4), b"\xff" * 4], ids=["unknown", "absurd"])
def test_a_flac_whose_header_states_no_true_length(tmp_path, length):
    soundfile.write(tmp_path / "a.flac", TONE, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] = (data[21] & 0xF0) | (0x0F if length[0] else 0)
    data[22:26] = length
    (tmp_path / "b.flac").write_bytes(data)
    whole, streamed = decode(tmp_path / "a.flac"), decode(tmp_path / "b.flac")
    assert whole[1] == streamed[1] == RATE
    np.testing.assert_array_equal(whole[0], streamed[0])
    assert streamed[0].shape == (len(TONE), 1)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.int8])
def test_integers_are_scaled_to_full_scale_and_bytes_centred(kind):
    half = 2.0 ** (8 * np.dtype(kind).itemsize - 1)
    stored = (TONE * (half - 1) + half * (kind == np.uint8)).round().astype(kind)
    np.testing.assert_allclose(as_float(stored), TONE, atol=1.5 / min(half, 30_000))
    assert as_float(TONE.astype(float)).dtype == np.float32


def test_whole_numbers_of_no_known_scale_are_refused():
    for audio in ([0, 1000, -1000], np.arange(9), np.ones(9, bool), np.ones(9, complex)):
        with pytest.raises(ValueError, match="whose full scale is not known: give floats from -1 to 1, or int16"):
            as_float(audio)
    with pytest.raises(ValueError, match="is no array of numbers"):
        as_float([[1.0], [1.0, 2.0]])
    assert as_float(torch.ones(3, dtype=torch.bfloat16)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_any_number_of_channels_in_either_order(channels):
    audio = np.stack([TONE * (k + 1) / channels for k in range(channels)], 1)
    expected = read_sound(audio.mean(1), RATE, RATE)
    torch.testing.assert_close(read_sound(audio, RATE, RATE), expected)
    torch.testing.assert_close(read_sound(audio.T, RATE, RATE), expected)


def test_channels_in_opposite_phase_do_not_cancel():
    pair = np.stack([0.5 * TONE, -TONE], 1)
    np.testing.assert_array_equal(to_mono(np.stack([TONE, -TONE], 1)), TONE)
    np.testing.assert_allclose(to_mono(pair), pair.mean(1), atol=1e-7)  # half of it is left


@pytest.mark.parametrize("rate", [0, -1, 44.1, float("nan"), float("inf"), "44100", None, True, 1e9])
def test_impossible_rates_are_answered_at_once(rate):
    with pytest.raises(ValueError, match=r"must be a number from 1,000 to 1,000,000 Hz, but is .*"):
        read_sound(TONE, rate, RATE)
    with pytest.raises(ValueError, match="in Hz, not in kHz"):
        check_rate(44.1)


def test_bytes_files_and_open_files_are_one_sound(tmp_path, monkeypatch):
    write_sound(tmp_path / "a.wav", TONE, RATE)
    data = (tmp_path / "a.wav").read_bytes()
    expected = read_sound(tmp_path / "a.wav", None, RATE)
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in (data, bytearray(data), io.BytesIO(data), str(tmp_path / "a.wav"), "~/a.wav"):
        torch.testing.assert_close(read_sound(source, None, RATE), expected, rtol=0, atol=0)
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"


def test_what_is_no_sound_is_one_sentence(tmp_path):
    (tmp_path / "bad.raw").write_bytes(bytes(2000))
    (tmp_path / "bad.wav").write_bytes(b"RIFF" + bytes(60))
    for file in ("bad.raw", "bad.wav"):
        with pytest.raises(ValueError, match=rf"{file}' is no sound that can be read .*: give WAV, FLAC, OGG or MP3"):
            decode(tmp_path / file)
    with pytest.raises(FileNotFoundError, match="There is no sound file"):
        decode(tmp_path)
    with pytest.raises(ValueError, match="too short"):
        read_sound(np.ones(1), 1_000_000, 1_000)
