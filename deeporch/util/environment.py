"""Where a number was measured: versions, device, git revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from .processor import free_cores

PACKAGES = ("deeporch", "torch", "torchaudio", "numpy", "librosa", "pandas", "soundfile", "safetensors", "papermill")


def describe_device(device: str | torch.device = "cpu") -> str:
    """Return a device in words for tables, e.g. ``"2 CPU cores"`` (as many as PyTorch uses) or ``"NVIDIA H100"``."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = min(cores or 1, torch.get_num_threads())  # those that are used
    return f"{cores} CPU core{'s' if cores != 1 else ''}"


def git_revision() -> str:
    """Return the short revision of the repository, with ``+`` if files differ from it; "" outside git."""
    folder = Path(__file__).resolve().parents[1]
    try:
        run = lambda *a: subprocess.run(("git", "-C", folder, *a), capture_output=True, text=True, timeout=10)  # noqa: E731
        head = run("rev-parse", "--short", "HEAD")
        dirty = run("status", "--porcelain", "--untracked-files=no").stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+" if dirty else "") if head.returncode == 0 else ""


def environment() -> dict[str, str]:
    """Return versions, git revision, platform and devices, JSON-ready."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["git"] = git_revision()
    found["platform"] = f"{platform.system()} {platform.machine()}"
    found["device"] = describe_device("cuda" if torch.cuda.is_available() else "cpu")
    return found


def limit_threads() -> None:
    """Let torch use no more threads than this process has cores, a container's quota included."""
    if torch.get_num_threads() > free_cores():
        torch.set_num_threads(free_cores())


def pick_device(device: str = "auto") -> torch.device:
    """Return the device: ``"auto"`` is the GPU if there is one.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` (``"cuda:1"`` …) or, on a Mac, ``"mps"``.

    Raises
    ------
    ValueError
        If a GPU is asked for that is not there, or the name is unknown.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"Unknown device {device!r}: use 'auto', 'cpu', 'cuda' or 'mps'.")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[found.type]
    if (found.index or 0) >= there:
        have = there or "no"
        raise ValueError(f"Device {device!r} was asked for, but PyTorch finds {have} GPU: use 'auto' or 'cpu'.")
    return found
