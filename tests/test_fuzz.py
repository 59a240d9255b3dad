"""Whatever is given is understood or refused in one sentence. DEEPORCH_FUZZ=20000 makes the long run of each kind."""

import io
import json
import os
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeporch.models.checkpoints import read_card
from deeporch.notes import recordings
from deeporch.notes.sources import philharmonia, sol
from deeporch.orchestration.saved import from_json, read_connection
from deeporch.runner.profiles import parse_assignments
from deeporch.util.audio import as_float, decode, read_sound

REFUSALS = (ValueError, OSError)
COUNT = os.environ.get("DEEPORCH_FUZZ")
fuzz = settings(
    max_examples=int(COUNT or 40), deadline=None, derandomize=not COUNT, suppress_health_check=list(HealthCheck)
)
LETTERS = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=60)
WORDS = ("Vn", "Fl+S", "ord", "C4", "Gb-1", "mf", "N", "T14d", "R100u", "4c", " (1)", "é", "")
PARTS = st.lists(st.sampled_from(WORDS))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
)


def answered(call, *arguments):
    """Return what a call returns, or None if it refuses in one sentence; anything else fails."""
    try:
        return call(*arguments)
    except REFUSALS as error:
        return pytest.fail("an error without a word") if not str(error) else None


@fuzz
@given(LETTERS | PARTS.map("-".join) | PARTS.map("_".join))
def test_names_of_files(name):
    for parse in (sol.parse, philharmonia.parse):
        row = answered(parse, recordings._original(f"folder/{name}.wav"))
        assert row is None or 0 <= row["midi"] <= 127
    assert recordings._spelt(os.fsdecode(name.encode("utf-8", "surrogatepass")[:40])).encode("utf-8") is not None


@fuzz
@given(st.lists(LETTERS | PARTS.map("=".join), max_size=4))
def test_parameters(words):
    answered(parse_assignments, words)


@fuzz
@given(
    st.binary(max_size=300), st.integers(0, 200), st.binary(max_size=20), st.sampled_from(["WAV", "FLAC", "AIFF", "AU"])
)
def test_bytes_of_sounds(data, place, patch, form):
    tone = (np.sin(np.arange(500) * 0.1) * 8000).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, tone, 44_100, format=form)
    whole = bytearray(file.getvalue())
    whole[place : place + len(patch)] = patch
    for given_bytes in (data, bytes(whole), bytes(whole[: 3 * place])):
        found = answered(decode, given_bytes)
        assert found is None or (found[0].ndim == 2 and found[0].nbytes < 1e9)
        answered(read_sound, given_bytes, None, 44_100)


@fuzz
@given(
    st.lists(st.floats(width=32) | st.integers() | st.none() | st.text(max_size=3), max_size=30),
    st.floats() | st.integers(),
)
def test_samples_and_rates(samples, rate):
    answered(as_float, samples)
    answered(read_sound, samples, rate, 44_100)


@fuzz
@given(JSON)
def test_solutions_as_json(tmp_path_factory, tiny_library, value):
    file = tmp_path_factory.getbasetemp() / "a.json"
    file.write_text(json.dumps(value), encoding="utf-8", errors="replace")
    answered(from_json, file, tiny_library)


@fuzz
@given(st.text(st.sampled_from("[]\n\t 0123456789.-+ abcdefgNoteSegmentFlVnC4#\"'é"), max_size=120))
def test_connection_files(tmp_path_factory, tiny_library, text):
    file = tmp_path_factory.getbasetemp() / "a.txt"
    file.write_text(text, encoding="utf-8")
    answered(read_connection, file, tiny_library)


@fuzz
@given(JSON, st.binary(max_size=40))
def test_headers_of_checkpoints(tmp_path_factory, card, rest):
    head = json.dumps({"__metadata__": {"card": json.dumps(card)}}).encode()
    file = tmp_path_factory.getbasetemp() / "a.safetensors"
    file.write_bytes(struct.pack("<Q", len(head)) + head + rest)
    answered(read_card, file)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"fLaC" + b"\xff" * 60, b"OggS" * 30, b"ID3" + bytes(100)])
def test_heads_without_a_body(data):
    assert answered(decode, data) is None
