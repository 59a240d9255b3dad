"""Where files go, and how they are written so that a killed run or a full disk leaves no half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import platformdirs
import psutil

MARK = ".deeporch-"  # what is being written is called .deeporch-HOST-PID-NAME-…: only that is ever tidied away
BLOCK = 1 << 16  # bytes
BLOCKS = 4096  # of a larger file so many, evenly spaced, make its checksum


def user_path(path: str | Path) -> Path:
    """Return a path that a user gave, ``~`` for the home folder resolved."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~somebody who has no home here
        return Path(path)


def cache_dir() -> Path:
    """Return the folder of what can be made again: ``$DEEPORCH_CACHE``, or deeporch in the user's cache folder."""
    root = os.environ.get("DEEPORCH_CACHE")
    return user_path(root) if root else Path(platformdirs.user_cache_dir("deeporch"))


# ---- Writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which it replaces if the block succeeds; an OSError is one sentence."""
    path = user_path(path)
    temporary = None
    try:
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path.parent, path.name)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path.name), suffix=path.suffix[:16])
            os.close(handle)
            temporary = Path(name)
            yield temporary
            temporary.chmod(0o666 & ~umask())  # mkstemp makes private files
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path, keep: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield a new folder beside `folder`, whose place it takes in one step if the block succeeds."""
    with _explained(folder):
        temporary = draft_folder(folder)
        try:
            yield temporary
            temporary.chmod(0o777 & ~umask())
            for _ in range(10):
                with suppress(OSError):  # there is a folder already
                    temporary.rename(folder)
                    return
                if keep and keep(folder):
                    return
                old = draft_folder(folder)
                with suppress(OSError):
                    os.replace(folder, old)  # whoever has it open keeps the memory map
                shutil.rmtree(old, ignore_errors=True)
            raise OSError(f"{str(folder)!r} cannot be replaced: delete it and try again.")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def draft_folder(folder: Path) -> Path:
    """Make and return a new folder beside `folder`, to be renamed; what killed processes left there is deleted."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix=_prefix(folder.name)))


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write `data` to `path` atomically; return the path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` to `path` atomically, as UTF-8; return the path."""
    return write_bytes(path, text.encode("utf-8", "replace"))


def sweep(folder: Path, name: str | None = None) -> None:
    """Delete what killed processes left half written, here or (older than a day) on another machine; nothing else."""
    for left in folder.glob(f"{MARK}*"):
        made = re.match(rf"{re.escape(MARK)}(\w+)-(\d+)-(\w+)-", left.name)
        if not made or (name is not None and made[3] != _short(name)):
            continue
        with suppress(OSError):
            ours = made[1] == _host()
            if psutil.pid_exists(int(made[2])) if ours else time.time() - left.lstat().st_mtime < 86_400:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def _host() -> str:
    return _short(platform.node())


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _prefix(name: str) -> str:
    return f"{MARK}{_host()}-{os.getpid()}-{_short(name)}-"


def umask() -> int:
    """Return the rights that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the operating system's errors in writing `path` into a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename or path)).absolute().parent
        elsewhere = not path.absolute().is_relative_to(place)
        if error.errno not in ADVICE or elsewhere:
            raise
        where = "set DEEPORCH_CACHE to a folder" if path.is_relative_to(cache_dir()) else "choose a folder"
        said = type(error)(f"{str(path)!r} cannot be written ({error.strerror}): {where} {ADVICE[error.errno]}.")
        said.errno = error.errno
        raise said from None


ADVICE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "with more room, or free some") | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
    "that you may write to",
)


# ---- The cache -------------------------------------------------------------------------------------------------------


def cache_path(folder: str, name: str, about: object, suffix: str = "") -> Path:
    """Return where in a folder of the cache something is kept: by a name, and what it is made of, JSON-ready."""
    digest = hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()
    return cache_dir() / folder / f"{name}-{digest[:20]}{suffix}"


def cached_array(path: Path, shape: Sequence[int], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    """Return a float16 array of the cache, memory-mapped; `fill` makes it once, and again if the file is damaged."""
    shape = tuple(int(size) for size in shape)
    if not _is_whole(path, shape):
        with atomic_path(path) as temporary:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
            _reserve(temporary)
            fill(array)
            array.flush()
            del array
            digest = checksum(temporary)
            with temporary.open("ab") as file:
                file.write(digest.encode())
    # Mode "c" maps pages privately: torch may treat them as writable, and the file is never changed.
    return np.load(path, mmap_mode="c")


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        found = np.load(path, mmap_mode="r")
        size = found.offset + found.nbytes
        with path.open("rb") as file:
            file.seek(size)
            stated = file.read().decode("ascii", "replace")
        return (found.shape, found.dtype) == (shape, np.float16) and stated == checksum(path, size)
    except (OSError, ValueError, EOFError):
        return False


def _reserve(path: Path) -> None:
    """Take up a sparse file's whole size on the disk, or raise OSError."""
    size = path.stat().st_size
    if not hasattr(os, "posix_fallocate"):
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def checksum(path: Path, size: int | None = None) -> str:
    """Return eight digits of a file's first `size` bytes (default: all); of large files a sample decides."""
    size = path.stat().st_size if size is None else size
    blocks = -(-size // BLOCK)
    chosen = range(blocks) if blocks <= BLOCKS else (k * (blocks - 1) // (BLOCKS - 1) for k in range(BLOCKS))
    crc = zlib.crc32(str(size).encode())
    with path.open("rb") as file:
        for block in chosen:
            file.seek(block * BLOCK)
            crc = zlib.crc32(file.read(min(BLOCK, size - block * BLOCK)), crc)
    return f"{crc:08x}"


def file_hash(path: str | Path, algorithm: str = "md5") -> str:
    """Return the hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
