import re

import pytest
from experiments.figures import gallery
from matplotlib.image import imread

from deeporch.cli import COMMANDS
from deeporch.results import ROOT

FOLDER = ROOT / "figures"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
PICTURES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".png", ".svg"))


def test_the_committed_page_is_what_the_command_writes():
    assert gallery.gallery_page() == PAGE, "run `deeporch figures`"


def test_every_figure_has_its_picture_a_sentence_and_a_command():
    sections = re.findall(r"^## (\w+)\n\n!\[(.+)\]\((.+)\)\n\n(.+)\n\n```sh\n(.+)\n```$", PAGE, re.MULTILINE)
    assert sorted(name for name, *_ in sections) == [path.stem for path in PICTURES if path.suffix == ".png"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, alt, picture, sentence, command in sections:
        assert picture == f"{name}.png"
        assert alt == sentence
        assert sentence.count(". ") == 0, "one sentence"
        assert len(sentence) > 40
        program, what = command.split()[:2]
        if program == "make":
            assert re.search(rf"^{what}:", makefile, re.MULTILINE)
            if number := re.search(r"NOTEBOOKS=(\d\d)", command):
                assert len(list((ROOT / "notebooks").glob(f"{number.group(1)}_*.ipynb"))) == 1
        else:
            assert program in ("deeporch", "python")
            assert what in COMMANDS or (ROOT / what).is_file()


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_figures_are_small(path):
    assert 5_000 < path.stat().st_size < 300_000
    if path.suffix == ".png":
        assert imread(path)[..., :3].mean() > 0.6, "committed figures are light"


def test_a_figure_without_a_sentence_is_named(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "99_new.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no sentence for 99_new: add one to figures/captions\.yaml\."):
        gallery.gallery_page(tmp_path / "figures")
    (tmp_path / "figures" / "99_new.png").rename(tmp_path / "figures" / "03_resnet.png")
    assert gallery.write_gallery(tmp_path / "figures") == tmp_path / "figures" / "README.md"
    assert "## 03_resnet" in (tmp_path / "figures" / "README.md").read_text(encoding="utf-8")
