"""The networks: each is a small dataclass of sizes and a module that maps features to one logit a class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from itertools import pairwise

import torch
from torch import nn

from .checks import check_choice
from .features import KINDS, Mel, get_features
from .mixtures import Classes
from .pitchnet import PitchNet


@dataclass(frozen=True)
class CNNConfig:
    """Sizes of the study's CNN: three conv stages and a fourth with dropout, each pooled; a dense layer; the output."""

    channels: tuple[int, ...] = (8, 16, 32)  # of the 3x3 conv + batch-norm + ReLU + 2x2 max-pool stages
    last: int = 32  # channels of the last conv stage
    dropout: float = 0.5  # after the last conv
    hidden: int = 2048  # units of the dense layer


def conv_stage(inputs: int, outputs: int, *, pool: bool = True, dropout: float = 0.0) -> nn.Sequential:
    """Return 3x3 conv, batch-norm, ReLU, and dropout and 2x2 max-pool if wanted."""
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class CNN(nn.Module):
    """The study's CNN.

    Parameters
    ----------
    shape : tuple of int
        Channels, bins and frames of the features.
    outputs : int
        Number of classes.
    config : CNNConfig
        Sizes.
    """

    Config = CNNConfig

    def __init__(self, shape: tuple[int, int, int], outputs: int, config: CNNConfig) -> None:
        super().__init__()
        widths = (shape[0], *config.channels)
        stages = [conv_stage(a, b) for a, b in pairwise(widths)]
        self.stages = nn.Sequential(*stages, conv_stage(widths[-1], config.last, dropout=config.dropout))
        flat = flat_size(self.stages, shape)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(flat, config.hidden), nn.ReLU(), nn.Linear(config.hidden, outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, channels, bins, frames] to logits [batch, classes]."""
        return self.head(self.stages(x))


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of the residual network: ResNet-18's. ``layers=(3, 4, 6, 3)`` and bottlenecks make ResNet-50."""

    block: str = "basic"  # two 3x3 convs; or "bottleneck": 1x1, 3x3, 1x1, its output four times as wide
    widths: tuple[int, ...] = (64, 128, 256, 512)  # channels of each group of blocks
    layers: tuple[int, ...] = (2, 2, 2, 2)  # blocks in each group
    stem: int = 64  # channels of the first conv, 7x7 with stride 2

    def __post_init__(self) -> None:
        check_choice(self.block, BLOCKS, "residual block")
        if not 1 <= len(self.widths) == len(self.layers) or min((*self.widths, *self.layers, self.stem)) < 1:
            raise ValueError(
                f"A ResNet needs one width and one number of layers a group, each at least 1, but has "
                f"widths={self.widths}, layers={self.layers}, stem={self.stem}."
            )


def conv_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    """Return a conv without bias that keeps the picture's size (but for `stride`), and batch-norm."""
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


def basic_block(inputs: int, width: int, stride: int) -> nn.Sequential:
    """Return the residual path of ResNet-18 and -34; it makes `width` channels."""
    return nn.Sequential(*conv_norm(inputs, width, 3, stride), nn.ReLU(), *conv_norm(width, width, 3))


def bottleneck_block(inputs: int, width: int, stride: int) -> nn.Sequential:
    """Return the residual path of ResNet-50 and deeper ones; it makes 4 x `width` channels."""
    narrow = [*conv_norm(inputs, width, 1), nn.ReLU(), *conv_norm(width, width, 3, stride), nn.ReLU()]
    return nn.Sequential(*narrow, *conv_norm(width, 4 * width, 1))


BLOCKS = {"basic": (basic_block, 1), "bottleneck": (bottleneck_block, 4)}  # and how much wider than `width` they end


class Residual(nn.Module):
    """ReLU(path(x) + shortcut(x)); the shortcut is a 1x1 conv, of every other place if `stride` is 2, or nothing.

    The conv itself has no stride: oneDNN's strided 1x1 conv of few channels crashes on CPUs (its issue 6035).
    """

    def __init__(self, path: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path, self.stride = path, stride
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(inputs, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, inputs, bins, frames] to [batch, outputs, bins / stride, frames / stride]."""
        return torch.relu(self.path(x) + self.shortcut(x[..., :: self.stride, :: self.stride]))


class ResNet(nn.Module):
    """The classic residual network [1]_ without the max-pool after its first conv, to fit 128 x 128.

    Parameters
    ----------
    shape, outputs, config
        As of `CNN`.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016.
    """

    Config = ResNetConfig

    def __init__(self, shape: tuple[int, int, int], outputs: int, config: ResNetConfig) -> None:
        super().__init__()
        make, wider = BLOCKS[config.block]
        layers = [*conv_norm(shape[0], config.stem, 7, 2), nn.ReLU()]
        channels = config.stem
        for group, (width, count) in enumerate(zip(config.widths, config.layers, strict=True)):
            for i in range(count):
                stride = 2 if group and not i else 1
                layers.append(Residual(make(channels, width, stride), channels, wider * width, stride))
                channels = wider * width
        self.stages = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, channels, bins, frames] to logits [batch, classes]."""
        return self.head(self.stages(x))


AXES = ("time", "as_published")


@dataclass(frozen=True)
class CNNLSTMCNNConfig:
    """Sizes of the study's CNN with an LSTM between its third and fourth conv stages, and of what was tried between."""

    channels: tuple[int, ...] = (8, 16, 32)  # of the conv stages before the LSTM
    lstm: int = 16  # hidden size, in each direction
    axis: str = "time"  # what the LSTM steps over; "as_published": a bare reshape that scrambles the axes
    bidirectional: bool = False  # a second LSTM runs backwards
    residual: bool = False  # a linear map of the LSTM's input is added to its output
    after: bool = True  # a conv stage follows the LSTM
    last: int = 32  # channels of that stage
    dropout: float = 0.5  # after that stage's conv, or after the LSTM if no stage follows
    hidden: int = 2048  # units of the dense layer

    def __post_init__(self) -> None:
        check_choice(self.axis, AXES, "axis")


class Recurrence(nn.Module):
    """An LSTM over the frames of feature maps.

    With ``axis="time"`` the step t sees channels x bins of frame t: [B, C, F, T] is permuted to [B, T, C, F], then
    flattened to [B, T, C·F]; the output is a picture of one channel, the LSTM's units over time.

    ``"as_published"`` rebuilds the study's defect, whose code is not available: [B, C, F, T] is *reshaped*, without
    the permutation, to [B, T, C·F], and the output [B, T, H] to [B, 1, T, H]. Each step then gets the next C·F numbers
    of [C, F, T] in row-major order. For the study's sizes, C = 32 and F = T = 16, step s gets channels 2s and 2s + 1
    whole, all bins and all frames: the LSTM runs over the channels, in their arbitrary order. Both forms have
    the same weights, and differ only in which numbers meet.

    Parameters
    ----------
    shape : tuple of int
        Channels, bins and frames of the feature maps.
    units : int
        Hidden size, in each direction.
    axis, bidirectional, residual
        As of `CNNLSTMCNNConfig`.
    """

    def __init__(
        self, shape: tuple[int, int, int], units: int, *, axis: str, bidirectional: bool, residual: bool
    ) -> None:
        super().__init__()
        self.axis = axis
        channels, bins, _ = shape
        self.lstm = nn.LSTM(channels * bins, units, batch_first=True, bidirectional=bidirectional)
        outputs = units * (1 + bidirectional)
        self.shortcut = nn.Linear(channels * bins, outputs, bias=False) if residual else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, channels, bins, frames] to [batch, 1, units, frames]; as published, units and frames swapped."""
        batch, _, _, frames = x.shape
        steps = (x.permute(0, 3, 1, 2) if self.axis == "time" else x).reshape(batch, frames, -1)
        y, _ = self.lstm(steps)
        if self.shortcut is not None:
            y = y + self.shortcut(steps)
        return (y.transpose(1, 2) if self.axis == "time" else y).unsqueeze(1)


class CNNLSTMCNN(nn.Module):
    """The study's CNN with an LSTM between its third and fourth conv stages, and the variants of it.

    Parameters
    ----------
    shape, outputs, config
        As of `CNN`.
    """

    Config = CNNLSTMCNNConfig

    def __init__(self, shape: tuple[int, int, int], outputs: int, config: CNNLSTMCNNConfig) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(conv_stage(a, b) for a, b in pairwise((shape[0], *config.channels))))
        inner = output_shape(self.stages, shape)
        options = {"axis": config.axis, "bidirectional": config.bidirectional, "residual": config.residual}
        self.recurrence = Recurrence(inner, config.lstm, **options)
        self.after = conv_stage(1, config.last, dropout=config.dropout) if config.after else nn.Dropout(config.dropout)
        flat = flat_size(self.after, output_shape(self.recurrence, inner))
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(flat, config.hidden), nn.ReLU(), nn.Linear(config.hidden, outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, channels, bins, frames] to logits [batch, classes]."""
        return self.head(self.after(self.recurrence(self.stages(x))))


def output_shape(stages: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that `stages` makes of one picture of `shape`, or say that it is too small."""
    training = stages.training
    try:
        with torch.no_grad():
            made = tuple(stages.eval()(torch.zeros(1, *shape)).shape[1:])
    except RuntimeError:
        made = (0,)
    stages.train(training)
    if not math.prod(made):
        raise ValueError(f"Features of {shape[1]} bins x {shape[2]} frames are too small for this network's pooling.")
    return made


def flat_size(stages: nn.Module, shape: tuple[int, ...]) -> int:
    """Return how many numbers `stages` makes of one picture of `shape`, or say that it is too small."""
    return math.prod(output_shape(stages, shape))


MODELS: dict[str, Callable[..., nn.Module]] = {
    "cnn": CNN,
    "resnet": ResNet,
    "cnn_lstm_cnn": CNNLSTMCNN,
    "pitchnet": PitchNet,
}


def build(name: str, classes: Classes, *, features: str | Mel = "mel128", seed: int = 0, **sizes: object) -> nn.Module:
    """Build a network for some classes and features.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    classes : Classes
        What it chooses from.
    features : str or Mel
        What it sees, by name or as an object.
    seed : int
        Of the initial weights.
    **sizes
        Fields of the model's config dataclass that differ from its defaults.

    Returns
    -------
    torch.nn.Module
        With ``card`` (a JSON-ready description), ``classes`` and ``features`` attached; untrained, on the CPU.

    Raises
    ------
    ValueError
        If the model, the features or a size is unknown.
    """
    make = MODELS[check_choice(name, MODELS, "model")]
    for size in sizes:
        check_choice(size, [f.name for f in fields(make.Config)], f"size of the model {name!r}")
    config = make.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()})
    features = get_features(features)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        what = (features, classes) if make is PitchNet else (features.shape, len(classes))
        model = make(*what, config)
    model.classes, model.features = classes, features
    model.card = {
        "model": name,
        "config": asdict(config),
        "features": features_card(features),
        "classes": classes.to_dict(),
    }
    return model


def features_card(features: Mel) -> dict:
    """Return a JSON-ready description of features: the name of their class and its fields."""
    return {"kind": type(features).__name__, **asdict(features)}


def features_from_card(card: dict) -> Mel:
    """Rebuild features from `features_card`'s output."""
    kind = KINDS[check_choice(card["kind"], KINDS, "features")]
    return kind(**{k: v for k, v in card.items() if k != "kind"})


def from_card(card: dict) -> nn.Module:
    """Rebuild an untrained network from a checkpoint's card."""
    return build(
        card["model"],
        Classes.from_dict(card["classes"]),
        features=features_from_card(card["features"]),
        **card["config"],
    )


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
