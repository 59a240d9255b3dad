"""One-sentence answers to bad input: what was wrong, and what to do."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping


def near(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return the names in `known` that look most like `name` (case is ignored)."""
    by_folded = {str(k).casefold(): str(k) for k in known}
    found = difflib.get_close_matches(str(name).casefold(), by_folded, n=count, cutoff=0.5)
    return [by_folded[f] for f in found]


def check_choice(value: str, known: Iterable[str], what: str) -> str:
    """Return `value` if it is one of `known`; otherwise say which ones there are."""
    known = [str(k) for k in known]
    if value in known:
        return value
    hint = " or ".join(repr(n) for n in near(value, known))
    hint = f": did you mean {hint}?" if hint else "."
    raise ValueError(f"Unknown {what} {value!r}{hint} Known: {', '.join(known)}.")


def check_range(value: float, low: float, high: float, what: str) -> float:
    """Return `value` if ``low <= value <= high``."""
    if not low <= value <= high:
        raise ValueError(f"{what} must lie between {low:g} and {high:g}, but is {value!r}.")
    return value


def sentence(error: Exception, typed: Mapping[str, str]) -> str:
    """Return what an error says, the system's own as a sentence too, and options as they are `typed`."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)!r} cannot be used ({error.strerror}): look at the path and its rights."
    said = str(error)
    for name, option in typed.items():  # "max_notes must be …", "give root= a folder"
        said = re.sub(rf"(^|: ){name}(?= must\b)|(?<![\w-]){name}=(?!\w)", rf"\g<1>{option}", said)
    return said
