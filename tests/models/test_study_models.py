"""The study's further networks, ResNet and CNN with LSTM, and the linear SVM."""

import numpy as np
import pytest
import torch
from experiments.linear_svm import LinearSVM
from sklearn.svm import LinearSVC

from deeporch.features.mel import Mel
from deeporch.metrics import score, top_n_recall
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.mixtures.splits import split
from deeporch.models.build import build, count_parameters
from deeporch.models.cnn_lstm_cnn import CNNLSTMCNN, CNNLSTMCNNConfig
from deeporch.models.resnet import ResNet, ResNetConfig
from deeporch.training.loop import fit
from deeporch.training.losses import compute_loss
from deeporch.training.prediction import evaluate

SMALL = Mel(n_mels=32, frames=32)  # 16,384 samples, 0.36 s
LOG = Mel(n_mels=32, frames=32, scale="log")
NARROW = {"widths": (8, 16, 32), "layers": (1, 1, 1), "stem": 8}
VARIANTS = {
    "resnet basic": ("resnet", {**NARROW}),
    "resnet bottleneck": ("resnet", {**NARROW, "block": "bottleneck"}),
    "cnn+lstm+cnn": ("cnn_lstm_cnn", {}),
    "cnn+lstm+cnn as published": ("cnn_lstm_cnn", {"axis": "as_published"}),
    "cnn+lstm": ("cnn_lstm_cnn", {"after": False}),
    "cnn+bilstm": ("cnn_lstm_cnn", {"after": False, "bidirectional": True}),
    "cnn+lstm+residual": ("cnn_lstm_cnn", {"after": False, "residual": True}),
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def classes(tiny_library):
    return Classes(tiny_library, by="note")


def make(variant, classes, *, seed=0, features=SMALL, **more):
    name, sizes = VARIANTS[variant]
    if name == "cnn_lstm_cnn":
        sizes = {**sizes, "hidden": 128}
    return build(name, classes, features=features, seed=seed, **{**sizes, **more})


def random_features(features, batch=2, seed=0):
    return torch.randn(batch, *features.shape, generator=torch.Generator().manual_seed(seed))


# ---- Shapes and sizes ------------------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize(("bins", "frames"), [(32, 32), (128, 128), (40, 100), (96, 17)])
def test_one_logit_a_class_whatever_the_size_of_the_features(variant, bins, frames, classes):
    features = Mel(n_mels=bins, frames=frames)
    logits = make(variant, classes, features=features).eval()(random_features(features))
    assert logits.shape == (2, 72)
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])


@every_variant
def test_memory_format_does_not_change_the_output(variant, classes):
    model, x = make(variant, classes).eval(), random_features(SMALL)
    expected = model(x)
    last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(last, expected, rtol=1e-4, atol=1e-5)


def test_several_input_channels():
    assert ResNet((5, 72, 40), 7, ResNetConfig(**NARROW))(torch.randn(2, 5, 72, 40)).shape == (2, 7)
    assert CNNLSTMCNN((5, 72, 40), 7, CNNLSTMCNNConfig())(torch.randn(2, 5, 72, 40)).shape == (2, 7)


def test_resnet_18_and_50_have_the_known_numbers_of_weights():
    """As torchvision counts them for three input channels and 1,000 classes."""
    assert count_parameters(ResNet((3, 64, 64), 1000, ResNetConfig())) == 11_689_512
    fifty = ResNetConfig(block="bottleneck", layers=(3, 4, 6, 3))
    assert count_parameters(ResNet((3, 64, 64), 1000, fifty)) == 25_557_032


def test_resnet_18_halves_the_picture_four_times_because_its_max_pool_is_gone():
    model = ResNet((1, 128, 128), 10, ResNetConfig(stem=4, widths=(4, 4, 4, 4), layers=(1, 1, 1, 1)))
    assert model.stages(torch.zeros(1, 1, 128, 128)).shape == (1, 4, 8, 8)
    assert not [m for m in model.modules() if isinstance(m, torch.nn.MaxPool2d)]


def test_shortcut_equals_a_strided_1x1_convolution():
    block = ResNet((1, 32, 32), 3, ResNetConfig(**NARROW)).eval().stages[4]
    conv, norm = block.shortcut
    x = torch.randn(2, 8, 9, 8)
    expected = torch.nn.functional.conv2d(x, conv.weight, stride=2)
    assert torch.allclose(norm(conv(x[..., ::2, ::2])), norm(expected), atol=1e-6)
    assert block(x).shape == (2, 16, 5, 4)
    assert torch.allclose(block(x), torch.relu(block.path(x) + norm(expected)), atol=1e-5)


def lstm_weights(inputs, units, directions=1):
    return directions * 4 * (inputs * units + units * units + 2 * units)


def conv_weights(inputs, outputs):
    return 9 * inputs * outputs + outputs + 2 * outputs  # kernel, bias, normalization


def dense_weights(inputs, outputs):
    return inputs * outputs + outputs


@pytest.mark.parametrize(
    ("config", "between", "flat"),
    [
        ({}, lstm_weights(32 * 16, 16) + conv_weights(1, 32), 32 * 8 * 8),
        ({"axis": "as_published"}, lstm_weights(32 * 16, 16) + conv_weights(1, 32), 32 * 8 * 8),
        ({"after": False}, lstm_weights(32 * 16, 16), 16 * 16),
        ({"after": False, "bidirectional": True}, lstm_weights(32 * 16, 16, 2), 32 * 16),
        ({"after": False, "residual": True}, lstm_weights(32 * 16, 16) + 32 * 16 * 16, 16 * 16),
    ],
)
def test_cnn_lstm_cnn_has_as_many_weights_as_counted_by_hand(config, between, flat):
    model = CNNLSTMCNN((1, 128, 128), 505, CNNLSTMCNNConfig(**config))
    stages = conv_weights(1, 8) + conv_weights(8, 16) + conv_weights(16, 32)
    assert count_parameters(model) == stages + between + dense_weights(flat, 2048) + dense_weights(2048, 505)


# ---- Learning --------------------------------------------------------------------------------------------------------


@every_variant
def test_gradient_reaches_every_weight(variant, classes):
    model = make(variant, classes, dropout=0.0) if "cnn" in variant else make(variant, classes)
    target = torch.zeros(8, 72)
    target[torch.arange(8), torch.arange(8) * 9] = target[:, 5] = 1
    compute_loss(model(random_features(SMALL, batch=8)), target).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a conv's bias before batch-norm is subtracted again: its gradient is rounding noise, zero or not
    assert [name for name in dead if not name.endswith(".0.bias")] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@every_variant
def test_a_seed_gives_one_network_and_leaves_the_global_generator_alone(variant, classes):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (make(variant, classes, seed=seed).eval() for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    x = random_features(SMALL)
    assert torch.equal(one(x), same(x))
    assert not torch.allclose(one(x), other(x), atol=1e-3)


@every_variant
def test_training_is_repeatable(variant, classes, tiny_library):
    train = Mixtures(tiny_library, classes, n=2, size=32)
    runs = [make(variant, classes) for _ in range(2)]
    losses = [fit(model, train, epochs=2, device="cpu").table["train_loss"].tolist() for model in runs]
    assert losses[0] == losses[1]
    assert losses[0][1] < losses[0][0]
    assert all(torch.equal(a, b) for a, b in zip(*(m.parameters() for m in runs), strict=True))


@every_variant
def test_overfits_64_mixtures(variant, classes, tiny_library):
    train = Mixtures(tiny_library, classes, n=2, size=64)
    wider = {"dropout": 0.0, "hidden": 256, "lstm": 32} if "cnn" in variant else {"widths": (16, 32, 64)}
    model = make(variant, classes, features=LOG, **wider)
    assert evaluate(model, train, device="cpu").top_n_recall < 0.2
    fit(model, train, epochs=70, batch_size=8, lr=2e-3, schedule="cosine", device="cpu")
    scores = evaluate(model, train, device="cpu")
    assert (scores.top_n_recall, scores.exact_match) == (1.0, 1.0)


# ---- Time ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def steps():
    """Return a function: which of 16 steps of the LSTM change when the features change from a frame on."""

    def changed(frame, **config):
        torch.manual_seed(0)
        model = CNNLSTMCNN((1, 128, 128), 9, CNNLSTMCNNConfig(**config)).eval()
        x = random_features(Mel(), batch=1)
        y = x.clone()
        y[..., frame:] = y[..., frame:].flip(-1)
        before, after = (model.recurrence(model.stages(v)) for v in (x, y))
        over = 2 if config.get("axis") == "as_published" else 3  # where the LSTM's steps are
        return ((before - after).abs() > 1e-7).movedim(over, 0).flatten(1).any(1).tolist()

    return changed


@pytest.mark.parametrize("frame", [40, 100])
def test_lstm_over_time_does_not_hear_the_future(frame, steps):
    """Three 3x3 convs and 2x2 pools let step t see the frames 8t − 7 to 8t + 14, and the LSTM all earlier ones."""
    first = next(t for t in range(16) if 8 * t + 14 >= frame)
    changed = steps(frame, axis="time")
    assert changed[:first] == [False] * first
    assert all(changed[first:])


def test_as_published_hears_the_future_at_its_first_step(steps):
    assert steps(100, axis="as_published") == [True] * 16
    assert steps(120, axis="as_published")[0]


def test_two_directions_hear_the_future(steps):
    assert steps(100, axis="time", bidirectional=True) == [True] * 16


def test_order_of_frames_matters_to_the_lstm_over_time():
    """Reordering frames reorders what each step sees, as published it changes what each step sees."""
    recurrence = {}
    for axis in ("time", "as_published"):
        torch.manual_seed(0)
        recurrence[axis] = CNNLSTMCNN((1, 128, 128), 9, CNNLSTMCNNConfig(axis=axis)).recurrence
    x = torch.arange(32 * 16 * 16.0).reshape(1, 32, 16, 16)
    seen = {}
    for axis, module in recurrence.items():
        module.lstm.register_forward_pre_hook(lambda _, inputs, axis=axis: seen.update({axis: inputs[0][0]}))
        module(x)
    assert torch.equal(seen["time"][3], x[0, :, :, 3].flatten())  # frame 3 of all channels and bins
    assert torch.equal(seen["as_published"][3], x[0, 6:8].flatten())  # channels 6 and 7 of all bins and frames
    assert count_parameters(recurrence["time"]) == count_parameters(recurrence["as_published"])


def test_lstm_equals_its_equations():
    """Hochreiter and Schmidhuber's cell, step by step, over the frames, with the linear shortcut added."""
    torch.manual_seed(0)
    module = CNNLSTMCNN((1, 32, 32), 9, CNNLSTMCNNConfig(lstm=3, residual=True)).recurrence
    x = torch.randn(1, 32, 4, 4)
    w, u, b = module.lstm.weight_ih_l0, module.lstm.weight_hh_l0, module.lstm.bias_ih_l0 + module.lstm.bias_hh_l0
    h = c = torch.zeros(3)
    for t in range(4):
        frame = x[0, :, :, t].flatten()
        i, f, g, o = (w @ frame + u @ h + b).split(3)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        assert torch.allclose(module(x)[0, 0, :, t], h + module.shortcut.weight @ frame, atol=1e-5)


# ---- Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("resnet", {"block": "botleneck"}, "Unknown residual block 'botleneck': did you mean 'bottleneck'"),
        ("resnet", {"widths": (8, 16)}, "one width and one number of layers a group"),
        ("resnet", {"widths": (8, 0), "layers": (1, 1)}, "at least 1"),
        ("resnet", {"depth": 18}, "Unknown size of the model 'resnet' 'depth'"),
        ("cnn_lstm_cnn", {"axis": "tiem"}, "Unknown axis 'tiem': did you mean 'time'"),
        ("resnets", {}, "Unknown model 'resnets': did you mean 'resnet'"),
    ],
)
def test_bad_sizes_are_refused_in_one_sentence(name, sizes, message, classes):
    with pytest.raises(ValueError, match=message):
        build(name, classes, features=SMALL, **sizes)


def test_pictures_too_small_for_the_pooling_are_refused(classes):
    with pytest.raises(ValueError, match="12 bins x 6 frames are too small"):
        build("cnn_lstm_cnn", classes, features=Mel(n_mels=12, frames=6))


# ---- The linear SVM --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_instrument(tiny_library):
    classes = Classes(tiny_library, by="instrument")
    pools = split(tiny_library, classes, by="recording")
    train = Mixtures(tiny_library, classes, n=2, size=400, pool=pools.train)
    return classes, train, Mixtures(tiny_library, classes, n=2, size=200, seed=1, pool=pools.test)


@pytest.fixture(scope="module")
def svm(by_instrument):
    classes, train, _ = by_instrument
    return LinearSVM(classes, features=LOG, alpha=1e-3, passes=20, chunk=100).fit(train)


def flat(mixtures, features):
    return features.of(mixtures, range(len(mixtures))).flatten(1).numpy()


def test_svm_is_as_good_as_liblinear_with_the_same_penalty(svm, by_instrument):
    classes, train, test = by_instrument
    x, unseen = (svm.scaler.transform(flat(m, svm.features)) / 32 for m in (train, test))
    assert np.allclose(x.mean(0), 0, atol=1e-4)
    assert np.allclose(x.std(0)[x.std(0) > 1e-6], 1 / 32, rtol=1e-3)
    exact = [LinearSVC(C=1 / (1e-3 * 400), loss="hinge", max_iter=20_000).fit(x, right) for right in train.targets().T]
    expected = np.stack([machine.decision_function(unseen) for machine in exact], 1)
    found = svm.logits(test)
    assert np.corrcoef(found.flatten(), expected.flatten())[0, 1] > 0.97
    scores = score(found, test.targets(), classes)
    assert scores.top_n_recall > 2 / 6 + 0.2
    assert scores.top_n_recall == pytest.approx(top_n_recall(torch.from_numpy(expected), test.targets()), abs=0.04)


def test_svm_overfits_64_mixtures(tiny_library, by_instrument):
    classes = by_instrument[0]
    train = Mixtures(tiny_library, classes, n=2, size=64)
    machine = LinearSVM(classes, features=Mel(n_mels=64, frames=64, scale="log"), passes=100).fit(train)
    assert machine.logits(train).shape == (64, 6)
    assert top_n_recall(machine.logits(train), train.targets()) == 1.0


def test_svm_repeats_itself_and_keeps_no_features_beyond_its_limit(by_instrument):
    classes, train, test = by_instrument
    outputs = [
        LinearSVM(classes, features=LOG, passes=2, chunk=100, limit_gb=gb).fit(train).logits(test) for gb in (4, 4, 0)
    ]
    assert outputs[0].dtype == torch.float32
    assert torch.equal(outputs[0], outputs[1])
    assert torch.allclose(outputs[0], outputs[2], atol=1e-4)


def test_svm_outputs_are_those_of_its_machines(svm, by_instrument):
    test = by_instrument[2]
    x = svm.scaler.transform(flat(test, svm.features)) / np.sqrt(32 * 32)
    expected = np.stack([machine.decision_function(x) for machine in svm.machines], 1)
    assert np.allclose(svm.logits(test), expected, atol=1e-4)


def test_svm_refuses_bad_input(tiny_library, by_instrument):
    classes, train, _ = by_instrument
    others = Mixtures(tiny_library, Classes(tiny_library, by="note"), size=10)
    with pytest.raises(ValueError, match="The classes differ"):
        LinearSVM(classes, features=SMALL).fit(others)
    with pytest.raises(ValueError, match="not trained"):
        LinearSVM(classes, features=SMALL).logits(train)
    with pytest.raises(ValueError, match="passes of the SVM must lie between"):
        LinearSVM(classes, passes=0)
    with pytest.raises(ValueError, match="alpha of the SVM must lie between"):
        LinearSVM(classes, alpha=0)
