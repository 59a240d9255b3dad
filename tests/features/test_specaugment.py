"""SpecAugment: against a slow loop, by its statistics, and what it leaves alone."""

import numpy as np
import pytest
import torch

from deeporch.features.augment import SpecAugment

BINS, FRAMES = 40, 30


def runs(covered):
    """Return the lengths of the stretches of ones in a 0/1 vector."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], covered, [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.fixture
def pictures(generator):
    """Pictures without two equal numbers, so that each masked place is seen."""
    return torch.rand(500, 2, BINS, FRAMES, generator=generator)


def masked_axes(before, after):
    """Return which bins and which frames of a picture were covered whole, as 0/1 vectors."""
    covered = (before != after).numpy()
    return covered.all((0, 2)).astype(int), covered.all((0, 1)).astype(int)


def test_a_mask_is_whole_bands_and_stretches_of_the_mean(pictures, generator):
    out = SpecAugment(0.2, 0.3)(pictures, generator)
    for before, after in zip(pictures, out, strict=True):
        bins, frames = masked_axes(before, after)
        expected = before.clone()  # a slow loop over places, from the masks alone
        for b, f in np.argwhere(bins[:, None] | frames[None]):
            expected[:, b, f] = before.mean()
        torch.testing.assert_close(after, expected)


def test_one_mask_has_widths_and_places_drawn_uniformly(pictures, generator):
    augment = SpecAugment(0.2, 0, frequency_masks=1, time_masks=0)  # up to 8 of 40 bins
    widths, counts = np.zeros(9), np.zeros(BINS)
    for _ in range(20):
        for before, after in zip(pictures, augment(pictures, generator), strict=True):
            bins, frames = masked_axes(before, after)
            assert frames.sum() == 0
            lengths = runs(bins)
            assert len(lengths) <= 1
            widths[sum(lengths)] += 1
            counts += bins
    shares = widths / widths.sum()  # 10,000 masks: a standard deviation of 0.003 about 1/9
    assert np.abs(shares - 1 / 9).max() < 0.013
    assert counts.min() > 0  # the first and the last bin too
    exact = np.mean([np.convolve(np.ones(BINS - w + 1), np.ones(w)) / (BINS - w + 1) for w in range(1, 9)], axis=0)
    assert np.abs(counts / widths.sum() - exact * 8 / 9).max() < 0.015


def test_every_picture_has_masks_of_its_own_and_channels_share_them(pictures, generator):
    out = SpecAugment(0.2, 0.2)(pictures, generator)
    patterns = (out != pictures).flatten(1)
    assert len(patterns.unique(dim=0)) > 450
    assert torch.equal((out != pictures)[:, 0], (out != pictures)[:, 1])


def test_two_masks_cover_more_than_one_in_both_directions(pictures, generator):
    share = {
        count: (SpecAugment(0.2, 0.2, frequency_masks=count, time_masks=0)(pictures, generator) != pictures)
        .float().mean().item()
        for count in (0, 1, 2)
    }  # fmt: skip
    assert share[0] == 0
    assert share[1] == pytest.approx(0.1, abs=0.01)  # on average 4 of 40 bins
    assert 1.7 * share[1] < share[2] < 2.1 * share[1]


def test_the_generator_is_the_only_source_of_chance(pictures):
    augment = SpecAugment()
    first, again, other = (augment(pictures, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_input_and_a_policy_without_width_change_nothing(pictures, generator):
    before = pictures.clone()
    SpecAugment(0.5, 0.5)(pictures, generator)
    assert torch.equal(pictures, before)
    assert torch.equal(SpecAugment(0, 0)(pictures, generator), pictures)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frequency": -0.1}, r"^frequency \(the widest mask, as a share\) must lie between 0 and 1, but is -0.1\.$"),
        ({"time": 1.5}, r"^time .* between 0 and 1, but is 1.5\.$"),
        ({"time_masks": -1}, r"^time_masks must lie between 0 and 100, but is -1\.$"),
    ],
)
def test_bad_policies_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        SpecAugment(**options)
