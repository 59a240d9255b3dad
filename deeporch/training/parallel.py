"""Processes that train one network together, by Hugging Face Accelerate: a GPU each, or a share of the CPU's cores.

`fit` asks `Ranks` for its share of every batch. In one process nothing changes; in several (``deeporch train
--processes 2``, ``accelerate launch``, ``notebook_launcher``) the network learns from the same batches: the batch size
is that of all of them together, batch-norm sees the whole batch, and sums are reduced exactly.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

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


# ---- Starting the processes ------------------------------------------------------------------------------------------


def check_processes(processes: int, device: str = "auto") -> None:
    """Raise a ValueError if there are more processes than GPUs or cores."""
    cuda = pick_device(device).type == "cuda"
    most, what = (torch.cuda.device_count(), "GPU") if cuda else (os.cpu_count() or 1, "core")
    if not 1 <= processes <= most:
        raise ValueError(
            f"{processes} processes were asked for, but this machine has {most} {what}{'s' if most > 1 else ''}: "
            "a process needs one of its own."
        )


def first() -> bool:
    """Return whether this process is the first of its training, or alone."""
    return os.environ.get("RANK", "0") == "0"


def together(command: Callable[[Any], int], options: Any) -> int:
    """Run a command here, or start it again in as many ``processes`` as its options say; return the exit code."""
    if options.processes != 1 and "RANK" not in os.environ:
        check_processes(options.processes, options.device)
        return launch(["-m", "deeporch", *options.arguments], options.processes, options.device)
    try:
        return command(options)
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or "peer" in str(error)
        if lost and os.environ.get("WORLD_SIZE", "1") != "1":
            return 3  # the process that started both tells
        raise


def launch(command: Sequence[str], processes: int, device: str = "auto") -> int:
    """Run a command in several processes that train together; end all of them when one ends badly."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if sys.platform == "linux":  # the others are here, whatever the machine's name resolves to
        common |= {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo")}
    if pick_device(device).type == "cpu":
        common |= {"OMP_NUM_THREADS": max(1, (os.cpu_count() or 1) // processes)}
    ranks = []
    with ExitStack() as stack:
        for rank in range(processes):
            own = {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} if rank else {}  # the first one tells
            ranks.append(subprocess.Popen([sys.executable, *command], env=os.environ | own, **quiet))
            stack.callback(ranks[-1].wait)
            stack.callback(ranks[-1].kill)
        while not any(status := [process.poll() for process in ranks]) and None in status:
            time.sleep(0.2)
        time.sleep(0.5)  # whoever ended because of another is not the one to name
        status = [process.poll() for process in ranks]
        if 2 in status:  # bad input, which the first has told
            ranks[0].wait()
            return 2
        if not any(status):
            return 0
        signals = [rank for rank, code in enumerate(status) if code and code < 0]
        bad = (signals or [rank for rank, code in enumerate(status) if code])[0]
        how = f"was killed by signal {-status[bad]}" if signals else f"ended with status {status[bad]}"
        raise OSError(
            f"process {bad + 1} of {processes} {how}, and the others were stopped. The same command goes on from the "
            "last epoch that was kept, with any number of --processes, if it has a --folder."
        )
