"""Downloads that go on where they broke off, wait when a server says so, and end in a checksum."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ..util.files import file_hash
from ..util.progress import progress

AGENT = "deeporch/0.1 (https://doi.org/10.5281/zenodo.3685367)"  # servers refuse Python's own name
ATTEMPTS = 5
WAIT, LONGEST_WAIT = 1.0, 120.0  # seconds: the first pause (each is twice the last), and the longest that is waited
LARGEST = 1 << 34  # bytes of a file at most
TIMEOUT = 30  # seconds without a byte
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # statuses that pass
ADVICE = {
    401: "it wants an account: download it with a browser and give its folder as root=",
    403: "the server refuses: download it with a browser and give its folder as root=",
    404: "it is not there any more: look for a newer address and give it as url=",
    410: "it is not there any more: look for a newer address and give it as url=",
    407: "a proxy wants a password: set HTTPS_PROXY",
    429: "the server is asked too often: try again in some minutes",
    503: "the server is busy: try again in some minutes",
}


def download_file(url: str, part: Path, checksum: str) -> Path:
    """Download a file, going on from what `part` already holds, verify its md5, and return `part`."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, part)
            break
        except (OSError, HTTPException) as error:
            status = error.code if isinstance(error, HTTPError) else None
            pause = WAIT * 2 ** (attempt - 1)
            if isinstance(error, HTTPError):
                pause = max(pause, _retry_after(error.headers))
            if attempt == ATTEMPTS or (status and status not in AGAIN) or pause > LONGEST_WAIT:
                have = part.stat().st_size if part.exists() else 0
                advice = ADVICE.get(status, "try again later" if status else "look whether this machine is online")
                raise ConnectionError(
                    f"{url} cannot be downloaded ({error}): {advice}. {have:,} bytes are kept in {str(part)!r}, and "
                    "the next attempt goes on from there."
                ) from None
            time.sleep(pause)
    digest = file_hash(part)
    if digest != checksum:
        part.unlink()
        raise ValueError(f"{url} has the md5 sum {digest} instead of {checksum}: it was deleted; try again.")
    return part


def _retry_after(headers: HTTPMessage) -> float:
    """Return the seconds that a server asks to wait: a number, or a date."""
    stated = headers.get("Retry-After") or "0"
    try:
        return max(0.0, float(stated))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(stated).timestamp() - time.time())
        except (ValueError, TypeError):
            return 0.0


def _transfer(url: str, part: Path) -> None:
    """Append what is missing of a file; OSError if the connection ends before the file does."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": AGENT} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(Request(f"{url}?download=1", headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:  # nothing is left to send: the checksum decides
            return
        raise
    with response:
        resumed = response.status == 206
        start = have if resumed else 0  # a server that ignores Range sends all of it again
        total = start + int(response.headers.get("Content-Length", 0)) or None
        bar = progress(total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, leave=False)
        with part.open("ab" if resumed else "wb") as file, bar:
            while block := response.read(1 << 16):
                if file.tell() + len(block) > LARGEST:
                    raise ValueError(
                        f"{url} sends more than {LARGEST:,} bytes: look whether this is the right address."
                    )
                file.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size < total:
        raise OSError(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")
