"""Recorded steps, on a stand-in for a GPU that replays by calling what it was given."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from deeporch.training.capture import WARM_UP, Captured


class Graph:
    """Repeats the step that was recorded."""

    def replay(self):
        self.run()


class Stream:
    def wait_stream(self, other):
        pass


@pytest.fixture
def gpu(monkeypatch):
    """What `Captured` asks of torch.cuda; the list holds the graphs that are recorded."""
    graphs = []

    @contextmanager
    def record(graph):
        graphs.append(graph)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    return graphs


def test_a_step_is_recorded_once_and_replayed_on_every_batch_of_its_size(gpu):
    seen, result = [], torch.zeros(1)

    def step(x, target):
        def compute():
            seen.append(x.tolist())
            return result.copy_((x * target).sum())

        if gpu and not hasattr(gpu[0], "run"):
            gpu[0].run = compute
            return result  # nothing is computed while it is recorded
        return compute()

    captured = Captured(step)
    for i in range(1, 7):
        assert captured(torch.full((2,), float(i)), torch.ones(2)).item() == 2 * i
    assert captured(torch.full((1,), 9.0), torch.ones(1)).item() == 9  # an epoch's last batch
    assert len(gpu) == 1
    assert gpu[0] is captured.graph
    assert captured.steps == WARM_UP + 1
    assert seen == [[i, i] for i in range(1, 7)] + [[9]]


def test_what_cannot_be_recorded_is_computed_step_by_step(gpu, monkeypatch, capsys):
    @contextmanager
    def fails(graph):
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "graph", fails)
    captured = Captured(lambda x, target: (x * target).sum())
    for i in range(1, 7):
        assert captured(torch.full((2,), float(i)), torch.ones(2)).item() == 2 * i
    assert captured.graph is None
    assert capsys.readouterr().err.count("cannot be recorded: operation not permitted when stream is capturing") == 1
