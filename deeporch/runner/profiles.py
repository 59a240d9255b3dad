"""What to run: notebooks by name, the profiles that say how large, and parameters from the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..util.checks import check_choice, near
from ..util.files import user_path
from .notebooks import read_parameters

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list such as [1, 2]"}
PATHS = re.compile(r"(ROOT|FILE|FOLDER|PATH|TARGET|CHECKPOINT)$")  # names of parameters that may be paths
LIMIT = 4 * 3600.0  # seconds after which a notebook of a profile that says none is stopped,
PATIENCE = 600.0  # and without progress: other programs may take most of the machine


@dataclass(frozen=True)
class Profile:
    """How large the experiments are: one file of ``notebooks/profiles/``."""

    name: str
    description: str = ""
    limits: dict[str, float] = field(default_factory=dict)  # seconds a notebook; "default" for the others
    patience: float = PATIENCE  # seconds without progress after which a notebook is stopped
    typical: float = 60.0  # seconds that a notebook takes on an idle machine, roughly
    steps: list[dict[str, Any]] = field(default_factory=list)  # with a limit of minutes, in this order: notebook, and
    # parameters that differ from those of `notebooks`
    notebooks: dict[str, dict[str, Any]] = field(default_factory=dict)  # parameters a notebook


@dataclass(frozen=True)
class Job:
    """One notebook with the parameters it will run with."""

    path: Path
    parameters: dict[str, Any]  # all of them
    overrides: dict[str, Any]  # those that differ from the notebook's own defaults
    limit: float = LIMIT  # seconds
    patience: float = PATIENCE  # seconds without progress
    step: int = 0  # place among the profile's steps, from 1; 0: not one of them

    @property
    def name(self) -> str:
        """The file name without its ending, with the number of a step before it."""
        return f"{self.step:02d}-{self.path.stem}" if self.step else self.path.stem


def find_notebooks(names: Sequence[str], folder: Path) -> list[Path]:
    """Return the notebook files meant by `names`: ``2``, ``02``, ``02_cnn``, the full name, or a path."""
    known = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not known and not any("/" in name or name.endswith(".ipynb") for name in names):
        raise FileNotFoundError(f"There are no numbered notebooks (NN_name.ipynb) in {folder}.")
    found = []
    for name in names:
        if name.endswith(".ipynb") or "/" in name:
            path = next((p for p in (Path(name), folder / name) if p.is_file()), None)
            if path is None:
                raise FileNotFoundError(f"There is no notebook {name}.")
            found.append(path.resolve())
            continue
        start = f"{int(name):02d}_" if name.isdigit() else name
        meant = [name] if name in known else [stem for stem in known if stem.startswith(start)]
        if len(meant) > 1:
            raise ValueError(f"{name!r} may mean {' or '.join(meant)}: which one?")
        found.append(known[meant[0] if meant else check_choice(name, known, "notebook")])
    return list(dict.fromkeys(found)) if names else list(known.values())


def load_profile(name: str, folder: Path) -> Profile:
    """Read ``<folder>/profiles/<name>.yaml`` and check that what it names exists."""
    files = {path.stem: path for path in sorted((folder / "profiles").glob("*.yaml"))}
    if name == "quick" and name not in files:  # the notebooks' own defaults
        return Profile(name, limits={"default": LIMIT})
    file = files[check_choice(name, dict.fromkeys([*files, "quick"]), "profile")]
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        profile = Profile(name, **content)
        default = float(profile.limits["default"])
        limits = {"default": default, **{stem: float(seconds) for stem, seconds in profile.limits.items()}}
        wanted = {stem: dict(values or {}) for stem, values in (profile.notebooks or {}).items()}
    except (yaml.YAMLError, TypeError, ValueError, KeyError, AttributeError) as error:
        what = "description, limits (seconds, with a default) and notebooks"
        raise ValueError(f"{file} must hold {what}: {' '.join(str(error).split())}.") from error
    paths = {path.stem: path for path in folder.glob("*.ipynb")}
    for stem in [*limits, *wanted]:
        if stem != "default":
            check_choice(stem, paths, f"notebook in {file.name}")
    for stem, values in wanted.items():
        known = read_parameters(paths[stem])
        for key, value in values.items():
            check_choice(key, known, f"parameter of {stem} in {file.name}")
            values[key] = convert(value, known[key], f"{key} of {stem} in {file.name}")
    return replace(profile, limits=limits, notebooks=wanted)


def plan_steps(profile: Profile, folder: Path, given: dict[str, str]) -> list[Job]:
    """Return the profile's steps as jobs, the most valuable first."""
    if not profile.steps:
        raise ValueError(f"The profile {profile.name} has no steps: --minutes is for profiles that have, such as gpu.")
    jobs = []
    for number, step in enumerate(profile.steps, 1):
        [path] = find_notebooks([step["notebook"]], folder)
        known = read_parameters(path)
        chosen = dict(profile.notebooks.get(path.stem, {}))
        for key in [key for key in step if key != "notebook"]:
            where = f"{check_choice(key, known, f'parameter of {path.stem}')} of step {number}"
            chosen[key] = convert(step[key], known[key], where)
        one = replace(profile, notebooks={path.stem: chosen})
        wanted = {name: value for name, value in given.items() if name in known}
        jobs += [replace(job, step=number) for job in plan([path], one, wanted)]
    return jobs


def parse_assignments(assignments: Sequence[str]) -> dict[str, str]:
    """Return ``NAME=VALUE`` texts as a dict."""
    pairs = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ValueError(f"-p takes NAME=VALUE, for example -p SEED=1, and not {text!r}.")
        pairs[name.strip()] = absolute(value.strip()) if PATHS.search(name.strip()) else value.strip()
    return pairs


def absolute(text: str) -> str:
    """Return a path that is there with all its folders, since notebooks run in another; anything else as it is."""
    path = user_path(text)
    return str(path.absolute()) if text and path.exists() else text


def convert(value: Any, default: Any, what: str) -> Any:
    """Return `value` as the type of `default`."""
    if isinstance(default, str):
        quoted = isinstance(value, str) and len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        result = value[1:-1] if quoted else value
    else:
        result = yaml.safe_load(value) if isinstance(value, str) else value
    if isinstance(default, float) and isinstance(result, int | str) and not isinstance(result, bool):
        with suppress(ValueError):  # YAML takes 1e-3 for a text
            result = float(result)
    if default is not None and type(result) is not type(default):
        raise ValueError(f"{what} takes {_KINDS.get(type(default), type(default).__name__)}, and not {value!r}.")
    return result


def plan(
    paths: Sequence[Path],
    profile: Profile,
    given: dict[str, str],
    timeout: float | None = None,
    patience: float | None = None,
) -> list[Job]:
    """Return the jobs: for every notebook its defaults, changed by the profile, changed by what was `given`."""
    defaults = {path: read_parameters(path) for path in paths}
    known = sorted({name for values in defaults.values() for name in values})
    for name in given:
        if name not in known:
            hint = " or ".join(near(name, known))
            hint = f"did you mean {hint}?" if hint else f"they have {', '.join(known) or 'none'}."
            raise ValueError(f"None of the chosen notebooks has a parameter {name}: {hint}")
    jobs = []
    for path, own in defaults.items():
        chosen = own | profile.notebooks.get(path.stem, {})
        chosen |= {n: convert(v, own[n], f"{n} of {path.stem}") for n, v in given.items() if n in own}
        overrides = {name: value for name, value in chosen.items() if value != own[name]}
        limit = timeout or profile.limits.get(path.stem, profile.limits["default"])
        jobs.append(Job(path, chosen, overrides, limit, patience or profile.patience))
    return jobs
