"""Mixing and mel spectrograms on a processor, compiled by numba: what memory would slow down stays in its first cache.

Nothing here holds Python's lock, so that threads share the work. Machine code is kept beside this file for the next
process. `Mixtures` and `Mel` use it on a CPU, and torch on a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from ..util.compiled import librosa, numba

N_FFT = 2048  # the frame that `mel_power` transforms
POINTS, QUARTER = N_FFT // 2, N_FFT // 8  # complex points: even samples are real parts, odd ones imaginary parts
BLOCK = 1024  # samples that `mix` unpacks at a time
FAST = {"reassoc", "contract", "arcp", "nsz"}  # sums in any order; but what is no number stays none
compiled = numba.njit(nogil=True, fastmath=FAST, error_model="numpy", cache=True)


def warm_up() -> None:
    """Compile now what the first use would wait half a minute for, librosa's tools included: `make setup`."""
    librosa.util.normalize(np.ones(2))
    nothing, one = np.zeros((1, N_FFT), np.int16), np.zeros(1, np.int64)
    sound = np.zeros(N_FFT, np.float32)
    mix(nothing, one, one, np.ones(1, np.float32), one, sound)
    mel_power(sound, 1, transform_constants(), mel_bands(44_100, 128), np.zeros((1, 128), np.float32))


def in_threads(work: Callable[[range], None], count: int, threads: int) -> None:
    """Let up to so many threads work, this one among them, each on its share of the numbers from 0 to `count` - 1."""
    threads = max(1, min(threads, count))
    shares = [range(first, count, threads) for first in range(threads)]
    waiting = [_helpers(threads - 1).submit(work, share) for share in shares[1:]]
    work(shares[0])
    for helper in waiting:
        helper.result()


@lru_cache
def _helpers(threads: int) -> ThreadPoolExecutor:
    """Return threads that are kept: to start them takes as long as to make a picture."""
    return ThreadPoolExecutor(threads, "deeporch")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads do not outlive a fork


# ---- Mixing ----------------------------------------------------------------------------------------------------------


@compiled
def mix(
    half: np.ndarray, lengths: np.ndarray, rows: np.ndarray, gains: np.ndarray, starts: np.ndarray, out: np.ndarray
) -> None:
    """Add notes, as samples or as anything else that is linear, to a sound, float32 [samples]."""
    bits = np.empty(BLOCK, np.int32)
    values = bits.view(np.float32)
    for row, gain, start in zip(rows, gains, starts):  # noqa: B905 (numba has no strict)
        first, at = max(start, 0), max(-start, 0)
        note = half[row, first : max(first, min(lengths[row], first + len(out) - at))]
        scale = gain * np.float32(2.0**112)  # the exponents' offsets are 15 and 127
        for begin in range(0, len(note), BLOCK):
            packed = note[begin : begin + BLOCK]
            heard = out[at + begin : at + begin + len(packed)]
            for k in range(len(packed)):
                endless = ((packed[k] & 0x7C00) + 0x0400) >> 15  # 1: an infinity, or no number
                bits[k] = ((packed[k] & 0x8000) << 16) | ((packed[k] & 0x7FFF) << 13) | (endless * 0x7F800000)
            for k in range(len(packed)):
                heard[k] += scale * values[k]


# ---- Mel spectrograms ------------------------------------------------------------------------------------------------


@compiled
def mel_power(
    sound: np.ndarray, hop: int, constants: tuple[np.ndarray, ...], bands: tuple[np.ndarray, ...], out: np.ndarray
) -> None:
    """Write the mel power of the frames of a sound."""
    window, twiddle, unpack = constants
    x, y = np.empty(N_FFT, np.float32), np.empty(N_FFT, np.float32)  # real parts, then imaginary parts
    power = np.empty(POINTS + 1, np.float32)
    even, odd = sound[::2].copy(), sound[1::2].copy()
    for frame in range(len(out)):
        at, later = divmod(frame * hop, 2)
        if later:  # an odd place: the frame's even samples are the sound's odd ones
            _load(odd[at : at + POINTS], even[at + 1 : at + 1 + POINTS], window, x)
        else:
            _load(even[at : at + POINTS], odd[at : at + POINTS], window, x)
        _pass_1(x, y, twiddle)
        _pass_4(y, x, twiddle)
        _pass_16(x, y, twiddle)
        _pass_64(y, x, twiddle)
        _pass_256(x, y, twiddle)
        _power(y, unpack, power)
        _sum_bands(power, bands, out[frame])


def _pass(stride: int) -> Callable:
    """Compile one of the five passes of Stockham's Fourier transform by fours; the stride is a constant to it.

    Source: C. Van Loan: Computational Frameworks for the Fast Fourier Transform, SIAM 1992, section 1.7.
    """

    @compiled
    def run(x: np.ndarray, y: np.ndarray, twiddle: np.ndarray) -> None:
        for p in range(QUARTER // stride):
            ur, ui = twiddle[p * stride], twiddle[POINTS + p * stride]
            vr, vi = ur * ur - ui * ui, ur * ui + ur * ui
            wr, wi = ur * vr - ui * vi, ur * vi + ui * vr
            for q in range(stride):
                i, o = p * stride + q, 4 * p * stride + q
                ar, ai = x[i], x[i + POINTS]
                br, bi = x[i + QUARTER], x[i + QUARTER + POINTS]
                cr, ci = x[i + 2 * QUARTER], x[i + 2 * QUARTER + POINTS]
                dr, di = x[i + 3 * QUARTER], x[i + 3 * QUARTER + POINTS]
                er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
                gr, gi, hr, hi = br + dr, bi + di, bi - di, dr - br
                y[o], y[o + POINTS] = er + gr, ei + gi
                br, bi, cr, ci, dr, di = fr + hr, fi + hi, er - gr, ei - gi, fr - hr, fi - hi
                y[o + stride], y[o + stride + POINTS] = br * ur - bi * ui, br * ui + bi * ur
                y[o + 2 * stride], y[o + 2 * stride + POINTS] = cr * vr - ci * vi, cr * vi + ci * vr
                y[o + 3 * stride], y[o + 3 * stride + POINTS] = dr * wr - di * wi, dr * wi + di * wr

    return run


_pass_1, _pass_4, _pass_16, _pass_64, _pass_256 = map(_pass, (1, 4, 16, 64, 256))


@compiled
def _load(even: np.ndarray, odd: np.ndarray, window: np.ndarray, x: np.ndarray) -> None:
    for k in range(POINTS):
        x[k] = even[k] * window[k]
    for k in range(POINTS):
        x[k + POINTS] = odd[k] * window[k + POINTS]


@compiled
def _power(z: np.ndarray, unpack: np.ndarray, power: np.ndarray) -> None:
    """Take the spectra of even and odd samples apart, and write the power of their sum."""
    power[0], power[POINTS] = (z[0] + z[POINTS]) ** 2, (z[0] - z[POINTS]) ** 2
    for k in range(1, POINTS):
        ar, ai, br, bi = z[k], z[k + POINTS], z[POINTS - k], z[2 * POINTS - k]
        er, ei, dr, di = ar + br, ai - bi, ar - br, ai + bi
        real = er + dr * unpack[k + POINTS] + di * unpack[k]
        imaginary = ei - dr * unpack[k] + di * unpack[k + POINTS]
        power[k] = np.float32(0.25) * (real * real + imaginary * imaginary)


@compiled
def _sum_bands(power: np.ndarray, bands: tuple[np.ndarray, ...], out: np.ndarray) -> None:
    first, count, place, weights = bands
    for m in range(len(first)):
        bins = power[first[m] : first[m] + count[m]]
        weight = weights[place[m] : place[m] + count[m]]
        total = np.float32(0)
        for k in range(len(bins)):
            total += weight[k] * bins[k]
        out[m] = total


@lru_cache
def transform_constants() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the Hann window of even and odd samples, and real and imaginary parts of the transform's factors."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    angle = np.pi * np.arange(POINTS) / POINTS
    parts = [(window[::2], window[1::2]), (np.cos(2 * angle), -np.sin(2 * angle)), (np.cos(angle), -np.sin(angle))]
    return tuple(np.concatenate(pair).astype(np.float32) for pair in parts)


@lru_cache
def mel_bands(sample_rate: int, n_mels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return librosa's mel matrix without its zeros: first bin, bins and place of each band's weights; the weights."""
    matrix = librosa.filters.mel(sr=sample_rate, n_fft=N_FFT, n_mels=n_mels)
    count = (matrix > 0).sum(1)
    first = (matrix > 0).argmax(1)
    place = np.cumsum(count) - count
    return first, count, place, matrix[matrix > 0].astype(np.float32)
