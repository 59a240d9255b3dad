"""Checkpoints: weights as safetensors, with a JSON card of everything needed to rebuild and to trust them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..mixtures.classes import Classes
from ..util.files import atomic_path, write_text
from .build import from_card


def save_checkpoint(
    path: str | Path, model: nn.Module, *, card: dict | None = None, extra: dict[str, torch.Tensor] | None = None
) -> Path:
    """Write a network's weights and card, atomically.

    Parameters
    ----------
    path : str or Path
        The ``.safetensors`` file; the card stands in its header, and beside it as ``.json`` for human eyes.
    model : torch.nn.Module
        Made by `deeporch.build`.
    card : dict, optional
        JSON-ready facts to keep: data, training options, scores, versions.
    extra : dict of str to torch.Tensor, optional
        Further tensors, e.g. an optimizer's state.

    Returns
    -------
    Path
        The weights' file.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    text = json.dumps({**model.card, **(card or {})}, ensure_ascii=False, allow_nan=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file({**tensors, **(extra or {})}, temporary, metadata={"card": text})
    write_text(path.with_suffix(".json"), json.dumps(json.loads(text), indent=1, ensure_ascii=False))
    return path


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the card of a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}: give the .safetensors file that training wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["card"])
        for key in ("model", "config", "features", "classes"):
            card[key]
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no checkpoint of deeporch, or it is damaged ({error}).") from None
    return card


def read_tensors(path: str | Path, *, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint whose names begin with `prefix`, without it."""
    with safe_open(path, framework="pt") as file:
        return {name[len(prefix) :]: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def load_checkpoint(path: str | Path, *, classes: Classes | None = None) -> nn.Module:
    """Rebuild the trained network of a checkpoint, on the CPU, ready to evaluate.

    Parameters
    ----------
    path : str or Path
        The ``.safetensors`` file.
    classes : Classes, optional
        The classes that the caller expects.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, no checkpoint, or of other classes than expected.
    """
    card = read_card(path)
    model = from_card(card)
    if classes is not None:
        check_classes(model, classes, path)
        model.classes = classes
    load_weights(model, path)
    return model.eval()


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a checkpoint's weights into a network of the same form, or say how they differ."""
    card = read_card(path)
    for key in ("model", "config", "features"):
        ours, theirs = (json.loads(json.dumps(c[key])) for c in (model.card, card))
        if ours != theirs:
            raise ValueError(f"{path} holds another network: its {key} is {theirs}, but {ours} is wanted.")
    check_classes(model, Classes.from_dict(card["classes"]), path)
    names = set(model.state_dict())
    model.load_state_dict({name: t for name, t in read_tensors(path).items() if name in names})


def check_classes(model: nn.Module, classes: Classes, where: str | Path = "the mixtures") -> None:
    """Raise a ValueError that says how a network's classes differ from others, if they do."""
    ours: Classes = model.classes
    if ours == classes:
        return
    missing = sorted(set(classes.names) - set(ours.names))[:3]
    raise ValueError(
        f"The classes differ: the network has {len(ours)} by {ours.by}, {where} has {len(classes)} by {classes.by}"
        f"{' (such as ' + ', '.join(missing) + ')' if missing else ''}; use those it was made for."
    )
