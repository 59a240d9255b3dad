import re
from itertools import combinations

import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
import torch
from experiments import figures
from experiments.figures import gallery, study
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.image import imread

from deeporch import cli
from deeporch.features.mel import Mel
from deeporch.metrics import mistakes, score
from deeporch.mixtures.classes import Classes
from deeporch.mixtures.mixtures import Mixtures
from deeporch.plots import audio as draw
from deeporch.plots import theme
from deeporch.results import Results, load_results
from deeporch.training.loop import History

NAMES = ("01_cnn_instruments", "02_cnn_one_class_per_file", "05_mixtures_2_3_5_10")


def made_up(library, name):
    """Return results of made-up networks for an experiment: two splits, two seeds, as its notebook has them."""
    results = Results(name, data="tiny", profile="quick", device="2 CPU cores")
    granularities = {"01_cnn_instruments": ["instrument"], "02_cnn_one_class_per_file": ["recording", "note"]}
    numbers = (2, 3, 5) if name.startswith("05") else (2,)
    for by in granularities.get(name, ["note"]):
        classes = Classes(library, by=by)
        for n in numbers:
            for seed in (0, 1):
                for split, strength in (("mixture", 3.0), ("recording", 1.5)):
                    test = Mixtures(library, classes, n=n, size=60, seed=seed)
                    targets = test.targets()
                    noise = torch.randn(targets.shape, generator=torch.Generator().manual_seed(seed))
                    logits = noise + strength * targets
                    curve = {f"{part}_{kind}": [3 - i for i in range(3)] for part in ("train", "valid")
                             for kind in ("loss", "recall")}  # fmt: skip
                    history = History(pd.DataFrame({"epoch": [1, 2, 3], **curve, "seconds": [1.0, 2.0, 3.0]}), "cpu")
                    errors = mistakes(logits, targets, classes) if by == "note" else None
                    results.add(
                        score(logits, targets, classes), test, setting=by, split=split, model="cnn", seed=seed,
                        history=history, train_mixtures=100, errors=errors,
                    )  # fmt: skip
    return results


@pytest.fixture(scope="module")
def folder(tiny_library, tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    for name in NAMES:
        made_up(tiny_library, name).save(root)
    return root


def test_recall_at_the_studys_size_is_drawn_over_the_mixtures_seen():
    common = {"classes": "recording", "setting": "CNN, many", "quantity": "recall_after"}
    rows = [common | {"n": n, "item": str(seen), "value": seen / 1000 / n} for n in (2, 5) for seen in (500, 1000)]
    labels = {"data": "tiny", "features": "logmel64", "device": "CPU", "profile": "gpu", "seed": 0, "n_classes": 9}
    labels |= {"train_mixtures": 500, "epochs": 2, "seconds": 3}
    figure = study.draw_study_size(pd.DataFrame([row | labels for row in rows]))
    assert [ax.get_visible() for ax in figure.axes] == [True, False, True, False]
    for ax, n, published in zip(figure.axes[::2], (2, 5), (92.1, 72.6), strict=True):
        line = ax.lines[0]
        assert line.get_xdata().tolist() == [500, 1000]
        assert line.get_ydata().tolist() == pytest.approx([50 / n, 100 / n])
        assert ax.lines[1].get_ydata()[0] == pytest.approx(published, abs=0.1)
        assert ax.get_title("left") == f"{n} notes"


def test_redrawing_gives_the_same_bytes(folder):
    first = {
        path: path.read_bytes() for png in gallery.redraw(folder=folder) for path in (png, png.with_suffix(".svg"))
    }
    assert sorted(path.name for path in first) == sorted(f"{n}.{kind}" for n in NAMES for kind in ("png", "svg"))
    torch.manual_seed(5)
    gallery.redraw(NAMES, folder)
    for path, content in first.items():
        assert path.read_bytes() == content, path.name
        assert 5_000 < len(content) < 300_000, path.name
    assert not [path for path in folder.iterdir() if path.name.startswith(".")], "no temporary files"


def test_figures_are_pictures_with_their_words(folder):
    (path,) = gallery.redraw(["02_cnn_one_class_per_file"], folder)
    picture = imread(path)
    assert picture.shape[0] > 300
    assert picture.shape[1] > 900
    assert picture[..., :3].std() > 0.1
    words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.with_suffix(".svg").read_text()))
    for word in ("the study: 86.6 %", "unseen recordings", "seen recordings", "216 classes", "100 training",
                 "2 CPU cores", "profile quick", "epoch", *("Fl", "Ob", "Vc")):  # fmt: skip
        assert word in words, word


def test_pyplot_keeps_no_figures(folder):
    gallery.redraw(["01_cnn_instruments"], folder)
    assert matplotlib.pyplot.get_fignums() == []


def test_accuracy_of_instruments_is_right_over_occurring(tiny_library):
    table = made_up(tiny_library, "01_cnn_instruments").table
    found = study.instrument_accuracy(table)
    for name in ("Fl", "Vn"):
        for split in ("mixture", "recording"):
            part = table[(table["item"] == name) & (table["split"] == split)]
            right, occurring = (part.loc[part["quantity"] == q, "value"].sum() for q in ("right", "occurring"))
            assert found.loc[name, split] == pytest.approx(right / occurring)
    assert 0 < found["recording"].mean() < found["mixture"].mean() < 1


def test_bars_show_accuracy_and_the_studys_marks(tiny_library):
    table = made_up(tiny_library, "01_cnn_instruments").table
    _, ax = theme.new_figure()
    study.instrument_bars(ax, table, published={"Fl": 0.9, "Nobody": 0.1})
    heights = sorted(bar.get_height() for bar in ax.patches)
    assert heights == pytest.approx(sorted(100 * study.instrument_accuracy(table).to_numpy().flatten()))
    assert [line.get_ydata()[0] for line in ax.lines] == [90.0]


def test_bars_of_several_seeds_show_their_spread(tiny_library):
    one = made_up(tiny_library, "01_cnn_instruments").table
    one = one[one["seed"] == one["seed"].min()]
    _, ax = theme.new_figure()
    study.instrument_bars(ax, one)
    assert not ax.collections, "one seed has no spread"
    flute = (one["item"] == "Fl") & (one["split"] == "recording")
    right = flute & (one["quantity"] == "right")
    other = one.assign(seed=one["seed"] + 1, value=one["value"].mask(right, one["value"] - 4))
    both = pd.concat([one, other])
    occurring = one.loc[flute & (one["quantity"] == "occurring"), "value"].sum()
    expected = np.std([0, 4 / occurring], ddof=1)
    spread = study.instrument_spread(both)
    assert spread.loc["Fl", "recording"] == pytest.approx(expected)
    assert spread.drop("Fl").to_numpy() == pytest.approx(0)
    _, ax = theme.new_figure()
    study.instrument_bars(ax, both)
    place = list(study.instrument_accuracy(both).index).index("Fl")
    low, high = ax.collections[1].get_segments()[place][:, 1]
    assert high - low == pytest.approx(200 * expected), "as high as twice the standard deviation, in percent"


def test_curves_show_mean_and_range_over_seeds():
    rows = [(f"curve_{kind}", epoch, value + seed) for seed in (0, 1) for kind, epoch, value in
            (("train_loss", 1, 4.0), ("train_loss", 2, 3.0), ("valid_recall", 1, 0.25))]  # fmt: skip
    table = pd.DataFrame(rows, columns=["quantity", "item", "value"]).assign(seed=[0, 0, 0, 1, 1, 1])
    _, ax = theme.new_figure()
    study.curve(ax, table, "train_loss")
    assert ax.lines[0].get_xydata().tolist() == [[1, 4.5], [2, 3.5]]
    assert ax.collections[0].get_datalim(ax.transData).intervaly.tolist() == [3, 5]
    _, ax = theme.new_figure()
    study.curve(ax, table[table["seed"] == 0], "valid_recall")
    assert ax.lines[0].get_xydata().tolist() == [[1, 25]], "recall in percent"
    assert not ax.collections


def test_mel_picture_and_waveform(tiny_library):
    mel = Mel()
    classes = Classes(tiny_library, by="note")
    audio = Mixtures(tiny_library, classes, n=2, size=1).batch([0])[0][0]
    for features in (mel, Mel(scale="log")):
        figure, ax = theme.new_figure()
        figures.mel_picture(ax, features(audio[None])[0], features)
        drawn = ax.images[0].get_array()
        assert drawn.shape == (128, 128)
        assert drawn.max() == 0
        assert -80 <= drawn.min() < -40
        assert ax.get_xlim()[1] == pytest.approx(128 * 512 / 44_100)
        figure.canvas.draw()
    figure, ax = theme.new_figure()
    draw.waveform(ax, audio)
    heights = np.concatenate([path.vertices[:, 1] for path in ax.collections[0].get_paths()])
    assert heights.max() == pytest.approx(audio.max().item(), abs=1e-6)
    assert heights.min() == pytest.approx(audio.min().item(), abs=1e-6)


def test_pitch_ranges(tiny_library):
    _, ax = theme.new_figure()
    figures.pitch_ranges(ax, tiny_library)
    dots = np.concatenate([part.get_offsets() for part in ax.collections if len(part.get_offsets())])
    assert len(dots) == 6 * 12
    assert (dots[:, 0].min(), dots[:, 0].max()) == (60, 71)


def test_style_stays_inside():
    before = dict(matplotlib.rcParams)
    with theme.style(dark=True):
        assert matplotlib.rcParams["axes.facecolor"] == "#181818"
    assert dict(matplotlib.rcParams) == before


def test_figures_are_dark_in_a_dark_style_and_light_outside(folder, tmp_path):
    for name in NAMES:
        table = load_results(name, folder)
        with theme.style(dark=True):
            dark = gallery.FIGURES[name](table)
            assert theme.ink() == "#dddddd"
        light = gallery.FIGURES[name](table)
        for figure, background in ((dark, "#181818"), (light, "#ffffff")):
            assert to_hex(figure.get_facecolor()) == background
            for ax in figure.findobj(Axes):
                shown = [*ax.lines, ax.title, ax.xaxis.label, *ax.get_xticklabels(), *ax.collections]
                colours = [artist.get_color() for artist in shown if hasattr(artist, "get_color")]
                assert [c for c in colours if np.size(c) and contrast(c, background) < 2] == []
        before = theme.save(light, "light", tmp_path).read_bytes()
        assert theme.save(dark, "dark", tmp_path).read_bytes() != before
    with theme.style(dark=True), theme.style(dark=False):
        assert theme.ink() == "black"
    assert theme.new_figure(dark=True)[1].get_facecolor() == to_rgba("#181818")


# Of C. Machado and others, A physiologically-based model for simulation of color vision deficiency (2009), full degree.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    values = np.array(to_rgb(colour if isinstance(colour, str) else np.ravel(colour)[:3]))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Return the contrast ratio of the W3C's guidelines, 1 to 21."""
    dark, bright = sorted((TO_XYZ @ linear(colour))[1] for colour in (one, other))
    return (bright + 0.05) / (dark + 0.05)


def lab(rgb):
    x, y, z = np.cbrt(TO_XYZ @ np.clip(rgb, 0, 1) / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_colours_differ_for_colour_blind_readers(vision):
    for palette in (theme.COLOURS, theme.SPLIT_COLOURS.values(), theme.FAMILY_COLOURS.values()):
        seen = [lab(np.array(VISION[vision]) @ linear(colour)) for colour in palette]
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 10, "four just noticeable differences"


def test_colours_stand_out_on_dark():
    assert min(contrast(colour, "#181818") for colour in theme.COLOURS) > 3


def test_exit_codes_and_sentences(folder, tmp_path, monkeypatch, capsys):
    with pytest.raises(
        ValueError, match=r"Unknown figure '02_cnn'\. Known: 01_cnn_instruments, 02_cnn_one_class_per_file"
    ):
        gallery.redraw(["02_cnn"], folder)
    with pytest.raises(FileNotFoundError, match=r"There are no results 01_cnn_instruments\.csv: run `deeporch"):
        gallery.redraw(["01_cnn_instruments"], tmp_path)
    assert gallery.redraw(folder=tmp_path) == [], "nothing to draw is no mistake"
    monkeypatch.setattr(theme, "ROOT", tmp_path)
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    monkeypatch.setattr("deeporch.results.ROOT", tmp_path)
    assert cli.main(["figures", "nothing_like_it"]) == 2
    assert "Unknown figure 'nothing_like_it'" in capsys.readouterr().err
    assert cli.main(["figures", "01_cnn_instruments"]) == 2
    assert "There are no results" in capsys.readouterr().err
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "01_cnn_instruments.csv").write_bytes((folder / "01_cnn_instruments.csv").read_bytes())
    assert cli.main(["figures", "01_cnn_instruments"]) == 0
    assert "01_cnn_instruments.png" in capsys.readouterr().out


def test_recall_over_mixtures_has_a_line_a_setting_and_the_studys_value():
    rows = [("a", 10, 0.2), ("a", 100, 0.5), ("b", 10, 0.1), ("b", 1000, 0.75)]
    table = pd.DataFrame(rows, columns=["setting", "item", "value"]).astype({"item": str})
    _, ax = theme.new_figure()
    study.draw_recall_after(ax, table, 0.9)
    first, second, published = ax.lines
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([10, 100], [20, 50])
    assert (list(second.get_xdata()), list(second.get_ydata())) == ([10, 1000], [10, 75])
    assert list(published.get_ydata()) == [90, 90]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a: 50.0 %", "b: 75.0 %"]
