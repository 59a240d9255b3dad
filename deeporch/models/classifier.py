"""`NoteClassifier`: what all networks have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

if TYPE_CHECKING:
    from ..features.constantq import ConstantQ
    from ..features.mel import Mel
    from ..mixtures.classes import Classes


class NoteClassifier(nn.Module):
    """A network with the classes that it chooses from, the features that it sees, and a card that describes it."""

    Config: ClassVar[type]  # a dataclass of its sizes
    classes: Classes
    features: Mel | ConstantQ
    card: dict[str, Any]

    @classmethod
    def make(cls, features: Mel | ConstantQ, classes: Classes, config: Any) -> NoteClassifier:
        """Return a network of these sizes, untrained."""
        return cls(features.shape, len(classes), config)

    def with_auxiliary(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Return the logits of the classes, and what auxiliary heads say, if there are any; training asks for it."""
        return self(x), None

    def auxiliary_loss(self, auxiliary: Any, target: torch.Tensor) -> torch.Tensor | float:
        """Return the weighted loss of the auxiliary heads, given multi-hot targets [batch, classes]."""
        return 0.0

    def gains_by_bfloat16(self, device: torch.device) -> bool:
        """Return whether it trains faster in bfloat16 there."""
        return device.type == "cuda"
