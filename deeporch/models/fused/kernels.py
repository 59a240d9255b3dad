"""What conv stages compute besides torch's convolutions, compiled by numba; bfloat16 travels as its bits, uint16."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from ...mixtures.mixing import compiled

NOTHING = np.uint8(4)  # beside the places 0 to 3 of a window's maximum: the ReLU let nothing pass
DROPPED = np.float32(-1e30)  # stands for what dropout took


# ---- bfloat16: the upper half of a float32 ---------------------------------------------------------------------------


@compiled
def _unpack(bits: np.ndarray, whole: np.ndarray) -> None:
    for i in range(len(bits)):
        whole[i] = np.uint32(bits[i]) << np.uint32(16)


@compiled
def _pack(whole: np.ndarray, bits: np.ndarray) -> None:
    """Round to the nearest, to even if there are two."""
    for i in range(len(bits)):
        bits[i] = (whole[i] + np.uint32(0x7FFF) + ((whole[i] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)


# ---- The first stage: one input channel ------------------------------------------------------------------------------


@compiled
def _split(image, pad) -> None:  # noqa: ANN001
    """Write an image's even and odd columns with a border of zeros, [2, rows + 2, columns / 2 + 2]."""
    rows, columns = image.shape
    for r in range(rows):
        even, odd = pad[0, r + 1], pad[1, r + 1]
        for k in range(columns // 2):
            even[k + 1] = image[r, 2 * k]
            odd[k + 1] = image[r, 2 * k + 1]


LAGS = np.array([(0, 0), (0, 1), (0, 2), *((r, c) for r in (1, 2) for c in range(-2, 3))])  # of rows and columns


@compiled
def moments(images, first, step, sums) -> None:  # noqa: ANN001
    """Add up images times themselves moved by each of `LAGS`, and images alone: [3, 14, 3]."""
    count, rows, columns = images.shape
    pad = np.zeros((rows + 2, columns + 4), np.float32)
    line = np.empty((14, 3))
    for b in range(first, count, step):
        pad[:rows, 2:-2] = images[b]
        for r in range(rows):
            one = pad[r, 2:-2]
            total = np.float32(0)
            for k in range(columns):
                total += one[k]
            line[13, 0], line[13, 1], line[13, 2] = total, one[0], one[columns - 1]
            for i in range(13):
                other = pad[r + LAGS[i, 0], 2 + LAGS[i, 1] : 2 + LAGS[i, 1] + columns]
                total = np.float32(0)
                for k in range(columns):
                    total += one[k] * other[k]
                line[i, 0], line[i, 1], line[i, 2] = total, one[0] * other[0], one[columns - 1] * other[columns - 1]
            sums[0] += line
            if r == 0:
                sums[1] += line
            if r == rows - 1:
                sums[2] += line


def shifted_moments(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of the nine shifted images [9], and of their products [9, 9], from what `moments` adds up."""

    def inner(i: int, j: int, what: int) -> float:  # what is shifted up or to the left loses the first row or column
        rows = sums[0] - (sums[2] if i == 0 else sums[1] if i == 2 else 0)
        line = rows[what]
        return line[0] - (line[2] if j == 0 else line[1] if j == 2 else 0)

    single, product = np.empty(9), np.empty((9, 9))
    lag = {tuple(pair): i for i, pair in enumerate(LAGS.tolist())}
    for a in range(9):
        (i, j) = divmod(a, 3)
        single[a] = inner(i, j, 13)
        for b in range(a, 9):
            (m, n) = divmod(b, 3)
            product[a, b] = product[b, a] = inner(i, j, lag[m - i, n - j])
    return single, product


@compiled
def first_forward(images, first, step, weight, scale, shift, out, place) -> None:  # noqa: ANN001
    """Write ReLU(scale · max-pool(±conv) + shift), bfloat16 [batch, rows / 2, columns / 2, channels], and places."""
    count, rows, columns = images.shape
    channels, half = len(weight), columns // 2
    pad = np.zeros((2, rows + 2, half + 2), np.float32)
    best = np.empty(half, np.float32)
    whole = best.view(np.uint32)
    bits = np.empty(half, np.uint16)
    for b in range(first, count, step):
        _split(images[b], pad)
        for r in range(rows // 2):
            e0, e1, e2, e3 = pad[0, 2 * r], pad[0, 2 * r + 1], pad[0, 2 * r + 2], pad[0, 2 * r + 3]
            o0, o1, o2, o3 = pad[1, 2 * r], pad[1, 2 * r + 1], pad[1, 2 * r + 2], pad[1, 2 * r + 3]
            for c in range(channels):
                w0, w1, w2, w3, w4, w5, w6, w7, w8 = (
                    weight[c, 0], weight[c, 1], weight[c, 2], weight[c, 3], weight[c, 4],
                    weight[c, 5], weight[c, 6], weight[c, 7], weight[c, 8],
                )  # fmt: skip
                s, t = scale[c], shift[c]
                where = place[b, r, c]
                for k in range(half):
                    p0, a0, b0, n0 = o0[k], e0[k + 1], o0[k + 1], e0[k + 2]
                    p1, a1, b1, n1 = o1[k], e1[k + 1], o1[k + 1], e1[k + 2]
                    p2, a2, b2, n2 = o2[k], e2[k + 1], o2[k + 1], e2[k + 2]
                    p3, a3, b3, n3 = o3[k], e3[k + 1], o3[k + 1], e3[k + 2]
                    y0 = w0 * p0 + w1 * a0 + w2 * b0 + w3 * p1 + w4 * a1 + w5 * b1 + w6 * p2 + w7 * a2 + w8 * b2
                    y1 = w0 * a0 + w1 * b0 + w2 * n0 + w3 * a1 + w4 * b1 + w5 * n1 + w6 * a2 + w7 * b2 + w8 * n2
                    y2 = w0 * p1 + w1 * a1 + w2 * b1 + w3 * p2 + w4 * a2 + w5 * b2 + w6 * p3 + w7 * a3 + w8 * b3
                    y3 = w0 * a1 + w1 * b1 + w2 * n1 + w3 * a2 + w4 * b2 + w5 * n2 + w6 * a3 + w7 * b3 + w8 * n3
                    q0 = np.uint8(1) if y1 > y0 else np.uint8(0)
                    m0 = max(y0, y1)
                    q1 = np.uint8(3) if y3 > y2 else np.uint8(2)
                    m1 = max(y2, y3)
                    q = q1 if m1 > m0 else q0
                    m = max(m0, m1) * s + t
                    where[k] = NOTHING if m <= 0 else q
                    best[k] = np.float32(0) if m <= 0 else m
                _pack(whole, bits)
                for k in range(half):
                    out[b, r, k, c] = bits[k]


@compiled
def first_backward(images, first, step, grad, place, sums) -> None:  # noqa: ANN001
    """Add per channel the sums of the gradient times nine shifted images, and of the gradient, [channels, 10]."""
    count, rows, columns = images.shape
    channels, half = len(sums), columns // 2
    pad = np.zeros((2, rows + 2, half + 2), np.float32)
    whole = np.empty((channels, half), np.uint32)
    values = whole.view(np.float32)
    for b in range(first, count, step):
        _split(images[b], pad)
        for r in range(rows // 2):
            e0, e1, e2, e3 = pad[0, 2 * r], pad[0, 2 * r + 1], pad[0, 2 * r + 2], pad[0, 2 * r + 3]
            o0, o1, o2, o3 = pad[1, 2 * r], pad[1, 2 * r + 1], pad[1, 2 * r + 2], pad[1, 2 * r + 3]
            for k in range(half):
                for c in range(channels):
                    whole[c, k] = np.uint32(grad[b, r, k, c]) << np.uint32(16)
            for c in range(channels):
                d, where = values[c], place[b, r, c]
                z = np.float32(0)
                s0, s1, s2, s3, s4, s5, s6, s7, s8, total = z, z, z, z, z, z, z, z, z, z
                for k in range(half):
                    d0 = d[k] if where[k] == 0 else z
                    d1 = d[k] if where[k] == 1 else z
                    d2 = d[k] if where[k] == 2 else z
                    d3 = d[k] if where[k] == 3 else z
                    total += d0 + d1 + d2 + d3
                    p0, a0, b0, n0 = o0[k], e0[k + 1], o0[k + 1], e0[k + 2]
                    p1, a1, b1, n1 = o1[k], e1[k + 1], o1[k + 1], e1[k + 2]
                    p2, a2, b2, n2 = o2[k], e2[k + 1], o2[k + 1], e2[k + 2]
                    p3, a3, b3, n3 = o3[k], e3[k + 1], o3[k + 1], e3[k + 2]
                    s0 += d0 * p0 + d1 * a0 + d2 * p1 + d3 * a1
                    s1 += d0 * a0 + d1 * b0 + d2 * a1 + d3 * b1
                    s2 += d0 * b0 + d1 * n0 + d2 * b1 + d3 * n1
                    s3 += d0 * p1 + d1 * a1 + d2 * p2 + d3 * a2
                    s4 += d0 * a1 + d1 * b1 + d2 * a2 + d3 * b2
                    s5 += d0 * b1 + d1 * n1 + d2 * b2 + d3 * n2
                    s6 += d0 * p2 + d1 * a2 + d2 * p3 + d3 * a3
                    s7 += d0 * a2 + d1 * b2 + d2 * a3 + d3 * b3
                    s8 += d0 * b2 + d1 * n2 + d2 * b3 + d3 * n3
                for j, s in enumerate((s0, s1, s2, s3, s4, s5, s6, s7, s8, total)):
                    sums[c, j] += s


# ---- Further stages: torch convolves, and the rest is here -----------------------------------------------------------


@lru_cache
def kernels(channels: int) -> SimpleNamespace:
    """Compile what follows a conv of so many channels: a constant to the compiler."""
    C = channels

    @compiled
    def pool(y, keep, sign, first, step, best, place, sums) -> None:  # noqa: ANN001
        """Write each window's largest `sign` · y that is kept, and its place; add up y and y² of each channel."""
        count, rows, width = y.shape
        dropped = keep.size > 0
        upper, lower = np.empty(width, np.uint32), np.empty(width, np.uint32)
        u, v = upper.view(np.float32), lower.view(np.float32)
        top = np.empty(width // 2, np.float32)
        top_bits = top.view(np.uint32)
        one, two = np.zeros(width, np.float32), np.zeros(width, np.float32)
        for b in range(first, count, step):
            one[:] = 0
            two[:] = 0
            for r in range(rows // 2):
                _unpack(y[b, 2 * r], upper)
                _unpack(y[b, 2 * r + 1], lower)
                for i in range(width):
                    one[i] += u[i] + v[i]
                    two[i] += u[i] * u[i] + v[i] * v[i]
                if dropped:
                    ku, kv = keep[b, 2 * r], keep[b, 2 * r + 1]
                    for k in range(width // C):
                        for c in range(C):
                            i = k * C + c
                            u[i] = u[i] * sign[c] if ku[i] else DROPPED
                            v[i] = v[i] * sign[c] if kv[i] else DROPPED
                else:
                    for k in range(width // C):
                        for c in range(C):
                            u[k * C + c] *= sign[c]
                            v[k * C + c] *= sign[c]
                where = place[b, r]
                for k in range(width // (2 * C)):
                    for c in range(C):
                        i, o = 2 * k * C + c, k * C + c
                        y0, y1, y2, y3 = u[i], u[i + C], v[i], v[i + C]
                        q0 = np.uint8(1) if y1 > y0 else np.uint8(0)
                        m0 = max(y0, y1)
                        q1 = np.uint8(3) if y3 > y2 else np.uint8(2)
                        m1 = max(y2, y3)
                        where[o] = q1 if m1 > m0 else q0
                        top[o] = max(m0, m1)
                _pack(top_bits, best[b, r])
            for k in range(width // C):
                for c in range(C):
                    sums[0, c] += one[k * C + c]
                    sums[1, c] += two[k * C + c]

    @compiled
    def normalize(best, scale, shift, first, step, out, place) -> None:  # noqa: ANN001
        """Write ReLU(scale · best + shift), and that a place counts for nothing where it is 0."""
        count, rows, width = best.shape
        whole = np.empty(width, np.uint32)
        values = whole.view(np.float32)
        for b in range(first, count, step):
            for r in range(rows):
                _unpack(best[b, r], whole)
                where = place[b, r]
                for k in range(width // C):
                    for c in range(C):
                        i = k * C + c
                        m = values[i] * scale[c] + shift[c]
                        where[i] = NOTHING if m <= 0 else where[i]
                        values[i] = np.float32(0) if m <= 0 else m
                _pack(whole, out[b, r])

    @compiled
    def reduce(grad, best, place, first, step, sums) -> None:  # noqa: ANN001
        """Add up the gradient that passes, and the same times `best`, of each channel."""
        count, rows, width = grad.shape
        whole, other = np.empty(width, np.uint32), np.empty(width, np.uint32)
        d, y = whole.view(np.float32), other.view(np.float32)
        one, two = np.zeros(width, np.float32), np.zeros(width, np.float32)
        for b in range(first, count, step):
            one[:] = 0
            two[:] = 0
            for r in range(rows):
                _unpack(grad[b, r], whole)
                _unpack(best[b, r], other)
                where = place[b, r]
                for i in range(width):
                    passed = d[i] if where[i] < NOTHING else np.float32(0)
                    one[i] += passed
                    two[i] += passed * y[i]
            for k in range(width // C):
                for c in range(C):
                    sums[0, c] += one[k * C + c]
                    sums[1, c] += two[k * C + c]

    @compiled
    def spread(y, grad, place, slope, linear, constant, first, step, out) -> None:  # noqa: ANN001
        """Write the gradient of y: constant + linear · y everywhere, and slope · grad at the maxima."""
        count, rows, width = y.shape
        upper, lower, above = np.empty(width, np.uint32), np.empty(width, np.uint32), np.empty(width // 2, np.uint32)
        u, v, d = upper.view(np.float32), lower.view(np.float32), above.view(np.float32)
        for b in range(first, count, step):
            for r in range(rows // 2):
                _unpack(y[b, 2 * r], upper)
                _unpack(y[b, 2 * r + 1], lower)
                _unpack(grad[b, r], above)
                where = place[b, r]
                for k in range(width // (2 * C)):
                    for c in range(C):
                        i, o = 2 * k * C + c, k * C + c
                        g, q, m, t = slope[c] * d[o], where[o], linear[c], constant[c]
                        u[i] = t + m * u[i] + (g if q == 0 else np.float32(0))
                        u[i + C] = t + m * u[i + C] + (g if q == 1 else np.float32(0))
                        v[i] = t + m * v[i] + (g if q == 2 else np.float32(0))
                        v[i + C] = t + m * v[i + C] + (g if q == 3 else np.float32(0))
                _pack(upper, out[b, 2 * r])
                _pack(lower, out[b, 2 * r + 1])

    return SimpleNamespace(pool=pool, normalize=normalize, reduce=reduce, spread=spread)
