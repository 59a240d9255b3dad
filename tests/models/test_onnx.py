"""Networks as ONNX, run without PyTorch."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch

import deeporch as do
from deeporch.cli import main


@pytest.mark.parametrize("name", ["orchestra", "soundfont"])
def test_onnx_gives_what_the_network_gives(name, tmp_path):
    assert main(["export-onnx", str(tmp_path / "net"), "--checkpoint", name]) == 0
    recognizer = do.Recognizer.load(name)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    x = torch.rand(3, *recognizer.model.features.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = recognizer.model(x).numpy()
    [found] = session.run(None, {"features": x.numpy()})
    assert np.abs(found - wanted).max() < 1e-4
    card = json.loads((tmp_path / "net.json").read_text())
    assert len(card["classes"]["name"]) == wanted.shape[1]
    assert card["calibration"] == recognizer.calibration.to_dict()
