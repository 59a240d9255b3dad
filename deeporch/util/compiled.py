"""numba and librosa; where code and home folder are read-only, their machine code is kept in the cache."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import librosa
import numba
import platformdirs

from .files import cache_dir

__all__ = ["librosa", "numba"]


def _writable(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


if not numba.config.CACHE_DIR and not _writable(Path(platformdirs.user_cache_dir("numba"))):
    if _writable(cache_dir() / "numba"):
        numba.config.CACHE_DIR = str(cache_dir() / "numba")
    else:  # compiled anew in every process
        numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="deeporch-")
        atexit.register(shutil.rmtree, numba.config.CACHE_DIR, ignore_errors=True)
