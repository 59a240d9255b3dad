from itertools import pairwise

import pytest
import torch
from torch import nn

from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.models.build import build, count_parameters, features_card, features_from_card, from_card
from deeporch.models.cnn import CNN

SMALL = Mel(n_mels=32, frames=32)


@pytest.fixture(scope="module")
def classes(tiny_library):
    return Classes(tiny_library, by="note")


def cnn_parameters(shape, outputs, channels=(8, 16, 32), last=32, hidden=2048):
    """Count by hand: kernels and biases, a scale and a shift a channel of batch-norm, two dense layers."""
    widths = [shape[0], *channels, last]
    convs = sum(a * b * 9 + b + 2 * b for a, b in pairwise(widths))
    halvings = 2 ** (len(widths) - 1)
    flat = last * (shape[1] // halvings) * (shape[2] // halvings)
    return convs + (flat + 1) * hidden + (hidden + 1) * outputs


def test_the_studys_cnn(classes):
    model = build("cnn", classes)
    assert isinstance(model, CNN)
    assert model(torch.rand(3, 1, 128, 128)).shape == (3, 72)
    assert count_parameters(model) == cnn_parameters((1, 128, 128), 72) == 4_359_192
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convs] == [(1, 8), (8, 16), (16, 32), (32, 32)]
    assert {c.kernel_size for c in convs} == {(3, 3)}
    kinds = [type(m).__name__ for m in model.stages.modules() if not list(m.children())]
    stage = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds == 3 * stage + [*stage[:3], "Dropout", "MaxPool2d"]
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert [(m.in_features, m.out_features) for m in model.head if isinstance(m, nn.Linear)] == [
        (2048, 2048),
        (2048, 72),
    ]
    assert not any(isinstance(m, nn.Softmax) for m in model.modules()), "the loss applies it"


@pytest.mark.parametrize("shape", [(64, 64), (32, 100), (40, 33)])
@pytest.mark.parametrize("sizes", [{}, {"hidden": 10, "channels": (4, 6), "last": 5}], ids=["default", "small"])
def test_other_features_and_sizes(classes, shape, sizes):
    features = Mel(n_mels=shape[0], frames=shape[1])
    model = build("cnn", classes, features=features, **sizes)
    assert model(torch.rand(2, 1, *shape)).shape == (2, 72)
    assert count_parameters(model) == cnn_parameters(features.shape, 72, **sizes)


def test_seed_decides_the_weights_and_nothing_else_does(classes):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a = build("cnn", classes, features=SMALL, seed=3)
    assert torch.equal(before, torch.get_rng_state()), "the global generator is left alone"
    torch.manual_seed(2)
    b, c = build("cnn", classes, features=SMALL, seed=3), build("cnn", classes, features=SMALL, seed=4)
    for (name, x), y, z in zip(a.state_dict().items(), b.state_dict().values(), c.state_dict().values(), strict=True):
        assert torch.equal(x, y)
        if x.ndim > 1:
            assert not torch.equal(x, z), name


def test_every_parameter_learns(classes):
    model = build("cnn", classes, features=SMALL).train()
    model(torch.rand(4, 1, 32, 32)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not (name.startswith("stages") and name.endswith("0.bias")):  # batch-norm takes conv biases away again
            assert parameter.grad.abs().max() > 1e-6, name


def test_mixtures_of_a_batch_do_not_meet_in_evaluation(classes):
    model = build("cnn", classes, features=SMALL).eval()
    x = torch.rand(5, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[2:3], model(x[2:3]), atol=1e-5, rtol=1e-4)


def test_a_card_rebuilds_the_network(classes):
    model = build("cnn", classes, features=SMALL, hidden=12, channels=[4, 8], dropout=0.1)
    again = from_card(model.card)
    assert again.card == model.card
    assert again.classes == classes
    assert again.features == SMALL
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]
    mel = Mel(n_mels=40, hop=100, scale="log")
    assert features_from_card(features_card(mel)) == mel


def test_one_sentence_for_each_mistake(classes):
    with pytest.raises(ValueError, match="Unknown model 'cn': did you mean 'cnn'"):
        build("cn", classes)
    with pytest.raises(ValueError, match="Unknown size of the model 'cnn' 'hiden': did you mean 'hidden'"):
        build("cnn", classes, hiden=3)
    with pytest.raises(ValueError, match="Unknown features 'mel'"):
        build("cnn", classes, features="mel")
    with pytest.raises(ValueError, match="Features of 8 bins x 8 frames are too small for this network's pooling"):
        build("cnn", classes, features=Mel(n_mels=8, frames=8))
