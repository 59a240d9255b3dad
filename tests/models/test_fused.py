"""Conv stages in few passes against torch's own layers."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import build
from deeporch.models.fused import kernels, stage
from deeporch.training.loop import fit


def layers(inputs, outputs, seed=0):
    """Return a conv and a batch-norm whose weights are exact in bfloat16, some gammas below 0."""
    torch.manual_seed(seed)
    conv, norm = nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)
    with torch.no_grad():
        conv.weight.copy_(conv.weight.bfloat16())
        norm.weight.uniform_(-1, 2)
        norm.bias.uniform_(-0.5, 0.5)
    return conv, norm


def slow(x, conv, norm, keep=None, dropout=0.0):
    """Return the stage by torch's layers, in double precision but for the conv's rounding to bfloat16."""
    y = functional.conv2d(x, conv.weight, padding=1)
    y = y + (y.bfloat16() - y).detach() * (
        x.shape[1] > 1 or keep is not None
    )  # the value is rounded, the gradient is not
    y = norm(y.double() + conv.bias.detach()[:, None, None])
    y = torch.relu(y)
    if keep is not None:
        y = y * keep / (1 - dropout)
    return functional.max_pool2d(y, 2)


def error(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("inputs", "outputs", "rows", "columns", "dropout"),
    [(1, 8, 12, 20, 0.0), (8, 16, 12, 10, 0.0), (16, 32, 6, 4, 0.0), (32, 32, 8, 6, 0.5), (1, 4, 6, 6, 0.25)],
)
def test_a_stage_is_torchs_layers(inputs, outputs, rows, columns, dropout, threads, monkeypatch):
    conv, norm = layers(inputs, outputs)
    other, other_norm = copy.deepcopy(conv).double(), copy.deepcopy(norm).double()
    x = torch.rand(5, inputs, rows, columns).bfloat16().float()
    keep = torch.rand(5, outputs, rows, columns) >= dropout
    kept = keep.permute(0, 2, 3, 1).reshape(5, rows, -1).numpy() if dropout else np.empty((0, 0, 0), bool)
    monkeypatch.setattr(stage, "_keep", lambda shape, p: kept)
    mine, theirs = x.clone().requires_grad_(inputs > 1), x.double().requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y = stage.conv_stage(mine, conv, norm, dropout)
        expected = slow(theirs, other, other_norm, keep if dropout else None, dropout)
        gradient = torch.randn(y.shape).bfloat16()
        y.backward(gradient)
    finally:
        torch.set_num_threads(before)
    expected.backward(gradient.double())
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert error(y, expected) < 0.004  # bfloat16 has 8 bits
    assert error(norm.running_mean, other_norm.running_mean) < 1e-4
    assert error(norm.running_var, other_norm.running_var) < 1e-4
    assert norm.num_batches_tracked == 1
    exact = inputs == 1 and not dropout  # never rounded on the way
    for wanted, got in ((other.weight, conv.weight), (other_norm.weight, norm.weight), (other_norm.bias, norm.bias)):
        assert error(got.grad, wanted.grad) < (1e-5 if exact else 0.05), wanted.shape
    assert conv.bias.grad.abs().max() == 0  # batch-norm takes the bias away
    if inputs > 1:
        assert error(mine.grad, theirs.grad) < 0.05


def test_moments_are_those_of_shifted_images():
    images = np.random.default_rng(0).random((3, 5, 7), np.float32)
    sums = np.zeros((3, 14, 3))
    for first in range(2):
        kernels.moments(images, first, 2, sums)
    single, product = kernels.shifted_moments(sums)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    shifted = np.stack([padded[:, i : i + 5, j : j + 7].ravel() for i in range(3) for j in range(3)]).astype(float)
    np.testing.assert_allclose(single, shifted.sum(1), rtol=1e-6)
    np.testing.assert_allclose(product, shifted @ shifted.T, rtol=1e-6)


def test_bfloat16_is_rounded_as_torch_rounds_it():
    values = torch.cat([torch.randn(1000), torch.tensor([0.0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, torch.inf, torch.nan])])
    bits, back = np.empty(len(values), np.uint16), np.empty(len(values), np.uint32)
    kernels._pack(values.numpy().view(np.uint32), bits)
    kernels._unpack(bits, back)
    expected = values.bfloat16()
    torch.testing.assert_close(
        torch.from_numpy(back.view(np.float32)), expected.float(), rtol=0, atol=0, equal_nan=True
    )


def test_dropout_keeps_what_its_rate_says():
    torch.manual_seed(0)
    kept = stage._keep((20, 50, 100), 0.3)
    assert kept.shape == (20, 50, 100)
    assert abs(kept.mean() - 0.7) < 4 * (0.21 / kept.size) ** 0.5
    torch.manual_seed(0)
    assert (stage._keep((20, 50, 100), 0.3) == kept).all()


@pytest.mark.parametrize("inputs", [1, 8])
def test_what_is_no_number_is_not_hidden(inputs):
    x = torch.rand(2, inputs, 4, 4)
    x[0, 0, 1, 1] = torch.nan
    assert stage.conv_stage(x, *layers(inputs, 8)).isnan().any()


def test_the_network_learns_the_same_with_and_without(tiny_library):
    classes = Classes(tiny_library, by="instrument")
    features = Mel(n_mels=32, frames=32, scale="log")
    train = Mixtures(tiny_library, classes, n=2, size=256, samples=features.samples)
    losses = {}
    for amp in (False, True):
        model = build("cnn", classes, features=features, channels=(4, 8), last=8, hidden=32, dropout=0.0)
        forward = model.forward
        model.forward = lambda x, forward=forward, amp=amp: _autocast(forward, x, amp)
        losses[amp] = fit(model, train, epochs=8, lr=3e-3, amp=False, device="cpu").table["train_loss"].tolist()
    assert losses[False][-1] < losses[False][0] - 0.15
    assert all(b < a for a, b in pairwise(losses[True]))
    np.testing.assert_allclose(losses[True], losses[False], rtol=0.03)


def _autocast(forward, x, enabled):
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        return forward(x)
