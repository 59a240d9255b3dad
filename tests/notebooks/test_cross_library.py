"""A network scored on a library that it was not trained on."""

import pandas as pd
import pytest
import torch
from experiments import cross_library

import deeporch as do
from deeporch.features.constantq import ConstantQ
from deeporch.models.checkpoints import save_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")


@pytest.fixture
def model(cache, tiny_library):
    few = tiny_library.select(instruments=["Fl", "Vn"])
    return do.build("pitchnet", do.Classes(few), features=ConstantQ(frames=8), channels=8, hidden=8, width=16, blocks=1)


def test_only_notes_of_its_classes_are_used_and_suspects_can_be_left_out(model, tiny_library):
    without = {i for i in range(len(tiny_library)) if tiny_library.table["pitch"][i] == "C4"}
    for left_out in (set(), without):
        (mixtures, scores), *_ = cross_library.score_on(model, tiny_library, without=left_out, numbers=(2,), size=40)
        used = tiny_library.table.loc[mixtures.indices.flatten().unique().tolist()]
        assert set(used["instrument"]) == {"Fl", "Vn"}
        assert ("C4" in set(used["pitch"])) == (not left_out)
        expected = do.evaluate(model, mixtures).top_n_recall
        assert scores.top_n_recall == expected


def test_the_command_prints_and_keeps_other_rows(model, tiny_library, tmp_path, monkeypatch, capsys):
    (tmp_path / "figures").mkdir()
    monkeypatch.setattr(cross_library, "ROOT", tmp_path)
    monkeypatch.setattr(cross_library, "load_results", lambda name: pd.read_csv(tmp_path / "figures" / f"{name}.csv"))
    monkeypatch.setattr(cross_library, "load_library", lambda *_, **__: tiny_library)
    monkeypatch.setattr(cross_library, "suspects", lambda notes: {0})
    path = save_checkpoint(tmp_path / "tiny", model, card={"data": {"library": "few"}, "training": {"mixtures": 7}})
    for label in ("one", "two", "two"):
        assert (
            cross_library.main([str(path), "--on", f"{label}=sol:somewhere", "--test", "10", "--audit", "--figures"])
            == 0
        )
    assert "tiny on one, without suspects" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "figures" / f"{cross_library.EXPERIMENT}.csv").query("quantity == 'top_n_recall'")
    expected = [f"{label}{end}" for label in ("one", "two") for end in ("", ", without suspects") for _ in range(4)]
    assert table["split"].tolist() == expected
    assert (table["train_mixtures"] == 7).all()
    assert (table["data"] == "few").all()


def test_a_checkpoint_or_library_that_is_not_there_is_named(model, tmp_path, capsys):
    assert cross_library.main([str(tmp_path / "no.safetensors"), "--on", "soundfont"]) == 1
    assert "There is no checkpoint" in capsys.readouterr().err
    path = save_checkpoint(tmp_path / "tiny", model)
    assert cross_library.main([str(path), "--on", "mine=soundfount:x"]) == 1
    assert "did you mean 'soundfont'" in capsys.readouterr().err


def test_a_library_without_any_of_its_notes_is_refused(model, tiny_library):
    with pytest.raises(ValueError, match="has no note of these 24 classes"):
        cross_library.score_on(model, tiny_library.select(instruments=["Hn"]))


def test_attribution_sums_to_the_change_of_a_linear_network():
    from experiments.figures.recognition import attribution

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))

        def forward(self, x):
            return (x[:, 0] * self.weight).sum((1, 2))[:, None]

    net, x = Linear(), torch.rand(1, 1, 6, 5)
    owed = attribution(net, x, 0)
    assert owed.shape == (6,)
    torch.testing.assert_close(owed, (x[0, 0] * net.weight).sum(1).detach())
