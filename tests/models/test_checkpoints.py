import json
import math
import pickle
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file

from deeporch.features.mel import Mel
from deeporch.mixtures.classes import Classes
from deeporch.models.build import build
from deeporch.models.checkpoints import load_checkpoint, load_weights, read_card, read_tensors, save_checkpoint
from deeporch.recognition.calibration import Calibration

SMALL = Mel(n_mels=16, frames=16, scale="log")


@pytest.fixture(scope="module")
def classes(tiny_library):
    return Classes(tiny_library, by="note")


@pytest.fixture
def model(classes):
    made = build("cnn", classes, features=SMALL, hidden=8, seed=3)
    made.train()(torch.rand(4, 1, 16, 16))  # batch-norm's statistics are no longer those of a new network
    return made.eval()


def test_round_trip(model, classes, tmp_path):
    facts = {"seed": 7, "best": math.inf, "note": "flûte"}
    extra = {"optimizer.0.step": torch.tensor(3.0)}
    path = save_checkpoint(tmp_path / "deep" / "net.v1", model, card=facts, extra=extra)
    assert path == tmp_path / "deep" / "net.v1.safetensors"
    again = load_checkpoint(path, classes=classes)
    assert not again.training
    assert again.classes is classes
    assert again.features == SMALL
    for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    x = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(x), again(x))
    card = read_card(path)
    assert {k: card[k] for k in facts} == facts
    assert card["classes"]["name"] == classes.names
    assert read_tensors(path, prefix="optimizer.").keys() == {"0.step"}
    beside = json.loads(path.with_suffix(".json").read_text())
    assert beside == card
    assert load_checkpoint(path).classes == classes


def test_channels_last_weights_can_be_saved(model, tmp_path):
    model = model.to(memory_format=torch.channels_last)
    again = load_checkpoint(save_checkpoint(tmp_path / "net", model))
    for ours, theirs in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_nothing_is_pickled(model, classes, tmp_path):
    with (
        patch.object(pickle, "Pickler", side_effect=AssertionError),
        patch.object(pickle, "Unpickler", side_effect=AssertionError),
        patch.object(torch, "save", side_effect=AssertionError),
        patch.object(torch, "load", side_effect=AssertionError),
    ):
        load_checkpoint(save_checkpoint(tmp_path / "net", model), classes=classes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.safetensors"]
    assert load_file(tmp_path / "net.safetensors").keys() == model.state_dict().keys()


def test_a_failed_write_leaves_the_old_checkpoint(model, tmp_path):
    path = save_checkpoint(tmp_path / "net", model, card={"seed": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_checkpoint(tmp_path / "net", model, card={"seed": object()})
    with (
        patch("deeporch.models.checkpoints.save", side_effect=OSError("disk full")),
        pytest.raises(OSError, match="full"),
    ):
        save_checkpoint(tmp_path / "net", model, card={"seed": 2})
    assert read_card(path)["seed"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


def test_other_classes(model, tiny_library, tmp_path):
    path = save_checkpoint(tmp_path / "net", model)
    others = Classes(tiny_library.select(instruments="Fl Ob"), by="note")
    with pytest.raises(ValueError, match=r"the network has 72 by note, .*net.safetensors has 24 by note"):
        load_checkpoint(path, classes=others)
    coarse = Classes(tiny_library, by="instrument")
    with pytest.raises(ValueError, match=r"has 6 by instrument \(such as ClBb, Fl, Hn\); use those it was made for"):
        load_checkpoint(path, classes=coarse)


def test_another_network(model, classes, tmp_path):
    path = save_checkpoint(tmp_path / "net", model)
    wider = build("cnn", classes, features=SMALL, hidden=9)
    with pytest.raises(ValueError, match=r"holds another network: its config is .*'hidden': 8.* but .*'hidden': 9"):
        load_weights(wider, path)
    other = build("cnn", classes, features=Mel(n_mels=16, frames=16), hidden=8)
    with pytest.raises(ValueError, match=r"holds another network: its features is .*'log'.* but .*'power'"):
        load_weights(other, path)


def test_missing_damaged_and_foreign_files(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no checkpoint .*none\.safetensors: give the \.safetensors"):
        load_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        load_checkpoint(tmp_path)
    whole = save_checkpoint(tmp_path / "net", model).read_bytes()
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(3)}, foreign)
    empty_card = tmp_path / "card.safetensors"
    save_file({"w": torch.zeros(3)}, empty_card, metadata={"card": "{}"})
    for name, content in (("cut", whole[:-100]), ("head", whole[:50]), ("text", b"not a checkpoint"), ("empty", b"")):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    for name in ("cut", "head", "text", "empty", "foreign", "card"):
        with pytest.raises(ValueError, match=rf"{name}\.safetensors is no checkpoint of deeporch, or it is damaged"):
            load_checkpoint(tmp_path / f"{name}.safetensors")


def test_other_tensors_and_cards_of_other_versions(model, tmp_path):
    path = save_checkpoint(tmp_path / "net", model)
    tensors, card = load_file(path), read_card(path)
    name = next(name for name, each in tensors.items() if each.ndim > 1)
    card_of = lambda **changed: {**card, **changed}  # noqa: E731
    for changed, stated, sentence in (
        ({**tensors, name: tensors[name][:1].contiguous()}, card, rf"the tensor {name} should be \[.*\], but is \[1"),
        ({k: v for k, v in tensors.items() if k != name}, card, rf"the tensor {name} should be .* but is missing"),
        ({**tensors, name: tensors[name] * math.nan}, card, "numbers that are not finite"),
        (tensors, card_of(classes={}), "it has no 'by'"),
        (tensors, card_of(config={"later": 1}), "Unknown size of the model"),
        (tensors, card_of(features=None), "is damaged or of another version"),
        (tensors, card_of(classes=[1]), "is damaged or of another version"),
    ):
        save_file(changed, tmp_path / "other.safetensors", metadata={"card": json.dumps(stated)})
        with pytest.raises(ValueError, match=sentence):
            load_checkpoint(tmp_path / "other.safetensors")


@pytest.mark.parametrize("stated", [{"temperature": 1, "later": 1}, {"temperature": None}, {"offset": math.nan}, [1]])
def test_calibrations_of_other_versions(stated):
    with pytest.raises(ValueError, match="is damaged, or of another version"):
        Calibration.from_dict(stated)
    assert Calibration.from_dict(None) == Calibration()
    assert Calibration.from_dict(Calibration(2.0, 1.0, 0.3).to_dict()) == Calibration(2.0, 1.0, 0.3)
