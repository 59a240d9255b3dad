"""What of a machine's processor and memory a computation may use."""

from __future__ import annotations

import ctypes
import math
import os
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of glibc's mallopt


def free_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or a container's quota if that is less."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, _quota())))


def _quota() -> float:
    """Return the cores that the container's cgroup grants, version 2 or 1; infinity where there is no limit."""
    with suppress(OSError, ValueError):
        limit, period = (_CGROUP / "cpu.max").read_text().split()
        return math.inf if limit == "max" else int(limit) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        limit, period = (int((_CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return math.inf if limit < 0 else limit / period
    return math.inf


def wait_passively() -> None:
    """Let OpenMP's threads sleep at barriers, not spin; only before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_memory() -> None:
    """Let freed blocks over 32 MB be used again, where the C library is glibc."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
