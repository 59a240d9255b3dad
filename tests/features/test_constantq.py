"""ConstantQ: mixed note frames against librosa's transform of the summed audio."""

import warnings

import librosa
import numpy as np
import pytest
import torch

import deeporch as do
from deeporch.features import constantq
from deeporch.features.constantq import ConstantQ

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Keep all of these tests' notes in one cache folder of their own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DEEPORCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def some(tiny_library):
    """Every seventh of the tiny library's notes: all instruments, pitches and dynamics."""
    return tiny_library.take(range(0, len(tiny_library), 7))


@pytest.fixture(scope="module")
def classes(some):
    return do.Classes(some)


def librosa_frames(audio, bins_per_octave, frames):
    """Return librosa's transform of one signal, complex [frames, bins], written out anew."""
    spectrum = librosa.cqt(
        audio, sr=44_100, hop_length=1024, fmin=librosa.note_to_hz("A0"), n_bins=9 * bins_per_octave,
        bins_per_octave=bins_per_octave,
    )  # fmt: skip
    return spectrum.T[:frames]


def worst(ours, theirs):
    """Return the largest difference, relative to the largest value."""
    ours = torch.view_as_complex(ours.contiguous()).numpy()
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("bins_per_octave", [24, 36])
def test_a_mixture_is_the_transform_of_its_summed_audio(own_cache, some, classes, bins_per_octave):
    features = ConstantQ(bins_per_octave=bins_per_octave)
    mixtures = do.Mixtures(some, classes, n=5, size=20, gain_db=(-20, 10), seed=3)
    mixed = features.mix(mixtures, range(4))
    assert mixed.shape == (4, 64, 9 * bins_per_octave, 2)
    for ours, audio in zip(mixed, mixtures.batch(range(4))[0].numpy(), strict=True):
        assert worst(ours, librosa_frames(audio, bins_per_octave, 64)) < 1e-3


def whole_sound(mixtures, i):
    """Return the sum of a mixture's whole notes, moved by whole frames, after 100 frames of silence."""
    audio = np.zeros(300_000, dtype=np.float32)
    for row, start in zip(mixtures.indices[i].tolist(), mixtures.starts[i].tolist(), strict=True):
        begin = 100 * 1024 - round(start / 1024) * 1024
        note = mixtures.notes.audio[row, : int(mixtures.notes.lengths[row])].float().numpy()
        audio[begin : begin + len(note)] += note / mixtures.n
    return audio


@pytest.mark.parametrize("options", [{"n": 3, "onset": 0.7}, {"n": 2, "window": "random", "samples": 15_872}])
def test_late_or_random_starts_are_whole_frames_of_the_whole_sound(own_cache, some, classes, options):
    features = ConstantQ(frames=64 if "onset" in options else 16)
    mixtures = do.Mixtures(some, classes, size=20, seed=5, **options)
    assert (mixtures.starts[:4] != 0).sum() >= 4
    for i, mixed in enumerate(features.mix(mixtures, range(4))):
        expected = librosa_frames(whole_sound(mixtures, i), 24, 100 + features.frames)[100:]
        assert worst(mixed, expected) < 1e-3


def test_features_are_decibels_below_the_maximum_at_any_level(own_cache, some, classes):
    features = ConstantQ()
    mixtures = do.Mixtures(some, classes, n=5, size=20)
    audio, _ = mixtures.batch(range(3))
    pictures = features(audio)
    assert pictures.shape == (3, *features.shape)
    for picture, signal in zip(pictures, audio.numpy(), strict=True):
        magnitude = np.abs(librosa_frames(signal, 24, 64)).T
        expected = librosa.amplitude_to_db(magnitude, ref=np.max, top_db=80) / 80 + 1
        np.testing.assert_allclose(picture[0].numpy(), expected, atol=1e-4)
    torch.testing.assert_close(features(audio * 0.003), pictures, atol=1e-3, rtol=0)
    # −60 dB bins carry the float16 rounding of louder notes: half a decibel of 80 at the most
    torch.testing.assert_close(features.of(mixtures, range(3)), pictures, atol=0.01, rtol=0)


def test_colour_multiplies_each_notes_bins(own_cache, some, classes):
    features = ConstantQ()
    mixtures = do.Mixtures(some, classes, n=2, size=20)
    colour = torch.rand(4, 2, features.bins) + 0.5
    alone = []
    for k in range(2):
        only = torch.zeros(4, 2, features.bins)
        only[:, k] = 1
        alone.append(features.mix(mixtures, range(4), colour=only))
    expected = sum(part * colour[:, k, None, :, None] for k, part in enumerate(alone))
    torch.testing.assert_close(features.mix(mixtures, range(4), colour=colour), expected)
    torch.testing.assert_close(features.mix(mixtures, range(4)), sum(alone), rtol=1e-4, atol=1e-6)


def test_notes_one_by_one_equal_all_at_once(own_cache, some, classes):
    """Moved, drawn out and exchanged notes: the way through the cache against the way of GPUs, which colours take."""
    features, same = ConstantQ(), torch.ones(4, 2, 216)
    mixtures = do.Mixtures(some, classes, n=2, size=20, gain_db=(-6, 0))
    moved = torch.tensor([[3, -2], [0, 5], [-7, 0], [-1, -1]])
    stretch = torch.tensor([[1.0, 0.5], [2.0, 1.0], [1.5, 0.7], [1.0, 1.0]])
    rows = (mixtures.indices[:4].long() + 1) % len(some)
    for options in ({"moved": moved}, {"stretch": stretch}, {"moved": moved, "stretch": stretch, "rows": rows}):
        expected = features.mix(mixtures, range(4), colour=same, **options)
        torch.testing.assert_close(features.mix(mixtures, range(4), **options), expected, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(expected, features.mix(mixtures, range(4)), atol=1e-3)


def test_short_audio_is_padded_silence_is_zero_and_wrong_shapes_are_named():
    features = ConstantQ()
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(20_000) / 44_100)
    padded = torch.nn.functional.pad(tone, (0, 100_000))
    torch.testing.assert_close(features(tone[None]), features(padded[None]))
    assert int(features(tone[None])[0, 0, :, 5].argmax()) == 4 * 24  # A4 is four octaves above A0
    assert features(torch.zeros(1, 1000)).abs().max() == 0
    with pytest.raises(ValueError, match=r"\[batch, samples\], but got \[20000\]"):
        features(tone)
    with pytest.raises(ValueError, match="multiple of 12, but is 20"):
        ConstantQ(bins_per_octave=20)
    with pytest.raises(ValueError, match="multiple of 256 for 9 octaves, but is 100"):
        ConstantQ(hop=100)
    for wrong in ({"floor_db": 0}, {"frames": 0}):
        with pytest.raises(ValueError, match="floor_db must be below 0 and frames ≥ 1, but are"):
            ConstantQ(**wrong)


def test_the_cache_is_made_once_and_read_back(own_cache, tiny_library, monkeypatch):
    few = tiny_library.take(range(5))
    features = ConstantQ(frames=32)
    first = features.notes(few)
    assert first.values.dtype == torch.float16
    assert first.values.shape == (5 * 32, 216, 2)
    monkeypatch.setattr(constantq, "_OPEN", {})
    monkeypatch.setattr(ConstantQ, "transform", lambda *_: pytest.fail("transformed twice"))
    torch.testing.assert_close(features.notes(few).values, first.values)


def test_damaged_filters_are_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPORCH_CACHE", str(tmp_path))
    features, sound = ConstantQ(frames=4, bins_per_octave=12), torch.rand(1, 9000, generator=torch.manual_seed(0))
    constantq._filters.cache_clear()
    expected = features(sound)
    [path] = tmp_path.rglob("filters-*.npz")
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:-1], whole[:middle] + b"xyz" + whole[middle + 3 :], b"", b"nothing"):
        path.write_bytes(damaged)
        constantq._filters.cache_clear()
        assert torch.equal(features(sound), expected)
        assert path.read_bytes() == whole
    constantq._filters.cache_clear()


def test_no_warning_reaches_the_user():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ConstantQ()(torch.rand(2, 5000))


def test_registered_by_name():
    assert do.get_features("cqt24") == ConstantQ()
    assert do.get_features("cqt36").shape == (1, 324, 64)


def test_libraries_of_one_name_and_other_notes_have_caches_of_their_own(own_cache, tiny_library):
    """By their key: the name is only what people see."""
    features = ConstantQ(frames=16)
    parts = [tiny_library.take(range(start, start + 3)) for start in (0, 100)]
    assert parts[0].name == parts[1].name
    first, second = (features.notes(part).values.clone() for part in parts)
    assert not torch.equal(first, second)
    for part, values in zip(parts, (first, second), strict=True):
        assert torch.equal(ConstantQ(frames=16).notes(part).values, values)


def test_the_lead_covers_half_the_longest_filter():
    for bins_per_octave in (12, 24, 36):
        features = ConstantQ(bins_per_octave=bins_per_octave)
        ratio = 4 ** (1 / bins_per_octave)
        lengths, _ = librosa.filters.wavelet_lengths(
            freqs=[27.5], sr=44_100, window="hann", filter_scale=1, gamma=0, alpha=(ratio - 1) / (ratio + 1)
        )
        half = lengths[0] / 2 / features.hop
        assert half + 1 <= features.lead <= half + 4
