"""Losses for multi-label targets, and weight penalties."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

LOSSES = ("softmax", "bce", "focal", "asymmetric", "auxiliary")


def split_weights(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that L1 and L2 act on (matrices and kernels), and the others (biases, normalization)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]


def add_l1(model: nn.Module, strength: float) -> None:
    """Add the gradient of ``strength x sum |w|`` to each weight's gradient."""
    for weight in split_weights(model)[0]:
        if weight.grad is not None:
            weight.grad.add_(weight.detach().sign(), alpha=strength)


def compute_loss(logits: torch.Tensor, target: torch.Tensor, loss: str = "softmax") -> torch.Tensor:
    """Return the batch's mean loss.

    Source: T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár: Focal loss for dense object detection, ICCV 2017.
    """
    if loss == "softmax":
        return functional.cross_entropy(logits, target / target.sum(1, keepdim=True).clamp(min=1))
    if loss == "bce":
        return functional.binary_cross_entropy_with_logits(logits, target)
    if loss == "auxiliary":
        return logits.new_zeros(())
    heard = logits.sigmoid()
    if loss == "focal":
        each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return ((target - heard).square() * each).sum(1).mean()
    absent = (heard - 0.05).clamp(min=0)
    right = target * functional.logsigmoid(logits)
    return -(right + (1 - target) * absent**4 * torch.log1p(-absent)).sum(1).mean()
