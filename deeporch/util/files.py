"""Where files go, and how they are written so that a killed run leaves no half of one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Return the folder of everything that can be made again.

    ``$DEEPORCH_CACHE`` if it is set, otherwise the user's cache folder (on Linux ``~/.cache/deeporch``).
    """
    root = os.environ.get("DEEPORCH_CACHE")
    return Path(root).expanduser() if root else Path(platformdirs.user_cache_dir("deeporch"))


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it if the block succeeds.

    A reader sees the old file or the whole new one, also when two processes write the same path at once.

    Parameters
    ----------
    path : str or Path
        The file to write. Its folder is made if it is missing.

    Yields
    ------
    Path
        Write here; on an exception it is deleted and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_hash(path: str | Path, algorithm: str = "md5") -> str:
    """Return the hexadecimal digest of a file, read in blocks."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def writing_to(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path`; an unwritable folder is one sentence."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise OSError(
            f"{str(path)!r} cannot be written ({error.strerror or error}): choose a folder that you may write to."
        ) from None
