"""Nothing that is read can run: no pickle, no eval, no YAML tags."""

import ast
import os
import pickle
from pathlib import Path

import pytest

from deeporch.models.checkpoints import load_checkpoint
from deeporch.recognition.recognizer import Recognizer

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {"eval", "exec", "compile", "__import__"}
UNSAFE = {"pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.load", "os.system",
          "joblib.load", "marshal.loads", "dill.load"}  # fmt: skip


def calls(path):
    """Yield the names of what a file calls, with the keywords that are given."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


def test_no_file_of_the_package_runs_what_it_reads():
    found = []
    for path in sorted((ROOT / "deeporch").rglob("*.py")):
        for name, keywords in calls(path):
            shell, pickled = keywords.get("shell") == "True", keywords.get("allow_pickle") == "True"
            if name in FORBIDDEN | UNSAFE or shell or pickled:
                found.append(f"{path.relative_to(ROOT)}: {name}")
        assert "import pickle" not in path.read_text(encoding="utf-8")
    assert found == []


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_that_is_called_a_checkpoint_does_not_run(tmp_path):
    target = str(tmp_path / "made")
    file = tmp_path / "net.safetensors"
    file.write_bytes(pickle.dumps(Bomb(target)))
    for load in (load_checkpoint, Recognizer.load):
        with pytest.raises(ValueError, match="is no checkpoint of deeporch"):
            load(file)
    assert not Path(target).exists()
    pickle.loads(file.read_bytes())
    assert Path(target).is_dir(), "it would have run"
