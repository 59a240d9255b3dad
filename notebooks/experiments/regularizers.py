"""What keeps a network from learning its training mixtures by heart: named settings, and a search for one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import optuna
from experiments.figures.tables import LABELS, SEARCHED
from torch import nn

from deeporch.features.augment import SpecAugment
from deeporch.features.mel import Mel
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import build
from deeporch.training.loop import History, Training, fit
from deeporch.util.checks import check_choice, check_range

from . import tuning


@dataclass(frozen=True)
class Regularizer:
    """One way to train: everything that differs between the settings of the regularization experiment.

    Raises
    ------
    ValueError
        If a penalty is negative, or a share is out of range.
    """

    label: str  # in pictures
    dropout: float = 0.5  # share of the last conv's outputs that is silenced in training; 0.5: the study's network
    l1: float = 0.0  # see `Training`
    l2: float = 0.0
    specaugment: float = 0.0  # widest masks, as a share of bins and of frames; 0: none
    fresh: bool = False  # new mixtures of the same notes in every epoch
    patience: int | None = None  # stop after so many epochs without a better validation loss, and keep the best

    def __post_init__(self) -> None:
        check_range(self.dropout, 0, 0.99, "dropout")
        check_range(self.specaugment, 0, 1, "specaugment (the widest mask, as a share)")
        Training(l1=self.l1, l2=self.l2)  # says what is wrong with a negative penalty

    @property
    def name(self) -> str:
        """Its values in words, e.g. ``dropout=0.5 l2=1e-06 specaugment=0.1``."""
        return f"dropout={self.dropout:g} l2={self.l2:.1e} specaugment={self.specaugment:g}"

    @property
    def augment(self) -> SpecAugment | None:
        """What `fit` applies to every training batch."""
        return SpecAugment(self.specaugment, self.specaugment) if self.specaugment else None


SETTINGS = {
    "none": Regularizer("nothing at all", dropout=0),
    "dropout": Regularizer("dropout alone (study)"),
    "l2_5e-3": Regularizer("L2 5e-3", l2=5e-3),
    "l2_1e-6": Regularizer("L2 1e-6", l2=1e-6),
    "l1_1e-2": Regularizer("L1 1e-2", l1=1e-2),
    "early_stopping": Regularizer("early stopping", patience=5),
    "specaugment": Regularizer("SpecAugment", specaugment=0.1),
    "fresh": Regularizer("fresh mixtures", fresh=True),
}


def get_regularizers(names: str) -> dict[str, Regularizer]:
    """Return settings by their names, separated by spaces; ``"all"`` for every one of `SETTINGS`.

    Raises
    ------
    ValueError
        If a name is unknown, or there is none.

    Examples
    --------
    >>> list(get_regularizers("none l2_1e-6"))
    ['none', 'l2_1e-6']
    """
    chosen = list(SETTINGS) if names.strip() == "all" else names.split()
    if not chosen:
        raise ValueError(f"No regularizer is named: choose some of {', '.join(SETTINGS)}, or 'all'.")
    return {name: SETTINGS[check_choice(name, SETTINGS, "regularizer")] for name in chosen}


def fit_regularized(
    regularizer: Regularizer,
    train: Callable[[int], Mixtures],
    valid: Mixtures,
    *,
    model: str = "cnn",
    features: str | Mel = "mel128",
    seed: int = 0,
    **options: object,
) -> tuple[nn.Module, History]:
    """Build a network and train it in one way.

    Parameters
    ----------
    regularizer : Regularizer
        The way.
    train : callable
        From the epoch (from 1) to that epoch's training mixtures. Only ``fresh`` settings ask for more than the first.
    valid : Mixtures
        Measured after every epoch; early stopping goes by its loss. Never the test's.
    model : str
        ``"cnn"`` or ``"cnn_lstm_cnn"``: a network whose config has a dropout.
    features : str or Mel
        What it sees.
    seed : int
        Of the weights, the order of mixtures, dropout and masks.
    **options
        Other fields of `Training`.

    Returns
    -------
    model : torch.nn.Module
        Trained.
    history : History
        A row an epoch.
    """
    network = build(model, valid.classes, features=features, seed=seed, dropout=regularizer.dropout)
    options |= {"l1": regularizer.l1, "l2": regularizer.l2, "patience": regularizer.patience}
    history = fit(
        network, train if regularizer.fresh else train(1), valid,
        augment=regularizer.augment, restore_best=regularizer.patience is not None, seed=seed, **options,
    )  # fmt: skip
    return network, history


def from_params(params: dict[str, float]) -> Regularizer:
    """Return the setting that a trial of the search tried."""
    return Regularizer("trial", l2=params["l2"], dropout=params["dropout"], specaugment=params["specaugment"])


def search(
    trials: int,
    train: Callable[[int], Mixtures],
    valid: Mixtures,
    *,
    storage: str | None = None,
    seed: int = 0,
    **options: object,
) -> optuna.Study:
    """Search for the L2 (1e-8 to 1e-4, logarithmic), dropout and masks with the lowest loss on the validation set.

    `storage` is that of `tuning.search`, by default what ``$DEEPORCH_SEARCHES`` names; the others are those of
    `fit_regularized`. The test is not asked for, so nothing can be chosen by it.
    """

    def objective(trial: optuna.Trial, callback: Callable[[dict], None]) -> History:
        params = {
            "l2": trial.suggest_float("l2", 1e-8, 1e-4, log=True),
            "dropout": trial.suggest_float("dropout", 0, 0.8, step=0.1),
            "specaugment": trial.suggest_float("specaugment", 0, 0.3, step=0.01),
        }
        return fit_regularized(from_params(params), train, valid, seed=seed, callback=callback, **options)[1]

    common = {name: value for name, value in options.items() if name not in ("device", "cache_gb")}
    about = {**common, "n": valid.n, "classes": len(valid.classes), "valid": len(valid), "seed": seed}
    return tuning.search(
        objective,
        trials,
        name="regularizers",
        storage=storage or os.environ.get("DEEPORCH_SEARCHES"),
        seed=seed,
        about=about,
    )


def found(study: optuna.Study) -> dict[str, Regularizer]:
    """Return the best of a search as ``{"searched": …}``, to be trained in full; nothing if nothing was tried."""
    best = tuning.completed(study)
    return {SEARCHED: replace(from_params(best[0].params), label=LABELS[SEARCHED])} if best else {}
