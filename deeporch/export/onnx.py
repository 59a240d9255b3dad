"""A recognizer's network as ONNX, to be run without PyTorch."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..util.files import atomic_path, write_text

if TYPE_CHECKING:
    from ..recognition.recognizer import Recognizer

OPSET = 17


def to_onnx(recognizer: Recognizer, path: str | Path) -> Path:
    """Write a network as ONNX, and beside it a JSON file that says what goes in and what its outputs mean.

    Parameters
    ----------
    recognizer : Recognizer
        With the network.
    path : str or Path
        The ``.onnx`` file. Its input ``features`` is float32 [batch, 1, bins, frames], any batch; its output ``logits``
        [batch, classes]. The JSON has the settings of the features, the classes and the calibration:
        probability = sigmoid(logit / temperature + offset).

    Returns
    -------
    Path
        The ``.onnx`` file.

    Raises
    ------
    ValueError
        If the package onnx is not installed.
    """
    if find_spec("onnx") is None:
        raise ValueError("Exporting needs the package onnx: pip install onnx.")
    path, model = Path(path), recognizer.model
    path = path if path.suffix == ".onnx" else path.with_name(path.name + ".onnx")
    example = torch.zeros(2, *model.features.shape)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter needs no further package, and says that it is older
        torch.onnx.export(
            model, (example,), str(temporary), input_names=["features"], output_names=["logits"], dynamo=False,
            opset_version=OPSET, dynamic_axes={"features": {0: "batch"}, "logits": {0: "batch"}},
        )  # fmt: skip
    card = {key: model.card[key] for key in ("model", "features", "classes")}
    text = json.dumps(card | {"calibration": recognizer.calibration.to_dict()}, indent=1, ensure_ascii=False)
    write_text(path.with_suffix(".json"), text)
    return path
