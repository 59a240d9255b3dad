"""Every public name says what it is, and ``help(deeporch)`` tells the story."""

import importlib
import inspect
import pkgutil
import re

import pytest

import deeporch

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(deeporch.__path__, "deeporch.")
    if not info.name.rpartition(".")[2].startswith("_")
)


def public(module):
    """Yield the public functions and classes that a module defines, and the public methods of its classes."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield name, thing
        if inspect.isclass(thing):
            for inner, member in vars(thing).items():
                member = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
                if not inner.startswith("_") and inspect.isfunction(member) and member.__module__ == module.__name__:
                    yield f"{name}.{inner}", member


def undocumented(module):
    """Return what has no docstring of its own; the signature that a dataclass gets for nothing is none."""
    found = [] if (module.__doc__ or "").strip() else [module.__name__]
    for name, thing in public(module):
        text = (vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__) or ""
        if len(text.split()) < 3 or text.startswith(f"{thing.__name__}("):
            found.append(name)
    return found


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 40
    names = [name for name, _ in public(importlib.import_module("deeporch.notes.library"))]
    assert {"load_library", "NoteLibrary", "NoteLibrary.select", "NoteLibrary.audio", "NoteLibrary.from_audio"} <= {
        *names
    }


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_every_module_is_documented(name):
    assert undocumented(importlib.import_module(name)) == []


def test_help_tells_the_story():
    story = inspect.getdoc(deeporch)
    names = re.findall(r"\bdo\.(\w+)", story)
    assert [name for name in names if name not in deeporch.__all__] == []
    steps = ["load_library", "Classes", "split", "Mixtures", "build", "fit", "evaluate", "orchestrate"]
    assert [name for name in dict.fromkeys(names) if name in steps] == steps, "in this order"
    methods = re.findall(r"\bsolutions\[0\]\.(\w+)\(", story)
    assert {"to_wav", "to_musicxml"} <= set(methods)
    assert [
        name
        for name in methods
        if not hasattr(importlib.import_module("deeporch.orchestration.solution").Solution, name)
    ] == []
    for word in ("CONTRIBUTING.md", "deeporch orchestrate", "make lab"):
        assert word in story
