"""OpenPitchNet: a PitchNet that tells pitches and instruments apart, and knows instruments that have no name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ..features.constantq import ConstantQ
from ..mixtures.classes import Classes
from .pitchnet import PitchNet, PitchNetConfig


@dataclass(frozen=True)
class OpenPitchNetConfig(PitchNetConfig):
    """Sizes of OpenPitchNet: more harmonics, which tell instruments apart."""

    harmonics: tuple[float, ...] = (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
    pool: int = 2
    dropout: float = 0.1  # of the features of each pitch, before instruments are named


class Evidence(NamedTuple):
    """What sounds: logits of pitches [batch, pitches], and of instruments there [batch, instruments + 1, pitches]."""

    pitches: torch.Tensor
    instruments: torch.Tensor


class OpenPitchNet(PitchNet):
    """A note's probability is that of its pitch times that of its instrument, given the pitch."""

    Config = OpenPitchNetConfig

    def __init__(self, features: ConstantQ, classes: Classes, config: OpenPitchNetConfig) -> None:
        super().__init__(features, classes, config)
        del self.bias, self.has_instrument, self.has_notes
        self.instruments = nn.Conv1d(config.width, len(classes.instruments) + 1, 1)
        self.dropout = nn.Dropout1d(config.dropout)
        nn.init.constant_(self.has_pitch.bias, -3.0)
        nn.init.constant_(self.instruments.bias, -2.0)

    def evidence(self, x: torch.Tensor) -> Evidence:
        """Return what sounds, pitches and instruments apart."""
        y = self.embed(x)
        return Evidence(self.has_pitch(y).squeeze(1).float(), self.instruments(self.dropout(y)).float())

    def classes_of(self, evidence: Evidence) -> torch.Tensor:
        """Return the logits of the classes [batch, classes]."""
        # 1 / p - 1 = (1 + exp(-pitch)) (1 + exp(-instrument)) - 1, which is added up without cancelling.
        pitch, instrument = -evidence.pitches[:, None], -evidence.instruments[:, :-1]
        against = torch.stack([pitch.expand_as(instrument), instrument, pitch + instrument]).logsumexp(0)
        return -against.flatten(1)[:, self.place]

    def with_auxiliary(self, x: torch.Tensor) -> tuple[torch.Tensor, Evidence]:
        """Return the logits of the classes, and the evidence that they are made of."""
        evidence = self.evidence(x)
        return self.classes_of(evidence), evidence

    def playing(self, target: torch.Tensor) -> torch.Tensor:
        """Return which instruments play which pitches; after the classes, targets may have pitches of unknown ones."""
        named, unknown = target.tensor_split([len(self.place)], dim=1)
        playing = super().playing(named)
        playing[:, -1, : unknown.shape[1]] = unknown
        return playing

    def auxiliary_loss(self, evidence: Evidence, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of pitches, and of instruments where a pitch sounds, given multi-hot targets."""
        playing = self.playing(target)
        return evidence_loss(evidence, playing.amax(1), playing.transpose(1, 2))


def evidence_loss(evidence: Evidence, pitches: torch.Tensor, instruments: torch.Tensor) -> torch.Tensor:
    """Return the loss a note: of all pitches, and of the instruments of those that sound."""
    bce = functional.binary_cross_entropy_with_logits
    pitch = bce(evidence.pitches, pitches, reduction="sum") / pitches.sum()
    batch, place = pitches.nonzero(as_tuple=True)
    logits, target = evidence.instruments.transpose(1, 2)[batch, place], instruments[batch, place]
    each = bce(logits, target, reduction="none").sum(1).mean()
    return pitch + each + functional.cross_entropy(logits, target / target.sum(1, keepdim=True))


def inherit(model: OpenPitchNet, other: PitchNet) -> None:
    """Give a network the weights of one that was trained before, as far as they fit; they may differ in some ways."""
    mine, theirs = model.state_dict(), other.state_dict()
    for name in mine.keys() & theirs.keys():
        if mine[name].shape == theirs[name].shape:
            mine[name] = theirs[name].clone()
    taps, filters = mine["partials.0.weight"].shape[2], theirs["partials.0.weight"]
    place = torch.linspace(0, taps - 1, filters.shape[2])
    share = (1 - (torch.arange(taps)[:, None] - place).abs()).clamp(min=0)  # [taps, taps of the other]
    mine["partials.0.weight"].zero_()
    mine["partials.0.weight"][:, : filters.shape[1]] = torch.einsum("ij,ocjt->ocit", share, filters)
    known = other.classes.instruments
    for name in ("instruments.weight", "instruments.bias"):
        mine[name][:] = theirs[name][: len(known)].mean(0)
        for i, instrument in enumerate(model.classes.instruments):
            if instrument in known:
                mine[name][i] = theirs[name][known.index(instrument)]
    model.load_state_dict(mine)
