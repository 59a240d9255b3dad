"""The features by name."""

from __future__ import annotations

from ..util.checks import check_choice
from .constantq import ConstantQ
from .mel import Mel

FEATURES = {
    "mel128": Mel(),
    "logmel128": Mel(scale="log"),
    "logmel64": Mel(n_mels=64, hop=1024, frames=64, scale="log"),  # the same second and a half at half the resolution
    "cqt24": ConstantQ(),
    "cqt36": ConstantQ(bins_per_octave=36),
}
KINDS = {"Mel": Mel, "ConstantQ": ConstantQ}


def get_features(features: str | Mel | ConstantQ) -> Mel | ConstantQ:
    """Return features by name (``"mel128"``, ``"cqt24"``, … see `FEATURES`), or as they are.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if not isinstance(features, str):
        return features
    return FEATURES[check_choice(features, FEATURES, "features")]
