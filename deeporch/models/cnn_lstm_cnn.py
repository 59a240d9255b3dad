"""The study's CNN+LSTM+CNN and its variants."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from ..util.checks import check_choice
from .cnn import ConvNet, conv_stage, dense_head, flat_size, output_shape

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
    """An LSTM over the frames of feature maps."""

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


class CNNLSTMCNN(ConvNet):
    """The study's CNN with an LSTM between its third and fourth conv stages, and the variants of it."""

    Config = CNNLSTMCNNConfig

    def __init__(self, shape: tuple[int, int, int], outputs: int, config: CNNLSTMCNNConfig) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(conv_stage(a, b) for a, b in pairwise((shape[0], *config.channels))))
        inner = output_shape(self.stages, shape)
        options = {"axis": config.axis, "bidirectional": config.bidirectional, "residual": config.residual}
        self.recurrence = Recurrence(inner, config.lstm, **options)
        self.after = conv_stage(1, config.last, dropout=config.dropout) if config.after else nn.Dropout(config.dropout)
        flat = flat_size(self.after, output_shape(self.recurrence, inner))
        self.head = dense_head(flat, config.hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, channels, bins, frames] to logits [batch, classes]."""
        return self.head(self.after(self.recurrence(self.stages(x))))
