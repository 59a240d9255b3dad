"""Solutions as JSON: everything but the audio."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..util.files import writing_to

if TYPE_CHECKING:
    from ..orchestration.solution import Solution


def to_json(solution: Solution, path: str | Path) -> Path:
    """Write everything but the audio as JSON: the notes, the orchestra, the distance, the library's name and key."""
    card = {
        "format": "deeporch solution 1",
        "library": {"name": solution.library.name, "key": solution.library.key},
        "orchestra": list(solution.orchestra),
        "distance": solution.distance if np.isfinite(solution.distance) else None,
        "distance_name": solution.distance_name,
        "seconds": solution.seconds,
        "title": solution.title,
        "loudness": solution.loudness,
        "notes": [asdict(note) for note in solution.notes],
    }
    with writing_to(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)
