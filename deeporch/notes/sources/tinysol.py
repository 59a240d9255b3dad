"""TinySOL: 2,913 ordinary notes of 14 instruments, recorded at Ircam from 1996 to 1999.

Citation: Carmine Emanuele Cella, Daniele Ghisi, Vincent Lostanlen, Fabien Lévy, Joshua Fineberg, Yan Maresz,
          *TinySOL: an audio dataset of isolated musical notes*, version 6.0, Zenodo, 2020.
Licence:  CC BY 4.0
URL:      https://doi.org/10.5281/zenodo.3685367
Checksum: md5 36030a7fe389da86c3419e5ee48e3b7f (TinySOL.tar.gz), a86c9bb115f69e61f2f25872e397fc4a (TinySOL_metadata.csv)
Grammar:  as in SOL (see ``sol.py``): ``Fl-ord-C4-mf-N-T14d.wav``; the metadata file says the same and more, five folds
          among it.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ...util.checks import check_choice
from ...util.files import cache_dir, draft_folder
from ..download import download_file
from ..recordings import Found
from ..recordings import read as read
from . import sol

VERSION = 1
URL = "https://zenodo.org/record/3685367/files"
ARCHIVE = "TinySOL.tar.gz"
METADATA = "TinySOL_metadata.csv"
LARGEST = 1 << 34  # bytes that are unpacked at most: the release has 2 GB
CHECKSUMS = {ARCHIVE: "36030a7fe389da86c3419e5ee48e3b7f", METADATA: "a86c9bb115f69e61f2f25872e397fc4a"}

# The release's columns: ours, and how to read a cell.
COLUMNS = {
    "Path": ("file", str), "Fold": ("fold", int), "Instrument (abbr.)": ("instrument", str),
    "Technique (abbr.)": ("technique", str), "Technique (in full)": ("technique_name", str), "Pitch ID": ("midi", int),
    "Dynamics": ("dynamic", str), "Dynamics ID": ("dynamics_id", int), "Instance ID": ("instance_id", int),
    "String ID (if applicable)": ("string_id", lambda cell: int(float(cell)) if cell else None),
    "Needed digital retuning": ("retuned", lambda cell: cell.upper() == "TRUE"),
}  # fmt: skip


def find(
    root: Path | None,
    *,
    download: bool | None = None,
    url: str = URL,
    checksums: Mapping[str, str] | None = None,
    duplicates: str = "drop",
) -> Found:
    """List the notes of the release, and download it first if it is not there."""
    check_choice(duplicates, ("drop", "keep"), "duplicates")
    if download is None:
        download = root is None
    root = root or cache_dir() / "tinysol"
    if download:
        fetch(root, url=url, checksums={**CHECKSUMS, **(checksums or {})})
    metadata = _first(root / "annotation" / METADATA, root / METADATA)
    if metadata is None:
        raise FileNotFoundError(
            f"{str(root)!r} has no {METADATA}, in it or in annotation/: give root= a folder that has TinySOL, or "
            "download=True to have it downloaded there (https://doi.org/10.5281/zenodo.3685367)."
        )
    rows, skipped, digest = [], [], hashlib.sha256(metadata.read_bytes() + duplicates.encode())
    for line in _read_metadata(metadata):
        path = _first(*(root / folder / line["Path"] for folder in ("audio", "TinySOL", ".")))
        try:
            if path is None:
                raise ValueError("named in the metadata, but there is no such file")
            row = _row(line)
        except ValueError as error:
            skipped.append((line["Path"], str(error)))
            continue
        status = path.stat()
        digest.update(f"{line['Path']}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        rows.append({**row, "file": path.relative_to(root).as_posix()})
    return Found(root, rows, skipped, digest.hexdigest(), duplicates)


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _read_metadata(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(f"{str(path)!r} is no metadata file of TinySOL: it has no column {missing[0]!r}.")
        return list(reader)


def _row(line: Mapping[str, str]) -> dict[str, Any]:
    """Return one line of the metadata in our names, with the string and the retuning of the file name."""
    try:
        stated = {ours: convert(line[theirs]) for theirs, (ours, convert) in COLUMNS.items()}
    except (TypeError, ValueError):
        raise ValueError("its line of the metadata cannot be read") from None
    named = sol.parse(line["Path"])
    if named["midi"] != stated["midi"]:
        raise ValueError(f"the metadata says pitch {stated['midi']}, the name {named['midi']}")
    return {**named, **stated}


def fetch(root: Path, *, url: str = URL, checksums: Mapping[str, str] = CHECKSUMS) -> None:
    """Download and unpack the release into `root`, unless it is there already."""
    if (root / "annotation" / METADATA).is_file() and (root / "audio").is_dir():
        return
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        if not (root / "annotation" / METADATA).is_file():
            part = download_file(f"{url}/{METADATA}", root / (METADATA + ".part"), checksums[METADATA])
            (root / "annotation").mkdir(exist_ok=True)
            part.replace(root / "annotation" / METADATA)
        if not (root / "audio").is_dir():
            part = download_file(f"{url}/{ARCHIVE}", root / (ARCHIVE + ".part"), checksums[ARCHIVE])
            unpack(part, root / "audio")
            part.unlink()


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Unpack files and folders, none outside of `folder`, as long as there is room for what they say they are."""
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python before 3.11.4 has none
    total = 0
    for member in tar:
        member.name, total = member.name.lstrip("/"), total + member.size
        if total > LARGEST:
            raise tarfile.TarError(f"it holds more than {LARGEST:,} bytes")
        inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is no file or folder inside of it")
        tar.extract(member, folder, **safely)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a new folder, whole or not at all."""
    temporary = draft_folder(folder)
    try:
        with tarfile.open(archive) as tar:
            _extract(tar, temporary)
        inside = [path for path in temporary.iterdir() if not path.name.startswith(".")]
        top = inside[0] if len(inside) == 1 and inside[0].name == "TinySOL" else temporary
        top.chmod(0o755)  # mkdtemp makes private folders
        top.rename(folder)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{str(archive)!r} was not unpacked: {error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
