"""What the notebooks of the study share: an experiment's mixtures, and the loop that trains and compares networks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from .metrics import Scores, mistakes, score
from .mixtures.classes import Classes
from .mixtures.mixtures import Mixtures
from .mixtures.sampling import chance_recall
from .mixtures.splits import split
from .models.build import build, count_parameters
from .notes.library import NoteLibrary
from .results import Results
from .training.loop import History, fit
from .training.prediction import predict


@dataclass(frozen=True)
class StudySets:
    """The mixtures of one experiment."""

    classes: Classes  # what is recognised
    train: Mixtures
    tests: dict[str, Mixtures]  # "mixture": new mixtures of the recordings seen in training (the study's test);
    # "recording": of recordings that were held out; missing with one class per recording, where none can be
    report: str  # how the recordings were split, in a sentence

    @property
    def chance(self) -> float:
        """The recall of a guess, 0 to 1."""
        return chance_recall(self.train.n, len(self.classes))


@dataclass
class Outcome:
    """A trained network (that of the last seed) and what it scored, by test set."""

    model: nn.Module
    history: History
    scores: dict[str, Scores] = field(default_factory=dict)
    mistakes: dict[str, pd.DataFrame] = field(default_factory=dict)


def study_sets(
    notes: NoteLibrary, n: int = 2, *, by: str = "note", mixtures: int = 40_000, tests: int | None = None, seed: int = 0
) -> StudySets:
    """Draw the training and test mixtures of an experiment.

    Parameters
    ----------
    notes : NoteLibrary
        The library.
    n : int
        Notes in a mixture, of distinct classes.
    by : {"note", "instrument", "recording"}
        The classes. With notes and instruments a fifth of each class's recordings is held out.
    mixtures : int
        Training mixtures.
    tests : int, optional
        Mixtures of each test set. Default: a quarter of the training mixtures, as in the study, 10,000 at most.
    seed : int
        Of the held-out recordings and of all mixtures.

    Raises
    ------
    ValueError
        If the library is too small for so many distinct mixtures or classes.
    """
    classes = Classes(notes, by=by)
    pools = split(notes, classes, by="mixture" if by == "recording" else "recording", seed=seed)
    draw = partial(Mixtures, notes, classes, n=n)
    tests = tests or max(1, min(10_000, mixtures // 4))
    train = draw(size=mixtures, seed=seed, pool=pools.train)
    sets = {"mixture": draw(size=tests, seed=seed + 1, pool=pools.train, exclude=train)}
    if pools.by == "recording":
        sets["recording"] = draw(size=tests, seed=seed + 2, pool=pools.test)
    return StudySets(classes, train, sets, pools.report)


def compare_models(
    results: Results, networks: Mapping[str, tuple[str, Mapping[str, object]]], sets: StudySets, *,
    features: str = "logmel128", seeds: Sequence[int] = (0,), valid: str = "", curves: bool = True,
    errors: bool = False, **options: Any,
) -> dict[str, Outcome]:  # fmt: skip
    """Train every network from every seed on the same mixtures, score each on every test set, keep all in the results.

    Parameters
    ----------
    results : Results
        Gets a run for each network, seed and test set.
    networks : mapping of str to (name, sizes)
        What `deeporch.build` is given, by setting.
    sets : StudySets
        From `study_sets`.
    features : str
        What the networks see.
    seeds : sequence of int
        One training each.
    valid : str
        The test set that is scored during training, some twenty times at most; nothing is chosen by it. Default: the
        last, held-out recordings where there are any.
    curves : bool
        Whether the learning curves are kept, with the run of the test set `valid`.
    errors : bool
        Whether the kinds of error of the first seed are kept.
    **options
        Of `deeporch.fit`: epochs, batch_size, schedule, device, …

    Returns
    -------
    dict of str to Outcome
        By setting.
    """
    valid = valid or list(sets.tests)[-1]
    options = {"validate_every": max(1, int(options.get("epochs", 200)) // 20), "save_every": 20.0, **options}
    outcomes = {}
    for setting, (name, sizes) in networks.items():
        for seed in seeds:
            model = build(name, sets.classes, features=features, seed=seed, **sizes)
            folder = _state_folder(model, sets, seed, options)
            history = fit(model, sets.train, sets.tests[valid], seed=seed, folder=folder, **options)
            outcome = outcomes[setting] = Outcome(model, history)
            epoch = len(sets.train) / history.table["mixtures_per_second"].max()
            costs = [("parameters", "", count_parameters(model)), ("epoch_seconds", "", epoch)]
            for part, test in sets.tests.items():
                logits, targets = predict(model, test, device=options.get("device", "auto"))
                outcome.scores[part] = score(logits, targets, sets.classes)
                if errors:
                    outcome.mistakes[part] = mistakes(logits, targets, sets.classes)
                results.add(
                    outcome.scores[part], test, setting=setting, model=name, features=features, split=part, seed=seed,
                    train_mixtures=len(sets.train), history=history, curves=curves and part == valid,
                    errors=outcome.mistakes.get(part) if seed == seeds[0] else None,
                    more=costs if part == valid else (),
                )  # fmt: skip
    return outcomes


def _state_folder(model: nn.Module, sets: StudySets, seed: int, options: Mapping[str, object]) -> Path | None:
    """Return the folder of $DEEPORCH_STATE in which a training is kept, to go on from when it was stopped."""
    if not (parent := os.environ.get("DEEPORCH_STATE")):
        return None
    free = {name: value for name, value in options.items() if name != "device"}
    card: Any = model.card
    about = [card, sets.train.notes.name, repr(sets.train), sets.report, seed, free]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return Path(parent) / f"{card['model']}-{sets.classes.by}-N{sets.train.n}-{seed}-{digest[:12]}"
