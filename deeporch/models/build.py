"""Networks by name."""

from __future__ import annotations

from dataclasses import asdict, fields
from pkgutil import resolve_name

import torch
from torch import nn

from ..features.mel import Mel
from ..features.registry import KINDS, get_features
from ..mixtures.classes import Classes
from ..util.checks import check_choice
from .classifier import NoteClassifier

MODELS: dict[str, type[NoteClassifier] | str] = {  # or where the class is, which is imported when it is first built
    name: f"{__package__}.{where}"
    for name, where in {
        "cnn": "cnn:CNN", "resnet": "resnet:ResNet", "cnn_lstm_cnn": "cnn_lstm_cnn:CNNLSTMCNN",
        "pitchnet": "pitchnet:PitchNet", "open_pitchnet": "open_pitchnet:OpenPitchNet",
    }.items()
}  # fmt: skip


def build(
    name: str, classes: Classes, *, features: str | Mel = "mel128", seed: int = 0, **sizes: object
) -> NoteClassifier:
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
    NoteClassifier
        A torch.nn.Module with ``card`` (a JSON-ready description), ``classes`` and ``features``; untrained, on the CPU.

    Raises
    ------
    ValueError
        If the model, the features or a size is unknown.
    """
    kind = MODELS[check_choice(name, MODELS, "model")]
    kind = resolve_name(kind) if isinstance(kind, str) else kind
    for size in sizes:
        check_choice(size, [f.name for f in fields(kind.Config)], f"size of the model {name!r}")
    config = kind.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()})
    features = get_features(features)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind.make(features, classes, config)
    model.classes, model.features = classes, features
    card = {"model": name, "config": asdict(config), "features": features_card(features)}
    model.card = card | {"classes": classes.to_dict()}
    return model


def features_card(features: Mel) -> dict:
    """Return a JSON-ready description of features: the name of their class and its fields."""
    return {"kind": type(features).__name__, **asdict(features)}


def features_from_card(card: dict) -> Mel:
    """Rebuild features from `features_card`'s output."""
    kind = KINDS[check_choice(card["kind"], KINDS, "features")]
    return kind(**{k: v for k, v in card.items() if k != "kind"})


def from_card(card: dict) -> NoteClassifier:
    """Rebuild an untrained network from a checkpoint's card."""
    classes, features = Classes.from_dict(card["classes"]), features_from_card(card["features"])
    return build(card["model"], classes, features=features, **card["config"])


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
