"""Searches over settings by Optuna: kept in a storage that many workers share, resumed, and without hopeless trials."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import numpy as np
import optuna
import sqlalchemy.exc
from matplotlib import pyplot
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, Trial, TrialState

from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import build
from deeporch.results import Results
from deeporch.training.loop import History, fit
from deeporch.util.progress import progress

Objective = Callable[[Trial, Callable[[dict], None]], History]  # trains with a trial's settings and a callback of `fit`


class Sampler(optuna.samplers.TPESampler):
    """TPE whose draws depend on the number of the trial: neither workers nor a resumed search draw the same twice."""

    def __init__(self, seed: int) -> None:
        self.first_seed = seed
        super().__init__(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Start a trial."""
        super().__init__(seed=1_000_003 * self.first_seed + trial.number)


def search(
    objective: Objective,
    trials: int,
    *,
    name: str = "search",
    storage: str | None = None,
    seed: int = 0,
    about: dict | None = None,
) -> optuna.Study:
    """Minimize the last validation loss over `trials` settings, those that a storage has from before included.

    Parameters
    ----------
    objective : callable
        Trains with a trial's settings. A trial whose loss is worse than the median of the others' at its epoch is
        given up, from the fifth trial and after a third of the epochs.
    trials : int
        How many the study has at the end; workers on one storage share them (each may end one too many).
    name, storage : str
        Of the study, and where it is kept, e.g. ``"sqlite:///search.db"``; None: in memory.
    seed : int
        Of the draws.
    about : dict, optional
        What all trials have in common. A study that was begun with something else is refused.

    Raises
    ------
    ValueError
        If the storage cannot be opened, or has another search of this name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    about = json.loads(json.dumps(about or {}, default=str))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=about.get("epochs", 3) // 3)
    try:
        study = optuna.create_study(
            study_name=name, storage=storage, sampler=Sampler(seed), pruner=pruner, load_if_exists=True
        )
    except (sqlalchemy.exc.SQLAlchemyError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"The storage {storage!r} cannot be used ({reason}): try sqlite:///search.db.") from None
    differ = [key for key, value in study.user_attrs.get("about", about).items() if value != about.get(key)]
    if differ:
        raise ValueError(
            f"{storage} has another search {name!r} ({differ[0]} is {study.user_attrs['about'][differ[0]]!r} there, "
            f"{about.get(differ[0])!r} here): choose another storage or name."
        )
    study.set_user_attr("about", about)
    with progress(total=trials, desc="search", unit="trial", disable=trials < 2) as bar:
        while (ended := len(_ended(study))) < trials:
            bar.update(ended - bar.n)
            study.optimize(lambda trial: _run(objective, trial), n_trials=1)
        bar.update(ended - bar.n)
    return study


def _run(objective: Objective, trial: Trial) -> float:
    reported = 0

    def report(state: dict) -> None:
        nonlocal reported
        for row in state["history"][reported:]:
            trial.report(row["valid_loss"], reported := row["epoch"])
        if trial.should_prune():
            raise optuna.TrialPruned

    history = objective(trial, report)
    last = history.table.iloc[-1]
    for key in ("valid_recall", "valid_exact", "epoch", "seconds"):
        trial.set_user_attr(key, float(last[key]))
    return float(last["valid_loss"])


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def completed(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were trained to their end, from the lowest validation loss to the highest."""
    return sorted(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda trial: (trial.value, trial.number))


def draw(study: optuna.Study) -> Figure:
    """Return Optuna's plot of the loss against each setting."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        axes = optuna.visualization.matplotlib.plot_slice(study)
    figure = np.ravel(axes)[0].figure
    pyplot.close(figure)  # the notebook shows it
    return figure


def add_trials(
    results: Results, study: optuna.Study, valid: Mixtures, words: Callable[[dict], str], **labels: object
) -> None:
    """Add a search's completed trials to an experiment's results: loss and recall of split ``validation``."""
    for trial in completed(study):
        rows = [("top_n_recall", "", trial.user_attrs["valid_recall"]), ("loss", "", trial.value)]
        known = {
            "n": valid.n,
            "classes": valid.classes.by,
            "n_classes": len(valid.classes),
            "test_mixtures": len(valid),
        }
        taken = {"epochs": int(trial.user_attrs["epoch"]), "seconds": round(trial.user_attrs["seconds"], 1)}
        results.add_rows(rows, setting=words(trial.params), split="validation", **known, **taken, **labels)


def pitchnet(
    train: Callable[[int], Mixtures], valid: Mixtures, *, features: str = "cqt24", **options: object
) -> Objective:
    """Return an objective: PitchNet's learning rate, L2, width and blocks; `options` are those of `fit`."""

    def objective(trial: Trial, callback: Callable[[dict], None]) -> History:
        sizes = {"width": trial.suggest_int("width", 32, 128, step=32), "blocks": trial.suggest_int("blocks", 1, 4)}
        lr, l2 = trial.suggest_float("lr", 3e-4, 1e-2, log=True), trial.suggest_float("l2", 1e-8, 1e-4, log=True)
        model = build("pitchnet", valid.classes, features=features, seed=int(options.get("seed", 0)), **sizes)
        return fit(model, train, valid, callback=callback, lr=lr, l2=l2, **options)

    return objective
