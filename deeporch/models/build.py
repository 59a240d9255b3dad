"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields

import torch
from torch import nn

from ..features.mel import Mel
from ..features.registry import KINDS, get_features
from ..mixtures.classes import Classes
from ..util.checks import check_choice
from .cnn import CNN
from .cnn_lstm_cnn import CNNLSTMCNN
from .open_pitchnet import OpenPitchNet
from .pitchnet import PitchNet
from .resnet import ResNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "cnn": CNN,
    "resnet": ResNet,
    "cnn_lstm_cnn": CNNLSTMCNN,
    "pitchnet": PitchNet,
    "open_pitchnet": OpenPitchNet,
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
        what = (features, classes) if issubclass(make, PitchNet) else (features.shape, len(classes))
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
