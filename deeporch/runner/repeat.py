"""A run repeated: ``deeporch run --repeat RUN`` runs the same notebooks again and says what came out differently."""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd

from ..util.environment import PACKAGES, environment
from ..util.files import atomic_path, user_path
from .notebooks import read_parameters
from .profiles import Job, convert, find_notebooks
from .run import new_folder, report, run

SAME = 1e-6  # relative: numbers this close are equal
_TIMES = re.compile(r"seconds|per_second|(?:^|_)ms(?:_|$)|(?:^|_)time(?:_|$)")  # numbers that no two runs share
_ABOUT = ("python", *PACKAGES, "git", "platform", "device")


def command(options: argparse.Namespace) -> int:
    """Repeat a run: 0 if every number is the same, 1 if some differ or a notebook failed."""
    before = user_path(options.repeat)
    jobs = read_jobs(before, Path(options.folder).resolve(), options.timeout)
    numbers, circumstances = _metrics(before), other_circumstances(before)
    out, started = new_folder(Path("runs"), f"{before.name[:60]}-again"), time.time()
    print(f"Running again what {before} has: {', '.join(job.name for job in jobs)}. Nothing in figures/ is written.")
    failed = report(run(jobs, out), out, total=len(jobs), started=started)
    for what, then, now in circumstances:
        print(f"  {what}: {then or 'none'} then, {now or 'none'} now")
    table = compare(numbers, _metrics(out))
    differ = table[~table["same"] & ~table["time"]]
    with atomic_path(out / "difference.csv") as temporary:
        table.to_csv(temporary, index=False)
    for row in differ.itertuples():
        print(f"DIFFERENT {row.notebook} {row.name}: {row.then} then, {row.now} now")
    counted = int((~table["time"]).sum())
    print(f"{counted - len(differ)} of {counted} numbers are the same (times apart); all: {out / 'difference.csv'}")
    return 1 if failed or len(differ) else 0


def read_jobs(before: Path, folder: Path, timeout: float | None) -> list[Job]:
    """Return the jobs of a run folder, with the parameters that they had; results are not saved to figures/."""
    try:
        parameters = json.loads((before / "parameters.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        name = "name one that `deeporch run` made, such as runs/<time>-quick"
        raise FileNotFoundError(f"{before} is no run folder: {name}.") from None
    jobs = []
    for name, then in parameters.items():
        [path] = find_notebooks([re.sub(r"^\d\d-", "", name)], folder)
        own = read_parameters(path)
        chosen = own | {n: convert(v, own[n], f"{n} of {path.stem}") for n, v in then.items() if n in own}
        chosen |= {n: own[n] for n in ("SAVE",) if n in own}
        overrides = {n: value for n, value in chosen.items() if value != own[n]}
        step = int(name[:2]) if re.match(r"\d\d-", name) else 0
        jobs.append(Job(path, chosen, overrides, step=step, **({"limit": timeout} if timeout else {})))
    return jobs


def other_circumstances(before: Path) -> list[tuple[str, str, str]]:
    """Return what of versions, revision and machine is not as it was: (what, then, now)."""
    then: dict[str, Any] = json.loads((before / "environment.json").read_text(encoding="utf-8"))
    now = environment()
    return [(what, then.get(what, ""), now.get(what, "")) for what in _ABOUT if then.get(what) != now.get(what)]


def compare(then: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Return notebook, name, then, now, same, time of every number that either run recorded."""
    table = then.merge(now, on=["notebook", "name"], how="outer", suffixes=("_then", "_now")).fillna("")
    table.columns = ["notebook", "name", "then", "now"]
    table["same"] = [_same(a, b) for a, b in zip(table["then"], table["now"], strict=True)]
    table["time"] = table["name"].str.contains(_TIMES)
    return table


def _same(then: str, now: str) -> bool:
    try:
        return then == now or math.isclose(float(then), float(now), rel_tol=SAME)
    except ValueError:
        return False


def _metrics(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metrics.csv", dtype=str, keep_default_na=False)
