"""Two processes (gloo) that train one network together, against one process; what happens when one is killed."""

import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tones import ENVELOPES, harmonic_tone
from torch import nn

from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.build import build
from deeporch.models.checkpoints import read_card
from deeporch.notes.library import NoteLibrary
from deeporch.training import launch, parallel
from deeporch.training.loop import Training, _Fit, fit

ROOT = Path(__file__).resolve().parents[2]


def make():
    """A ResNet, 15 mixtures to train on (3 batches, the last one short), and 15 others.

    Not the CNN: its convs have biases that batch-norm takes away. Their gradient is rounding error, of which Adam makes
    steps as large as any; they do nothing, but differ from run to run.
    """
    import pandas as pd

    rows = [{"instrument": i, "pitch": p, "dynamic": "mf"} for i in list(ENVELOPES)[:3] for p in ("C4", "E4", "G4")]
    tones = [harmonic_tone(60 + k % 3 * 4, ENVELOPES[row["instrument"]], 0.6, 0.5) for k, row in enumerate(rows)]
    notes = NoteLibrary.from_audio(pd.DataFrame(rows), tones, name="three")
    classes = Classes(notes)
    sets = [Mixtures(notes, classes, n=2, size=15, seed=seed, gain_db=(-6, 0)) for seed in (0, 1)]
    features = Mel(n_mels=16, hop=2048, frames=16, scale="log")
    model = build("resnet", classes, features=features, seed=0, widths=(4, 8), layers=(1, 1), stem=4)
    return model, *sets


def train(folder, epochs=3, callback=None, **options):
    model, mixtures, valid = make()
    options = {"batch_size": 6, "device": "cpu", "amp": False, "l1": 1e-5, "save_every": 0, **options}
    return model, fit(model, mixtures, valid, epochs=epochs, folder=folder, callback=callback, **options)


def kill_in_epoch_three(state):
    """Kill the second process in its third epoch."""
    if state["epoch"] == 3:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)


def in_two_processes(folder, epochs=3, more=""):
    code = "import sys; sys.path[:0] = ['tests/training', 'tests', '.']; import test_parallel as t; "
    code += f"t.torch.set_num_threads(1); t.train({str(folder)!r}, epochs={epochs}{more})"
    return launch.launch(["-c", code], 2, "cpu")


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """Processes start in the repository, whose package they import."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    _, history = train(tmp_path / "one")
    assert in_two_processes(tmp_path / "two") == 0
    one, two = (load(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-4, msg=name)
    untrained = dict(make()[0].named_parameters())
    assert max((one[n] - untrained[n]).abs().max() for n in untrained) > 1e-3
    card = read_card(tmp_path / "two" / "last.safetensors")
    for mine, theirs in zip(history.table.to_dict("records"), card["history"], strict=True):
        for name in ("train_loss", "valid_loss"):
            assert theirs[name] == pytest.approx(mine[name], abs=1e-5)
        for name in ("train_recall", "valid_recall", "valid_exact"):
            assert theirs[name] == pytest.approx(mine[name], abs=1e-12)


@pytest.mark.slow
def test_a_killed_process_is_one_sentence_and_one_process_goes_on(tmp_path):
    more = ", callback=t.kill_in_epoch_three"
    with pytest.raises(
        OSError, match=r"^process 1 of 2 was killed by signal 9, and the others were stopped\. The same command"
    ):
        in_two_processes(tmp_path / "run", epochs=5, more=more)
    assert len(read_card(tmp_path / "run" / "last.safetensors")["history"]) == 2
    whole, _ = train(tmp_path / "whole", epochs=5)
    resumed, history = train(tmp_path / "run", epochs=5)
    assert history.table["epoch"].tolist() == [1, 2, 3, 4, 5]
    for (name, mine), theirs in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=0, atol=2e-4, msg=name)


def test_batch_norm_over_processes_is_torchs_over_the_whole_batch(monkeypatch):
    """One process whose sums are doubled stands for two that have the same half."""
    monkeypatch.setattr(parallel, "all_reduce", lambda sums: 2 * sums)
    half = torch.randn(5, 3, 4, 2, generator=torch.Generator().manual_seed(0)) * 3 + 7
    ours, theirs = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    ours.__class__ = parallel.GLOBAL[nn.BatchNorm2d]
    whole = theirs(torch.cat([half, half]))
    torch.testing.assert_close(ours(half), whole[:5], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(half), theirs(half))


@pytest.mark.parametrize("processes", [0, 10_000])
def test_more_processes_than_devices_is_one_sentence(processes):
    with pytest.raises(ValueError, match=rf"^{processes} processes were asked for, but this machine has \d+ core"):
        launch.check_processes(processes, "cpu")


def test_a_batch_that_does_not_fit_is_learned_in_parts(monkeypatch, capsys):
    """Without batch-norm, whose statistics are those of a part, the network is the same."""
    model, mixtures, valid = make()
    expected, *_ = make()
    for network in (model, expected):
        for module in network.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
    options = {"epochs": 2, "batch_size": 6, "device": "cpu", "amp": False}
    fit(expected, mixtures, valid, **options)
    forward = model.forward

    def limited(x):
        if model.training and len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB")
        return forward(x)

    monkeypatch.setattr(model, "forward", limited)
    fit(model, mixtures, valid, **options)
    for mine, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    notices = re.findall(r"Memory is full: batches of 6 are learned in (\d) parts", capsys.readouterr().err)
    assert notices == ["2", "4"]


def test_one_of_several_processes_does_not_learn_in_parts_on_its_own():
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    one = SimpleNamespace(ranks=SimpleNamespace(size=2), parts=1, batch_size=8, _learn_batch=full)
    with pytest.raises(torch.OutOfMemoryError):
        _Fit._learn_in_parts(one, torch.zeros(4, 1), torch.zeros(4, 1))
    assert one.parts == 1


@pytest.mark.parametrize(("processes", "amp"), [(1, True), (2, False)])
def test_several_processes_on_cpus_compute_in_full_precision(monkeypatch, processes, amp):
    """The fused conv stages of bfloat16 know one process's batch-norm only."""
    model, mixtures, _ = make()
    ranks = SimpleNamespace(size=processes, rank=0, device=torch.device("cpu"), wrap=lambda network: network)
    monkeypatch.setattr("deeporch.training.loop.Ranks", lambda device: ranks)
    monkeypatch.setattr(model, "gains_by_bfloat16", lambda device: True)
    assert _Fit(model, mixtures, None, Training(), None, None, None, None, {}).amp == amp


def load(folder):
    from safetensors.torch import load_file

    return {n: t for n, t in load_file(folder / "last.safetensors").items() if not n.startswith("optimizer.")}
