"""The study's ResNet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..util.checks import check_choice
from .classifier import NoteClassifier


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
    """ReLU(path(x) + shortcut(x)); the shortcut is a 1x1 conv, of every other place if `stride` is 2, or nothing."""

    def __init__(self, path: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path, self.stride = path, stride
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(inputs, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, inputs, bins, frames] to [batch, outputs, bins / stride, frames / stride]."""
        return torch.relu(self.path(x) + self.shortcut(x[..., :: self.stride, :: self.stride]))


class ResNet(NoteClassifier):
    """The classic residual network without the max-pool after its first conv, to fit 128 x 128."""

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
