"""A training step on a GPU, recorded and replayed: small batches do not wait for hundreds of launches."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import torch
from tqdm import tqdm

WARM_UP = 3  # steps before the one that is recorded, in which libraries choose their kernels


class Captured:
    """A function of two tensors on a GPU, recorded as a CUDA graph and replayed for inputs of the same shapes.

    The function must not wait for the GPU, and must leave what it changes (weights, statistics, the optimizer's state)
    in the same places of memory. Other shapes, such as an epoch's last batch, are computed as they come.
    """

    def __init__(self, step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        self.step, self.steps = step, 0.0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return what the function does; the next call may overwrite it."""
        if self.graph is not None and x.shape == self.x.shape:
            self.x.copy_(x)
            self.target.copy_(target)
            self.graph.replay()
            return self.result
        if self.graph is not None:
            return self.step(x, target)
        self.steps += 1
        if self.steps <= WARM_UP:
            return self._aside(x, target)
        return self._record(x, target)

    def _aside(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute on another stream, as recording will."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            result = self.step(x, target)
        torch.cuda.current_stream().wait_stream(stream)
        return result

    def _record(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.x, self.target = x.clone(), target.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.result = self.step(self.x, self.target)
        except RuntimeError as error:  # a layer that waits for the GPU
            self.steps = -math.inf
            why = str(error).splitlines()[0]
            tqdm.write(f"Steps are computed one by one from here on, as they cannot be recorded: {why}", sys.stderr)
        else:
            self.graph = graph
        return self(x, target)
