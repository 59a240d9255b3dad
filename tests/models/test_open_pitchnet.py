"""A network that tells pitches and instruments apart: its probabilities, its loss, and what it inherits."""

from __future__ import annotations

import pytest
import torch

import deeporch as do
from deeporch.features.constantq import ConstantQ
from deeporch.mixtures.classes import Classes
from deeporch.models.open_pitchnet import Evidence, evidence_loss, inherit

FEATURES = ConstantQ(hop=2048, frames=16)
CARD = {"by": "note", "name": ["Fl C4", "Fl D4", "Ob C4"], "instrument": ["Fl", "Fl", "Ob"], "midi": [60, 62, 60]}
CLASSES = Classes.from_dict({**CARD, "recordings": [1, 1, 1]})
SMALL = {"channels": 4, "hidden": 6, "width": 8, "blocks": 1}


@pytest.fixture
def net():
    """Return an untrained network of three classes."""
    return do.build("open_pitchnet", CLASSES, features=FEATURES, **SMALL).eval()


def test_a_note_is_as_likely_as_its_pitch_times_its_instrument(net):
    x = torch.rand(2, 1, 216, 16)
    evidence = net.evidence(x)
    assert evidence.pitches.shape == (2, 88)
    assert evidence.instruments.shape == (2, 3, 88)  # Fl, Ob and any other
    pitch, instrument = evidence.pitches.sigmoid(), evidence.instruments.sigmoid()
    wanted = torch.stack([pitch[:, m - 21] * instrument[:, i, m - 21] for i, m in ((0, 60), (0, 62), (1, 60))], 1)
    assert torch.allclose(net(x).sigmoid(), wanted, atol=1e-6)


def test_loss_is_none_for_a_sure_and_right_answer_and_counts_only_sounding_pitches():
    pitches, instruments = torch.zeros(1, 88), torch.zeros(1, 88, 3)
    pitches[0, 39], instruments[0, 39, 1] = 1, 1
    sure = Evidence(60 * pitches - 30, 60 * instruments.transpose(1, 2) - 30)
    assert evidence_loss(sure, pitches, instruments) < 1e-6
    elsewhere = sure.instruments.clone()
    elsewhere[:, :, :39] = 7  # no pitch sounds there
    assert evidence_loss(Evidence(sure.pitches, elsewhere), pitches, instruments) < 1e-6
    unsure = Evidence(sure.pitches, torch.zeros_like(sure.instruments))
    wanted = 3 * torch.log(torch.tensor(2.0)) + torch.log(torch.tensor(3.0))
    assert evidence_loss(unsure, pitches, instruments) == pytest.approx(wanted.item(), abs=1e-5)


def test_auxiliary_loss_is_that_of_the_classes_pitches_and_instruments(net):
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    _, evidence = net.with_auxiliary(torch.rand(2, 1, 216, 16))
    pitches, instruments = torch.zeros(2, 88), torch.zeros(2, 88, 3)
    for mixture, pitch, instrument in ((0, 39, 0), (0, 39, 1), (1, 41, 0)):
        pitches[mixture, pitch] = instruments[mixture, pitch, instrument] = 1
    wanted = evidence_loss(evidence, pitches, instruments)
    assert net.auxiliary_loss(evidence, target).item() == pytest.approx(wanted.item(), abs=1e-6)


def test_it_inherits_filters_of_more_bins_and_instruments_by_name(net):
    other = do.build("pitchnet", CLASSES, features=ConstantQ(bins_per_octave=36, frames=16), **SMALL)
    inherit(net, other)
    old, new = other.state_dict(), net.state_dict()
    assert torch.equal(new["register"], old["register"])
    assert torch.equal(new["instruments.weight"][:2], old["instruments.weight"])
    assert torch.allclose(new["instruments.weight"][2], old["instruments.weight"].mean(0))
    filters, before = new["partials.0.weight"], old["partials.0.weight"]
    assert filters.shape[2:] == (5, 3)
    assert before.shape[2:] == (7, 3)
    assert torch.allclose(filters[:, :9].sum(2), before.sum(2), atol=1e-6)  # a flat spectrum is answered alike
    assert torch.allclose(filters[:, :9, 2], before[:, :, 3] + (before[:, :, 2] + before[:, :, 4]) / 3, atol=1e-6)
    assert not filters[:, 9:].any()  # further harmonics
