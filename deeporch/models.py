"""The networks: each is a small dataclass of sizes and a module that maps features to one logit a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from itertools import pairwise

import torch
from torch import nn

from .checks import check_choice
from .features import Mel, get_features
from .mixtures import Classes


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


def flat_size(stages: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return how many numbers `stages` makes of one picture of `shape`, or say that it is too small."""
    training = stages.training
    try:
        with torch.no_grad():
            size = stages.eval()(torch.zeros(1, *shape)).numel()
    except RuntimeError:
        size = 0
    stages.train(training)
    if not size:
        raise ValueError(f"Features of {shape[1]} bins x {shape[2]} frames are too small for this network's pooling.")
    return size


MODELS: dict[str, Callable[..., nn.Module]] = {"cnn": CNN}


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
        model = make(features.shape, len(classes), config)
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
    kinds = {"Mel": Mel}
    kind = kinds[check_choice(card["kind"], kinds, "features")]
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
