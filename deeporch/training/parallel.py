"""Processes that train one network together, by Hugging Face Accelerate: a GPU each, or a share of the CPU's cores.

`fit` asks `Ranks` for its share of every batch. In one process nothing changes; in several (``deeporch train
--processes 2``, ``accelerate launch``, ``notebook_launcher``) the network learns from the same batches: the batch size
is that of all of them together, batch-norm sees the whole batch, and sums are reduced exactly.
"""

from __future__ import annotations

import os
from typing import TypeVar

import torch
from torch import nn
from torch.distributed.nn.functional import all_reduce

from ..util.environment import pick_device

T = TypeVar("T")


class Ranks:
    """The processes of one training, seen from one of them."""

    def __init__(self, device: str = "auto") -> None:
        self.rank, self.size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if self.size == 1:
            self.device = pick_device(device)
            return
        from accelerate import Accelerator, utils  # takes a second, and one process does without

        self.utils, self.accelerator = utils, Accelerator(cpu=pick_device(device).type == "cpu")
        self.device = self.accelerator.device

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network whose gradients are averaged over the processes, and whose batch-norms see all of them."""
        if self.size == 1:
            return network
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.__class__ = GLOBAL[type(module)]
        return self.accelerator.prepare_model(network)

    def unwrap(self, network: nn.Module) -> None:
        """Make batch-norms what they were before."""
        for module in network.modules():
            module.__class__ = LOCAL.get(type(module), type(module))

    def share(self, which: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a batch."""
        return which.tensor_split(self.size)[self.rank]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes."""
        return values if self.size == 1 else self.accelerator.reduce(values.clone(), "sum")

    def agree(self, value: T) -> T:
        """Return what the first process says."""
        return value if self.size == 1 else self.utils.broadcast_object_list([value])[0]

    def join(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Return the parts of all processes, one after the other."""
        if self.size == 1:
            return list(tensors)
        parts = self.utils.gather_object([tensors])
        return [torch.cat(parts_of_one) for parts_of_one in zip(*parts, strict=True)]


class _GlobalBatchNorm:
    """Batch-norm over the batches of all processes; torch's own works on GPUs only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        axes, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        wide = x.double()
        sums = torch.stack([torch.ones_like(wide).sum(axes), wide.sum(axes), wide.square().sum(axes)])
        count, total, squares = all_reduce(sums)
        mean = total / count
        variance = squares / count - mean**2
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        normal = ((wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)).to(x.dtype)
        return normal * self.weight.view(shape) + self.bias.view(shape)


class _BatchNorm1d(_GlobalBatchNorm, nn.BatchNorm1d):
    pass


class _BatchNorm2d(_GlobalBatchNorm, nn.BatchNorm2d):
    pass


GLOBAL = {nn.BatchNorm1d: _BatchNorm1d, nn.BatchNorm2d: _BatchNorm2d}
LOCAL = {value: key for key, value in GLOBAL.items()}


def first() -> bool:
    """Return whether this process is the first of its training, or alone."""
    return os.environ.get("RANK", "0") == "0"
