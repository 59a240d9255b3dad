from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pandas as pd
import pytest
import torch
from tones import harmonic_tone

from deeporch.features.cached import CachedFeatures
from deeporch.features.mel import Mel
from deeporch.features.registry import get_features
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.notes.library import NoteLibrary

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def mixtures(tiny_library):
    return Mixtures(tiny_library, Classes(tiny_library, by="note"), n=3, size=12, seed=4, gain_db=(-12, 0))


def reference(audio, mel):
    """Return librosa's mel spectrograms [batch, bands, frames] of audio cut or padded to the window."""
    out = []
    for signal in audio.double().numpy():
        signal = np.pad(signal[: mel.samples], (0, max(0, mel.samples - len(signal))))
        out.append(
            librosa.feature.melspectrogram(
                y=signal, sr=mel.sample_rate, n_fft=mel.n_fft, hop_length=mel.hop, n_mels=mel.n_mels
            )
        )
    return np.stack(out)


def signals(kind, mixtures, samples=65_024):
    generator = np.random.default_rng(0)
    time = np.arange(samples) / 44_100
    if kind == "mixtures":
        return mixtures.batch(range(5))[0]
    if kind == "noise":
        audio = generator.normal(0, 0.2, (5, samples))
    elif kind == "tones":
        audio = np.stack([np.sin(2 * np.pi * hertz * time) for hertz in (30, 440, 1234.5, 9000, 21_000)])
    else:  # one click each: every frequency, at one time
        audio = np.zeros((3, samples))
        audio[[0, 1, 2], [0, samples // 2, samples - 1]] = 1
    return torch.from_numpy(audio.astype(np.float32))


@pytest.mark.parametrize("when", [{}, {"onset": 0.6}, {"window": "random"}])
def test_frames_that_hear_nothing_are_zero_as_computed(when, tiny_library):
    late = Mixtures(tiny_library, Classes(tiny_library), n=2, size=20, seed=1, **when)
    mel = Mel()
    found = mel.of(late, range(20))
    torch.testing.assert_close(found, mel(late.audio(range(20))), rtol=0, atol=0)
    silent = (found[:, 0] == 0).all(1).sum(1)
    assert silent.min() == 0 or when == {}
    assert silent.max() > 20, "the shortest sounds 0.5 s of 1.47"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["noise", "tones", "clicks", "mixtures"])
def test_mel_equals_librosa(kind, device, mixtures):
    mel = Mel()
    audio = signals(kind, mixtures)
    found = mel(audio.to(device)).cpu()
    assert found.dtype == torch.float32
    assert found.shape == (len(audio), 1, 128, 128)
    for ours, theirs in zip(found[:, 0].numpy(), reference(audio, mel), strict=True):
        assert theirs.max() > 0
        assert np.abs(ours - theirs).max() < 1e-4 * theirs.max()
        loud = theirs > 1e-3 * theirs.max()  # cell by cell, too: not only below the loudest
        assert np.abs(ours[loud] / theirs[loud] - 1).max() < 1e-3


@pytest.mark.parametrize(
    "mel",
    [
        Mel(n_mels=64, frames=64),
        Mel(n_mels=40, n_fft=1024, hop=300, frames=50),
        Mel(n_mels=80, sample_rate=22_050),
        Mel(n_mels=5, frames=2),
    ],
    ids=str,
)
def test_other_sizes_equal_librosa(mel, mixtures):
    audio = signals("mixtures", mixtures)
    found = mel(audio)
    assert tuple(found.shape[1:]) == mel.shape == (1, mel.n_mels, mel.frames)
    theirs = reference(audio, mel)
    assert np.abs(found[:, 0].numpy() - theirs).max() < 1e-4 * theirs.max()


@pytest.mark.parametrize("samples", [1, 500, 20_000, 65_023, 65_025, 200_000])
def test_short_audio_is_padded_and_long_audio_cut(samples, mixtures):
    mel = Mel()
    audio = signals("noise", mixtures, samples)
    theirs = reference(audio, mel)
    found = mel(audio)
    assert found.shape == (5, 1, 128, 128)
    assert np.abs(found[:, 0].numpy() - theirs).max() < 1e-4 * theirs.max()


def test_log_scale_equals_librosas_decibels(mixtures):
    audio = torch.cat([signals("mixtures", mixtures), torch.zeros(1, 65_024)])
    decibels = librosa.power_to_db(reference(audio, Mel()), ref=1.0, amin=1e-10, top_db=None)
    found = Mel(scale="log")(audio)[:, 0].numpy()
    heard = decibels > -60
    np.testing.assert_allclose(found[heard], 1 + decibels[heard] / 100, atol=1e-3)
    np.testing.assert_allclose(found, 1 + decibels / 100, atol=0.03)  # float32 below −60 dB
    assert (found[-1] == 0).all(), "silence is 0"


def test_a_batch_is_its_rows(mixtures):
    mel = Mel()
    audio = mixtures.batch(range(7))[0]
    rows = torch.cat([mel(audio[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(mel(audio), rows, atol=1e-6 * rows.max().item(), rtol=1e-5)
    torch.testing.assert_close(mel.of(mixtures, [5, 2]), rows[[5, 2]], atol=1e-6 * rows.max().item(), rtol=1e-5)
    assert torch.equal(mel.of(mixtures, iter([5, 2])), mel.of(mixtures, torch.tensor([5, 2])))
    torch.testing.assert_close(mel(audio.half()), mel(audio.half().float()))


def test_calls_share_no_memory(mixtures):
    """By calls of any mode, size and thread: each gets its own pictures, however the calls follow one another."""
    mel, small = Mel(), Mel(n_mels=32, n_fft=1024, hop=300, frames=20)
    audio = torch.cat([signals("noise", mixtures), 3 * signals("tones", mixtures)])
    expected = {features: torch.from_numpy(reference(audio, features)) for features in (mel, small)}

    def check(features, rows):
        found = features(audio[rows])[:, 0]
        assert (found - expected[features][rows]).abs().max() < 1e-4 * expected[features][rows].max()
        return found

    with torch.inference_mode():
        check(small, [0])
        check(mel, [1, 2, 3])
    first = check(mel, [4, 5])
    kept = first.clone()
    check(small, [6])
    check(mel, [7, 8, 9])
    assert torch.equal(first, kept), "a result is not overwritten by the next call"
    rows = [[i, (i + 1) % 10] for i in range(10)] * 4
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda pair: check(mel, pair), rows))) == 40


def test_names():
    assert get_features("mel128") == Mel()
    assert get_features("logmel128") == Mel(scale="log")
    own = Mel(n_mels=32)
    assert get_features(own) is own
    assert Mel().samples == 65_024


def test_one_sentence_for_each_mistake(mixtures):
    with pytest.raises(ValueError, match="Unknown features 'mel12': did you mean 'mel128'"):
        get_features("mel12")
    with pytest.raises(ValueError, match=r"Unknown mel scale 'db'\. Known: power, log"):
        Mel(scale="db")
    for sizes, sentence in (
        ({"n_mels": 0}, "n_mels of Mel must be at least 1, but is 0"),
        ({"hop": -1}, "hop of Mel must be at least 1, but is -1"),
        ({"n_fft": 1023}, "an even n_fft and 2 or more frames, but got 1023 and 128"),
        ({"frames": 1}, "2 or more frames, but got 2048 and 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Mel(**sizes)
    with pytest.raises(ValueError, match=r"audio of shape \[batch, samples\], but got \[65024\]"):
        Mel()(torch.zeros(65_024))
    with pytest.raises(ValueError, match="for 22050 Hz, but the library 'tiny' has 44100 Hz"):
        Mel(sample_rate=22_050).of(mixtures, [0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("limit_gb", [4.0, 0.0], ids=["kept", "too large to keep"])
def test_cached_features_equal_fresh_ones(mixtures, limit_gb, device):
    mel = Mel(n_mels=32, frames=32, scale="log")
    cached = CachedFeatures(mixtures, mel, limit_gb=limit_gb, device=device)
    assert (cached.store is not None) == (limit_gb > 0)
    assert len(cached) == 12
    every, targets = mel.of(mixtures, range(12), device=device), mixtures.targets().to(device)
    for which in ([3, 1, 4], [1, 5, 3, 3], list(range(12)), [11]):  # in part known already
        x, target = cached.batch(torch.tensor(which))
        torch.testing.assert_close(x, every[which], atol=1e-6, rtol=1e-5)
        assert torch.equal(target, targets[which])


def test_kept_features_are_not_computed_twice(mixtures, monkeypatch):
    mel = Mel(n_mels=32, frames=32)
    asked = []
    monkeypatch.setattr(Mel, "of", lambda self, mixtures, which, **_: (asked.extend(which.tolist()), self_of(which))[1])
    self_of = lambda which: torch.zeros(len(which), 1, 32, 32)  # noqa: E731
    cached = CachedFeatures(mixtures, mel)
    for which in ([0, 1, 2], [2, 3], [0, 3]):
        cached.batch(torch.tensor(which))
    assert asked == [0, 1, 2, 3]
    uncached = CachedFeatures(mixtures, mel, limit_gb=0)
    uncached.batch(torch.tensor([0, 1]))
    uncached.batch(torch.tensor([1]))
    assert asked[4:] == [0, 1, 1]


def test_a_library_of_another_rate_needs_its_own_mel():
    tones = [harmonic_tone(60 + i, [1, 0.5], 0.4, sample_rate=22_050) for i in range(3)]
    table = pd.DataFrame({"instrument": ["Fl", "Ob", "Vn"], "midi": [60, 61, 62]})
    notes = NoteLibrary.from_audio(table, tones, sample_rate=22_050)
    mixtures = Mixtures(notes, Classes(notes), n=2, size=3)
    mel = Mel(sample_rate=22_050)
    theirs = reference(mixtures.batch([0, 1, 2])[0], mel)
    assert np.abs(mel.of(mixtures, [0, 1, 2])[:, 0].numpy() - theirs).max() < 1e-4 * theirs.max()
