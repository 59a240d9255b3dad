"""Distances against slow references written from their definitions, and the energies they see."""

from dataclasses import replace
from functools import partial

import librosa
import numpy as np
import pytest
import scipy.fft
import torch
from experiments.baselines import MULTI_RESOLUTION
from tones import harmonic_tone

from deeporch.orchestration.distances import DISTANCES, distance, get_distance, partials
from deeporch.orchestration.spectra import EDGES, Bands, Resolutions, Spectrum, covered, sustained

RATE = 44_100


@pytest.fixture(scope="module")
def sounds():
    """A target and two candidates, of different lengths and levels."""
    target = harmonic_tone(60, [1, 0.5, 0.3], 0.8, 0.4) + harmonic_tone(67, [1, 0.3], 0.8, 0.2)
    near = harmonic_tone(60, [1, 0.4, 0.4], 0.6, 0.1)
    far = harmonic_tone(73, [0.3, 1, 0.8, 0.5], 0.5, 0.7)
    return [torch.from_numpy(x) for x in (target, near, far)]


def padded(*sounds):
    length = max(map(len, sounds))
    return [np.pad(np.asarray(x, dtype=np.float64), (0, length - len(x))) for x in sounds]


def slow_asymmetric(target, sound, missing, excess):
    """Loop over all bins, as the definition in words says."""
    target, sound = padded(target, sound)
    n = 1
    while n < len(target):
        n *= 2
    t, s = (np.abs(np.fft.rfft(x, n)) for x in (target, sound))
    t, s = t / (t.max() * n), s / (s.max() * n)
    total = 0.0
    for a, b in zip(t, s, strict=True):
        total += missing * (a - b) if a >= b else excess * (b - a)
    return 1000 * total


def slow_bands(sound, bands):
    """Energy [slots, bands]: frame by frame, each frame shared out among the slots around its centre."""
    sound = np.asarray(sound, dtype=np.float64)
    seconds = len(sound) / RATE
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(bands.n_fft) / bands.n_fft)
    signal = np.pad(sound, bands.n_fft // 2)
    filters = bands.filters.toarray()
    slots, _ = covered(seconds)
    energy = np.zeros((slots, filters.shape[0]))
    for frame in range(1 + len(sound) // bands.hop):
        part = signal[frame * bands.hop : frame * bands.hop + bands.n_fft]
        power = np.abs(np.fft.rfft(part * window)) ** 2 / (window**2).sum()
        first, last = (frame - 0.5) * bands.hop / RATE, (frame + 0.5) * bands.hop / RATE
        for slot in range(slots):
            inside = min(last, EDGES[slot + 1], seconds) - max(first, EDGES[slot])
            energy[slot] += max(0.0, inside) * (filters @ power)
    return energy


def slow_decibels(energy, floor=-60):
    return np.maximum(10 * np.log10(np.maximum(energy, 1e-30) / energy.max()), floor)


@pytest.mark.parametrize(
    ("name", "missing", "excess"), [("asymmetric_excess", 0.5, 10), ("asymmetric_missing", 10, 0.5)]
)
def test_asymmetric_distances_are_the_published_ones(sounds, name, missing, excess):
    target, *candidates = sounds
    for sound in candidates:
        found = float(DISTANCES[name](target, sound[None])[0])
        assert found == pytest.approx(slow_asymmetric(target, sound, missing, excess), rel=1e-3)
        assert found > 0.1


def test_the_two_asymmetric_distances_differ_in_what_they_punish(sounds):
    target = sounds[0]
    part = torch.from_numpy(harmonic_tone(60, [1, 0.5, 0.3], 0.8, 0.4))  # what the target has, less one note
    excess, missing = (float(DISTANCES[f"asymmetric_{w}"](target, part[None])[0]) for w in ("excess", "missing"))
    assert missing > 2 * excess


def test_cosine_is_that_of_magnitude_spectra(sounds):
    target, near, far = padded(*sounds)
    for sound in (near, far):
        t, s = (np.abs(np.fft.rfft(x, 1 << 16)) for x in (target, sound))
        expected = 1 - (t @ s) / np.sqrt((t @ t) * (s @ s))
        found = DISTANCES["cosine"](sounds[0], torch.from_numpy(sound)[None].float())
        assert float(found[0]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["log_spectral", "mel", "framewise", "partials"])
def test_distances_of_bands_are_those_of_a_slow_reference(sounds, name):
    measure = DISTANCES[name]
    target, *candidates = padded(*sounds)
    t = slow_bands(target, measure.energy)
    for sound in candidates:
        s = slow_bands(sound, measure.energy)
        found = float(measure(sounds[0], torch.from_numpy(sound)[None].float())[0])
        assert found == pytest.approx(REFERENCES[name](t, s), rel=2e-3)


def reference_framewise(t, s):
    lengths = np.diff(EDGES)[: len(t)]
    levels = [slow_decibels(x / lengths[:, None]) for x in (t, s)]
    by_slot = [np.mean(np.abs(a - b)) for a, b in zip(*levels, strict=True)]
    return sum(length * value for length, value in zip(lengths, by_slot, strict=True)) / lengths.sum()


def reference_partials(t, s, group=12, power=0.125, around=1):
    """The definition by loops: eighth roots of energies, less the mean of five thirds of an octave, then the angle."""
    vectors = []
    for energy in (t, s):
        vector = []
        for stage in (energy[:1].sum(0), energy[1:].sum(0)):
            roots = stage**power
            thirds = [roots[i : i + group].mean() for i in range(0, len(roots), group)]
            for i, root in enumerate(roots):
                near = thirds[max(0, i // group - 2) : i // group + 3]
                vector.append(root - around * sum(near) / len(near))
        vectors.append(np.array(vector))
    t, s = vectors
    return 1 - (t @ s) / np.sqrt((t @ t) * (s @ s))


REFERENCES = {
    "log_spectral": lambda t, s: np.sqrt(np.mean((slow_decibels(t.sum(0)) - slow_decibels(s.sum(0))) ** 2)),
    "mel": lambda t, s: np.mean(np.abs(slow_decibels(t.sum(0)) - slow_decibels(s.sum(0)))),
    "framewise": reference_framewise,
    "partials": reference_partials,
}


def test_several_resolutions_are_the_weighted_mean_of_each(sounds):
    target, *candidates = padded(*sounds)
    for sound in candidates:
        angles = [
            reference_partials(slow_bands(target, part), slow_bands(sound, part), group)
            for part, group in zip(MULTI_RESOLUTION.energy.parts, (12, 4, 12), strict=True)
        ]
        found = float(MULTI_RESOLUTION(sounds[0], torch.from_numpy(sound)[None].float())[0])
        assert found == pytest.approx(np.average(angles, weights=(1, 0.5, 1)), rel=2e-3)


@pytest.mark.parametrize("seconds", [0.8, 1.4])  # with a rest after the first second, and without
def test_the_default_is_partials_loudness_and_level(sounds, seconds):
    measure = DISTANCES["combined"]
    target, *candidates = (np.resize(x, round(seconds * RATE)) for x in padded(*sounds))
    for sound in candidates:
        (fine, colour), (fines, colours) = (
            [slow_bands(x, part) for part in measure.energy.parts] for x in (target, sound)
        )
        colour, colours = (np.stack([x[:6].sum(0), x[6:].sum(0)]) for x in (colour, colours))  # first second and rest
        t, s = colour.ravel() ** 0.25, colours.ravel() ** 0.25
        loudness = 1 - (t @ s) / np.sqrt((t @ t) * (s @ s))
        level = np.mean(np.abs(slow_decibels(colour[0], -80) - slow_decibels(colours[0], -80)))
        found = float(measure(torch.from_numpy(target).float(), torch.from_numpy(sound)[None].float())[0])
        assert found == pytest.approx(reference_partials(fine, fines) + (loudness + level / 20) / 2, rel=2e-3)


def slow_aspects(target, sound):
    """Level, cepstrum, centroid and flatness of mel bands' energies, as shares of what counts as much."""
    hertz = librosa.mel_frequencies(130, fmin=0, fmax=RATE / 2)
    width = (hertz[2:] - hertz[:-2]) * (hertz[1:-1] > 60)
    decibels = [slow_decibels(x, -80) for x in (target, sound)]
    cepstra = [scipy.fft.dct(x, norm="ortho")[1:20] for x in decibels]
    centroids = [12 * np.log2(np.average(hertz[1:-1], weights=x * width)) for x in (target, sound)]
    flatness = [
        np.average(level, weights=width) - 10 * np.log10(np.average(x / x.max(), weights=width))
        for level, x in zip(decibels, (target, sound), strict=True)
    ]
    return np.array([
        np.abs(decibels[0] - decibels[1]).mean() / 20,
        np.linalg.norm(cepstra[0] - cepstra[1]) / 200,
        abs(centroids[0] - centroids[1]) / 12,
        abs(flatness[0] - flatness[1]) / 30,
    ])  # fmt: skip


def test_what_differs_as_much_as_from_single_notes_counts_more(sounds):
    measure = DISTANCES["combined"]
    samples = max(map(len, sounds))
    energies = [measure.energy(torch.from_numpy(np.resize(x, samples)).float()[None], samples / RATE) for x in sounds]
    target, *others = (measure.view(energy) for energy in energies)
    bands = [energy[0, :6, -128:].sum(0).double().numpy() for energy in energies]  # of mel, over the first second
    apart = np.stack([slow_aspects(bands[0], other) for other in bands[1:]])
    limit = np.maximum(0.8 * apart[apart[:, 0].argmin()], np.array([5.75, 51, 4.8, 4.1]) / [20, 200, 12, 30])
    limited = measure.limited(target[0], others)
    for other, one in zip(others, apart, strict=True):
        plain, more = (float(each.compare(target[0], other)[0]) for each in (measure, limited))
        beyond = 2 * np.clip(one - limit, 0, None)
        of_partials = float(partials(target[0, :, :-128], other[0, :, :-128]))
        assert more - plain == pytest.approx(of_partials * 4 * (beyond / (1 + beyond)).sum(), rel=1e-3)
        assert 0 < of_partials < 1
    nearer = 0.9 * target + 0.1 * others[0]
    assert float(limited.compare(target[0], nearer)[0]) == float(measure.compare(target[0], nearer)[0])
    assert DISTANCES["partials"].limited(target[0], others) is DISTANCES["partials"]


def test_held_notes_keep_their_power(cache):
    """A recording of 0.8 s held for 2 s has, in each slot, the power of what there is after the attack."""
    power = np.array([5.0, 1.0, 2.0, 3.0, 2.0])  # in slots up to 0.1, 0.2, 0.3, 0.5 and 0.75 s
    edges = np.array(EDGES[: 8 + 1])
    energy = torch.zeros(2, 8, 1)
    energy[:, :5, 0] = torch.from_numpy(power * np.diff(edges)[:5])
    held = sustained(energy, np.array([0.8, np.inf]), 2.0)
    mean = (power[1:4] * np.diff(edges)[1:4]).sum() / (edges[4] - edges[1])  # the last one may die away
    expected = [*(power * np.diff(edges)[:5])[:4], *(mean * np.diff(edges)[4:])]
    np.testing.assert_allclose(held[0, :, 0], expected, rtol=1e-5)
    assert torch.equal(held[1], energy[1])
    assert torch.equal(sustained(energy, np.array([2.0, 3.0]), 2.0), energy)


@pytest.mark.parametrize(
    ("options", "reference"),
    [({"roots": 1}, {"power": 0.5}), ({"around": False}, {"around": 0}), ({"group": 6}, {"group": 6})],
)
def test_each_part_of_partials_can_be_left_out(sounds, options, reference):
    measure = DISTANCES["partials"]
    target, near, _ = padded(*sounds)
    expected = reference_partials(*(slow_bands(x, measure.energy) for x in (target, near)), **reference)
    changed = replace(measure, compare=partial(partials, **options))
    found = float(changed(sounds[0], torch.from_numpy(near)[None].float())[0])
    assert found == pytest.approx(expected, rel=2e-3)
    assert found != pytest.approx(float(measure(sounds[0], torch.from_numpy(near)[None].float())[0]), rel=1e-2)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_sound_is_nothing_from_itself_at_any_level_and_nearer_to_the_nearer(sounds, name):
    target, near, far = sounds
    same, a, b = (float(DISTANCES[name](target, x[None])[0]) for x in (0.3 * target, near, far))
    assert same == pytest.approx(0, abs=2e-3)
    assert 0.01 < a < b


@pytest.mark.parametrize("name", DISTANCES)
def test_views_add_up_and_thousands_are_compared_as_one_by_one(sounds, name):
    measure = DISTANCES[name]
    views = measure.view(measure.energy(torch.stack([torch.from_numpy(x).float() for x in padded(*sounds)])))
    both = measure.compare(views[0], torch.stack([views[1], views[2], views[1] + views[2]]))
    single = [float(measure.compare(views[0], v[None])[0]) for v in (views[1], views[2], views[1] + views[2])]
    np.testing.assert_allclose(both.numpy(), single, rtol=1e-4)


def test_energies_of_notes_add_up_to_that_of_their_mixture(tiny_library):
    audio = tiny_library.audio[[3, 100]].float()
    for energy in (Bands(), Bands("mel", n_fft=2048, hop=1024), Spectrum()):
        total = energy(audio, 0.5).sum()
        assert float(energy(audio.sum(0, keepdim=True), 0.5).sum()) == pytest.approx(float(total), rel=0.05)


def test_energies_of_a_library_are_those_of_its_audio(tiny_library, cache):
    rows = np.array([5, 0, 215])
    audio = tiny_library.audio[torch.from_numpy(rows)]
    for energy, tolerance in ((Bands(), 3e-3), (Bands("mel", n_fft=2048, hop=1024), 3e-3), (Spectrum(), 1e-6)):
        expected = energy(audio, 1.5)
        found = energy.of_notes(tiny_library, 1.5, rows)
        assert float((found - expected).abs().max() / expected.max()) < tolerance
        again = energy.of_notes(tiny_library, 1.5, rows)  # from the cache
        assert torch.equal(found, again)


def test_a_slot_that_the_duration_cuts_keeps_its_part():
    slots, part = covered(0.4)
    assert slots == 4
    np.testing.assert_allclose(part.numpy(), [1, 1, 1, 0.5], atol=1e-6)


def test_retuned_energies_move_by_bands():
    bands = Bands()
    energy = torch.zeros(2, 1, 312)
    energy[:, 0, 100] = 1
    moved = bands.retuned(energy, np.array([100 / 3, -50.0]))
    assert moved[0, 0, 101] == pytest.approx(1, abs=1e-4)
    assert moved[1, 0, 98] == pytest.approx(0.5, abs=1e-4)
    assert moved[1, 0, 99] == pytest.approx(0.5, abs=1e-4)


def test_several_resolutions_are_bands_beside_each_other(tiny_library, cache):
    fine, coarse = Bands(), Bands(per_octave=12, high=10_340.0)
    both, rows, cents = Resolutions((fine, coarse)), np.array([5, 0]), np.array([50.0, -50.0])
    assert both.counts == [fine.filters.shape[0], coarse.filters.shape[0]]
    energy = both.of_notes(tiny_library, 1.0, rows)
    parts = [part.of_notes(tiny_library, 1.0, rows) for part in (fine, coarse)]
    assert torch.equal(energy, torch.cat(parts, -1))
    moved = [part.retuned(one, cents) for part, one in zip((fine, coarse), parts, strict=True)]
    assert torch.equal(both.retuned(energy, cents), torch.cat(moved, -1))
    assert not torch.equal(both.retuned(energy, cents), energy)


def test_distance_of_arrays_at_any_rate(sounds):
    target, near, _ = sounds
    found = distance(target.numpy(), near, RATE, name="mel")
    assert found == pytest.approx(float(DISTANCES["mel"](target, near[None])[0]), rel=0.05)


def test_an_unknown_distance_names_the_near_ones():
    with pytest.raises(ValueError, match=r"Unknown distance 'cosin': did you mean 'cosine'"):
        get_distance("cosin")
