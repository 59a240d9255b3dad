"""`conv_stage`: conv, batch-norm, ReLU, dropout and max-pool of a training step in bfloat16 on a CPU.

The results are those of torch's own layers up to rounding. Batch-norm is monotonic, so that pooling may come first:
only a quarter of the numbers is normalized. Of a single input channel, the batch's statistics follow from the products
of shifted inputs, so that the first conv is never stored.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ...mixtures.mixing import in_threads
from .kernels import first_backward, first_forward, kernels, moments, shifted_moments


def _bits(x: torch.Tensor) -> np.ndarray:
    """Return a channels-last bfloat16 tensor's bits, [batch, rows, columns · channels]."""
    return x.permute(0, 2, 3, 1).view(torch.uint16).flatten(2).numpy()


def _empty(batch: int, channels: int, rows: int, columns: int) -> torch.Tensor:
    return torch.empty(batch, rows, columns, channels, dtype=torch.bfloat16).permute(0, 3, 1, 2)


def _shares(work, count: int, shape: tuple[int, ...]) -> np.ndarray:  # noqa: ANN001
    """Let threads call work(first, step, sums) and return the sum of their sums."""
    threads = max(1, min(torch.get_num_threads(), count))
    sums = np.zeros((threads, *shape))
    in_threads(lambda share: [work(i, threads, sums[i]) for i in share], threads, threads)
    return sums.sum(0)


class _First(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, gamma, beta, eps, statistics):  # noqa: ANN001, ANN205
        images = x[:, 0].float().contiguous()
        batch, rows, columns = images.shape
        source = images.numpy()
        count = batch * rows * columns
        sums = _shares(lambda i, step, s: moments(source, i, step, s), batch, (3, 14, 3))
        mean_x, full = (a / count for a in shifted_moments(sums))
        w = weight.detach().flatten(1).double().numpy()
        mean = w @ mean_x  # without the bias, which batch-norm takes away
        variance = np.maximum(np.einsum("ci,ij,cj->c", w, full, w) - mean**2, 0)
        g, b = gamma.detach().double().numpy(), beta.detach().double().numpy()
        inverse = 1 / np.sqrt(variance + eps)
        sign = np.where(g < 0, -1.0, 1.0)
        statistics["mean"] = torch.from_numpy(mean).float() + bias.detach()
        statistics["variance"] = torch.from_numpy(variance * count / max(count - 1, 1)).float()
        out = _empty(batch, len(w), rows // 2, columns // 2)
        place = np.empty((batch, rows // 2, len(w), columns // 2), np.uint8)
        signed = (w * sign[:, None]).astype(np.float32)
        scale, shift = np.abs(g * inverse).astype(np.float32), (b - g * inverse * mean).astype(np.float32)
        bits = out.permute(0, 2, 3, 1).view(torch.uint16).numpy()
        _shares(lambda i, step, s: first_forward(source, i, step, signed, scale, shift, bits, place), batch, (1,))
        ctx.kept = source, place, w, g, inverse, mean, mean_x, full
        return out

    @staticmethod
    def backward(ctx, grad):  # noqa: ANN001, ANN205
        source, place, w, g, inverse, mean, mean_x, full = ctx.kept
        grad = grad.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        bits = grad.permute(0, 2, 3, 1).view(torch.uint16).numpy()
        sums = _shares(lambda i, step, s: first_backward(source, i, step, bits, place, s), len(source), (len(w), 10))
        at, total = sums[:, :9], sums[:, 9]
        gamma = inverse * ((at * w).sum(1) - mean * total)
        # d/dw of conv: slope · (gradient at the maxima) + what batch-norm's mean and variance give back
        linear = -g * inverse**2 * gamma
        constant = -g * inverse * total - linear * mean
        weight = (g * inverse)[:, None] * at + constant[:, None] * mean_x + linear[:, None] * (w @ full)
        make = lambda a: torch.from_numpy(a).float()  # noqa: E731
        return None, make(weight).view(-1, 1, 3, 3), torch.zeros(len(w)), make(gamma), make(total), None, None


class _Stage(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, gamma, beta, eps, dropout, statistics):  # noqa: ANN001, ANN205
        x = x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        w = weight.detach().to(torch.bfloat16)
        y = functional.conv2d(x, w, None, padding=1).contiguous(memory_format=torch.channels_last)
        batch, channels, rows, columns = y.shape
        count, run = batch * rows * columns, kernels(channels)
        g, b = gamma.detach().double().numpy(), beta.detach().double().numpy()
        sign = np.where(g < 0, -1, 1).astype(np.float32)
        keep = _keep((batch, rows, columns * channels), dropout)
        best = _empty(batch, channels, rows // 2, columns // 2)
        place = np.empty((batch, rows // 2, columns // 2 * channels), np.uint8)
        from_, to = _bits(y), _bits(best)
        sums = _shares(lambda i, step, s: run.pool(from_, keep, sign, i, step, to, place, s), batch, (2, channels))
        mean = sums[0] / count
        variance = np.maximum(sums[1] / count - mean**2, 0)
        inverse = 1 / np.sqrt(variance + eps)
        statistics["mean"] = torch.from_numpy(mean).float() + bias.detach()
        statistics["variance"] = torch.from_numpy(variance * count / max(count - 1, 1)).float()
        more = 1 / max(1 - dropout, 1e-9)
        scale = (np.abs(g * inverse) * more).astype(np.float32)
        shift = ((b - g * inverse * mean) * more).astype(np.float32)
        out = _empty(batch, channels, rows // 2, columns // 2)
        result = _bits(out)
        _shares(lambda i, step, s: run.normalize(to, scale, shift, i, step, result, place), batch, (1,))
        ctx.kept = x, w, y, best, place, g, inverse, mean, sign, more
        return out

    @staticmethod
    def backward(ctx, grad):  # noqa: ANN001, ANN205
        x, w, y, best, place, g, inverse, mean, sign, more = ctx.kept
        grad = grad.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        batch, channels, rows, columns = y.shape
        count, run, d = batch * rows * columns, kernels(channels), _bits(grad)
        largest, values = _bits(best), _bits(y)
        sums = _shares(lambda i, step, s: run.reduce(d, largest, place, i, step, s), batch, (2, channels))
        total, times = sums * more
        gamma = inverse * (sign * times - mean * total)
        linear = -g * inverse**2 * gamma / count
        constant = -g * inverse * total / count - linear * mean
        slope, linear, constant = (a.astype(np.float32) for a in (g * inverse * more, linear, constant))
        back = _empty(*y.shape)
        to = _bits(back)
        _shares(lambda i, step, s: run.spread(values, d, place, slope, linear, constant, i, step, to), batch, (1,))
        dx, dw, _ = torch.ops.aten.convolution_backward(
            back, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [ctx.needs_input_grad[0], True, False]
        )
        make = lambda a: torch.from_numpy(a).float()  # noqa: E731
        return dx, dw.float(), torch.zeros(channels), make(gamma), make(total), None, None, None


def _keep(shape: tuple[int, ...], dropout: float) -> np.ndarray:
    """Return what dropout leaves, from 16 random bits each."""
    if not dropout:
        return np.empty((0, 0, 0), np.bool_)
    size = int(np.prod(shape))
    bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.uint16)[:size]
    return (bits.numpy() >= round(dropout * 65_536)).reshape(shape)


def applies(x: torch.Tensor) -> bool:
    """Return whether `conv_stage` may stand for torch's layers: in bfloat16 on a CPU, where sides can be halved."""
    even = x.shape[2] % 2 == x.shape[3] % 2 == 0
    return even and x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()


def conv_stage(x: torch.Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, dropout: float = 0.0) -> torch.Tensor:
    """Return max-pool(dropout(ReLU(norm(conv(x))))) in training, [batch, channels, rows / 2, columns / 2]."""
    statistics: dict[str, torch.Tensor] = {}
    parameters = (conv.weight, conv.bias, norm.weight, norm.bias, norm.eps)
    if x.shape[1] == 1 and not x.requires_grad and not dropout:
        y = _First.apply(x, *parameters, statistics)
    else:
        y = _Stage.apply(x, *parameters, dropout, statistics)
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(statistics["mean"], norm.momentum)
        norm.running_var.lerp_(statistics["variance"], norm.momentum)
    return y
