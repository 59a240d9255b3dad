"""PitchNet: a small network that hears every pitch in the same way, for any number of notes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ..features.constantq import ConstantQ
from ..mixtures.classes import Classes
from .build import build
from .classifier import NoteClassifier

MOST_NOTES = 10  # that the count head tells apart
A0 = 21  # MIDI


@dataclass(frozen=True)
class PitchNetConfig:
    """Sizes of PitchNet."""

    harmonics: tuple[float, ...] = (0.5, 1, 2, 3, 4, 5, 6, 7, 8)  # multiples of a pitch's frequency that are stacked
    pitches: int = 88  # from A0 upwards
    pool: int = 4  # frames that are averaged before anything else
    channels: int = 32  # of the conv over the stack
    hidden: int = 48  # features of each pitch and time
    heads: int = 4  # ways to attend to time
    width: int = 96  # features of each pitch, after time has been summed up
    blocks: int = 3  # residual blocks along pitch
    reach: int = 49  # pitches that a block's conv spans: two octaves to either side
    auxiliary: float = 0.1  # weight of the losses of the heads for instruments, pitches and number of notes


class Auxiliary(NamedTuple):
    """Logits of the auxiliary heads: instruments [batch, instruments], pitches [batch, pitches], count [batch, 10]."""

    instruments: torch.Tensor
    pitches: torch.Tensor
    count: torch.Tensor


class PitchNet(NoteClassifier):
    """Which instrument plays at which pitch, seen from every pitch alike.

    A pitch shift is a translation along the constant-Q's axis. The transform is stacked with itself, moved by the
    intervals of the harmonics [1]_, so that at each pitch one column holds its partials. A conv that all pitches share
    looks at that column; attention sums up time; residual blocks along pitch compare a pitch with those around it (an
    octave's partials are explained by the lower note); a last layer names the instruments of each pitch. Of that
    instrument x pitch map the classes that exist are read, each with a bias of its own.

    References
    ----------
    .. [1] R. M. Bittner, B. McFee, J. Salamon, P. Li, J. P. Bello: Deep salience representations for F0 estimation in
       polyphonic music, ISMIR 2017.
    """

    Config = PitchNetConfig

    def __init__(self, features: ConstantQ, classes: Classes, config: PitchNetConfig) -> None:
        super().__init__()
        midi = _check(features, classes, config)
        instrument = classes.instrument_of_class
        count = int(instrument.max()) + 1
        self.config = config
        self.step = features.bins_per_octave // 12  # bins in a semitone
        self.shifts = [round(features.bins_per_octave * math.log2(h)) for h in config.harmonics]
        self.partials = nn.Sequential(
            *_conv_norm(len(self.shifts), config.channels, (2 * self.step + 1, 3), (self.step, 2), (0, 1)),
            *_conv_norm(config.channels, config.hidden, (1, 3), (1, 1), (0, 1)),
        )
        self.attention = nn.Conv2d(config.hidden, config.heads, 1)
        self.narrow = nn.Conv1d((config.heads + 1) * config.hidden, config.width, 1)
        self.register = nn.Parameter(torch.zeros(config.width, config.pitches))  # instruments differ by register
        self.blocks = nn.Sequential(*(PitchBlock(config.width, config.reach) for _ in range(config.blocks)))
        self.norm = nn.BatchNorm1d(config.width)
        self.instruments = nn.Conv1d(config.width, count, 1)
        self.bias = nn.Parameter(torch.zeros(len(classes)))
        self.has_pitch = nn.Conv1d(config.width, 1, 1)
        self.has_instrument = nn.Linear(2 * config.width, count)
        self.has_notes = nn.Linear(2 * config.width, MOST_NOTES)
        self.register_buffer("place", instrument * config.pitches + midi - A0, persistent=False)

    @classmethod
    def make(cls, features: ConstantQ, classes: Classes, config: PitchNetConfig) -> PitchNet:
        """Return a network of these sizes, untrained."""
        return cls(features, classes, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [batch, 1, bins, frames] to logits [batch, classes]; any number of frames."""
        return self.with_auxiliary(x)[0]

    def with_auxiliary(self, x: torch.Tensor) -> tuple[torch.Tensor, Auxiliary]:
        """Return the logits of the classes and of the auxiliary heads."""
        y = self.embed(x)
        whole = torch.cat([y.mean(2), y.amax(2)], 1)
        logits = self.instruments(y).flatten(1)[:, self.place] + self.bias
        return logits, Auxiliary(self.has_instrument(whole), self.has_pitch(y).squeeze(1), self.has_notes(whole))

    def playing(self, target: torch.Tensor) -> torch.Tensor:
        """Return which instruments play which pitches [batch, instruments, pitches], of targets [batch, classes]."""
        size = self.instruments.out_channels, self.config.pitches
        return target.new_zeros(len(target), size[0] * size[1]).index_copy(1, self.place, target).unflatten(1, size)

    def auxiliary_loss(self, auxiliary: Auxiliary, target: torch.Tensor) -> torch.Tensor:
        """Return the weighted loss of the auxiliary heads, given multi-hot targets [batch, classes]."""
        bce, playing = functional.binary_cross_entropy_with_logits, self.playing(target)
        instruments = bce(auxiliary.instruments.float(), playing.amax(2))
        pitches = bce(auxiliary.pitches.float(), playing.amax(1))
        notes = target.sum(1).long().clamp(1, MOST_NOTES) - 1
        count = functional.cross_entropy(auxiliary.count.float(), notes)
        return self.config.auxiliary * (instruments + pitches + count)

    def stack(self, x: torch.Tensor) -> torch.Tensor:
        """Return the harmonic stack [batch, harmonics, bins of the pitches, frames]; beyond the transform it is 0."""
        if self.config.pool > 1:
            x = functional.avg_pool2d(x, (1, min(self.config.pool, x.shape[3])))
        length = (self.config.pitches - 1) * self.step + 1 + 2 * self.step  # and a semitone at either end
        first = [shift - self.step for shift in self.shifts]
        below, above = max(0, -min(first)), max(0, max(first) + length - x.shape[2])
        x = functional.pad(x, (0, 0, below, above))
        return torch.cat([x[:, :, below + f : below + f + length] for f in first], 1)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is known of each pitch before instruments are named, [batch, width, pitches]."""
        y = self.partials(self.stack(x))
        weight = self.attention(y).softmax(-1)
        attended = torch.einsum("bcpt,bhpt->bhcp", y, weight).flatten(1, 2)
        y = self.narrow(torch.cat([attended, y.amax(3)], 1)) + self.register
        return self.norm(self.blocks(y))


class PitchBlock(nn.Module):
    """Residual block along pitch: a wide depthwise conv, what all pitches have in common, and two pointwise layers."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.along = nn.Sequential(AlongPitch(width, width, reach, groups=width), nn.BatchNorm1d(width))
        self.common = nn.Linear(width, width)
        self.mix = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GELU(), nn.Conv1d(2 * width, width, 1))
        nn.init.zeros_(self.common.weight)
        nn.init.zeros_(self.common.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, width, pitches] to the same shape."""
        y = self.along(x)
        return x + self.mix(y + self.common(y.mean(2)).unsqueeze(2))


class AlongPitch(nn.Conv1d):
    """Depthwise conv of odd width along pitch, as a product of matrices: on a CPU five times as fast as the conv."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, channels, pitches] to the same shape, zeros beyond both ends."""
        pitches = x.shape[2]
        beyond = pitches - 1 - self.kernel_size[0] // 2
        weight = functional.pad(self.weight[:, 0], (beyond, beyond))
        if torch.onnx.is_in_onnx_export():  # which knows no unfold of weights; its gradient is the quicker one
            pitch = torch.arange(pitches)
            matrix = weight[:, pitches - 1 - pitch[:, None] + pitch]
        else:
            matrix = weight.unfold(1, pitches, 1).flip(1)  # [channels, to, from]
        return torch.baddbmm(self.bias[:, None, None], x.transpose(0, 1), matrix.transpose(1, 2)).transpose(0, 1)


def grow(model: PitchNet, blocks: int, *, seed: int = 0) -> PitchNet:
    """Return a copy of a network with more blocks, the new ones after the others; at first they change nothing."""
    begun = model.config.blocks
    if blocks < begun:
        raise ValueError(f"A network of {begun} blocks cannot grow to {blocks}: give {begun} or more.")
    sizes = asdict(model.config) | {"blocks": blocks}
    grown = build(model.card["model"], model.classes, features=model.features, seed=seed, **sizes)
    for block in grown.blocks[begun:]:
        nn.init.zeros_(block.mix[-1].weight)
        nn.init.zeros_(block.mix[-1].bias)
    grown.load_state_dict(model.state_dict(), strict=False)
    return grown


def _conv_norm(inputs: int, outputs: int, size: tuple, stride: tuple, padding: tuple) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _check(features: ConstantQ, classes: Classes, config: PitchNetConfig) -> torch.Tensor:
    """Return the classes' MIDI numbers, int64 [classes]; say what PitchNet cannot use."""
    if not isinstance(features, ConstantQ) or features.fmin != 27.5:
        raise ValueError("PitchNet sees a constant-Q from A0 (27.5 Hz) upwards: give features='cqt24' or 'cqt36'.")
    if classes.by != "note":
        raise ValueError(f"PitchNet's classes are notes, but these are by {classes.by}: use Classes(notes, by='note').")
    if config.reach % 2 == 0:
        raise ValueError(f"reach must be odd, so that a block looks as far up as down, but is {config.reach}.")
    midi = torch.tensor(classes.table["midi"].tolist())
    if midi.min() < A0 or midi.max() >= A0 + config.pitches:
        raise ValueError(
            f"PitchNet hears MIDI {A0} to {A0 + config.pitches - 1}, but the classes go from {int(midi.min())} to "
            f"{int(midi.max())}: select a pitch range, or give it more pitches."
        )
    return midi
