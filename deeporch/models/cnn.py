"""The study's CNN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from . import fused
from .classifier import NoteClassifier


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
    return ConvStage(*layers) if pool else nn.Sequential(*layers)


class ConvStage(nn.Sequential):
    """Conv, batch-norm, ReLU, dropout if wanted, max-pool; in training on a CPU, in fewer passes over memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, inputs, bins, frames] to [batch, outputs, bins / 2, frames / 2]."""
        if not (self.training and fused.applies(x)):
            return super().forward(x)
        dropout = self[3].p if isinstance(self[3], nn.Dropout) else 0.0
        return fused.conv_stage(x, self[0], self[1], dropout)


class ConvNet(NoteClassifier):
    """A network that begins with `ConvStage`s."""

    def gains_by_bfloat16(self, device: torch.device) -> bool:
        """Return whether it trains faster in bfloat16 there."""
        fused = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        return fused or super().gains_by_bfloat16(device)


def dense_head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a dense layer with ReLU, and the output."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class CNN(ConvNet):
    """The study's CNN."""

    Config = CNNConfig

    def __init__(self, shape: tuple[int, int, int], outputs: int, config: CNNConfig) -> None:
        super().__init__()
        widths = (shape[0], *config.channels)
        stages = [conv_stage(a, b) for a, b in pairwise(widths)]
        self.stages = nn.Sequential(*stages, conv_stage(widths[-1], config.last, dropout=config.dropout))
        self.head = dense_head(flat_size(self.stages, shape), config.hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, channels, bins, frames] to logits [batch, classes]."""
        return self.head(self.stages(x))


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
