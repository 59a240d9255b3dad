"""What a network answers for mixtures, and how right it is: `predict` and `evaluate`."""

from __future__ import annotations

import time

import torch
from torch import nn

from ..features.cached import CachedFeatures
from ..metrics import Scores, score
from ..mixtures.mixtures import Mixtures
from ..models.checkpoints import check_classes
from ..util.environment import pick_device


@torch.inference_mode()
def predict_all(
    model: nn.Module, data: CachedFeatures, *, batch_size: int = 128, amp: bool = False,
    which: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return logits and targets of a mixture set, or of `which` of it, [mixtures, classes] each, where `data` is."""
    model.eval()
    logits, targets = [], []
    for part in (torch.arange(len(data)) if which is None else which).split(batch_size):
        x, target = data.batch(part)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=amp and x.device.type == "cuda"):
            logits.append(model(x if amp else x.float()).float())
        targets.append(target)
    return torch.cat(logits), torch.cat(targets)


def predict(
    model: nn.Module, mixtures: Mixtures, *, device: str = "auto", batch_size: int = 128
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a network's outputs for a mixture set, and the targets.

    Parameters
    ----------
    model : torch.nn.Module
        Made by `deeporch.build` or loaded from a checkpoint.
    mixtures : Mixtures
        Of the same classes.
    device : str
        Where to compute.
    batch_size : int
        Mixtures at a time; memory only.

    Returns
    -------
    logits, targets : torch.Tensor
        float32 [mixtures, classes] each, on the CPU.

    Raises
    ------
    ValueError
        If the classes differ.
    """
    check_classes(model, mixtures.classes)
    device = pick_device(device)
    data = CachedFeatures(mixtures, model.features, device=device, limit_gb=0)
    logits, targets = predict_all(model.to(device), data, batch_size=batch_size)
    return logits.cpu(), targets.cpu()


def evaluate(model: nn.Module, mixtures: Mixtures, *, device: str = "auto", batch_size: int = 128) -> Scores:
    """Score a network on a mixture set: top-N recall, k-of-N, exact match, per instrument, loss.

    Parameters and errors are those of `predict`.
    """
    began = time.perf_counter()
    logits, targets = predict(model, mixtures, device=device, batch_size=batch_size)
    return score(logits, targets, mixtures.classes, seconds=time.perf_counter() - began)
