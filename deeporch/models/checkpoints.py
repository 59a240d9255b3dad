"""Checkpoints: weights as safetensors, with a JSON card of everything needed to rebuild and to trust them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ..mixtures.classes import Classes
from ..util.files import atomic_path, user_path, write_bytes, write_text
from .build import from_card

OPSET = 17  # of ONNX


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
    path = user_path(path)
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    text = json.dumps({**model.card, **(card or {})}, ensure_ascii=False, allow_nan=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    write_bytes(path, save({**tensors, **(extra or {})}, metadata={"card": text}))
    write_text(path.with_suffix(".json"), json.dumps(json.loads(text), indent=1, ensure_ascii=False))
    return path


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what a foreign, cut or changed file raises into one sentence."""
    try:
        yield
    except (SafetensorError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, UnicodeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        what = "is no checkpoint of deeporch, or it is damaged or of another version"
        raise ValueError(f"{path} {what} ({why}).") from None


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the card of a checkpoint; FileNotFoundError if there is none, ValueError if it is none of this project."""
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}: give the .safetensors file that training wrote.")
    with _damage(path):
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})["card"]
        try:
            card = json.loads(text)
        except ValueError as error:
            raise TypeError(f"its card is no JSON: {error}") from None
        for key in ("model", "config", "features", "classes"):
            card[key]
    return card


def read_tensors(path: str | Path, *, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint whose names begin with `prefix`, without it."""
    with _damage(path), safe_open(user_path(path), framework="pt") as file:
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
    with _damage(path):
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
    with _damage(path):
        check_classes(model, Classes.from_dict(card["classes"]), path)
        wanted, found = model.state_dict(), read_tensors(path)
        for name, tensor in wanted.items():
            if name not in found or found[name].shape != tensor.shape:
                have = list(found[name].shape) if name in found else "missing"
                raise RuntimeError(f"the tensor {name} should be {list(tensor.shape)}, but is {have}")
            if not torch.isfinite(found[name]).all():
                raise RuntimeError(f"the tensor {name} has numbers that are not finite")
        model.load_state_dict({name: found[name] for name in wanted})


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return an optimizer's state as tensors ``optimizer.INDEX.NAME``, for `save_checkpoint`."""
    state = enumerate(values for _, values in sorted(optimizer.state_dict()["state"].items()))
    return {f"optimizer.{i}.{k}": torch.as_tensor(v).cpu().contiguous() for i, each in state for k, v in each.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, path: str | Path) -> None:
    """Load the state that `optimizer_tensors` gave a checkpoint."""
    state = optimizer.state_dict()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in read_tensors(path, prefix="optimizer.").items():
        index, key = name.split(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:  # fused Adam needs the layout of the weights: channels last
            value = torch.empty_like(parameter).copy_(value)
        state["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(state)


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


def describe(thing: object) -> str:
    """Return what tells an augmentation or features from others in a training's card."""
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return "" if thing is None else repr(thing) if is_dataclass(thing) else name


def export_onnx(path: str | Path, model: nn.Module, calibration: dict[str, float]) -> Path:
    """Write a network as ONNX, and beside it a JSON file that says what goes in and what its outputs mean."""
    if find_spec("onnx") is None:
        raise ValueError("Exporting needs the package onnx: pip install onnx.")
    path = Path(path)
    path = path if path.suffix == ".onnx" else path.with_name(path.name + ".onnx")
    example = torch.zeros(2, *model.features.shape)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter needs no further package, and says that it is older
        torch.onnx.export(
            model, (example,), str(temporary), input_names=["features"], output_names=["logits"], dynamo=False,
            opset_version=OPSET, dynamic_axes={"features": {0: "batch"}, "logits": {0: "batch"}},
        )  # fmt: skip
    card = {key: model.card[key] for key in ("model", "features", "classes")}
    text = json.dumps(card | {"calibration": calibration}, indent=1, ensure_ascii=False)
    write_text(path.with_suffix(".json"), text)
    return path
