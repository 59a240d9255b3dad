"""Cores that may be used, and what is set for them."""

import math
import os
import subprocess
import sys

import pytest
import torch

from deeporch.util import environment, processor


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu.max": "nonsense\n"}, math.inf),
    ],
)
def test_a_containers_quota_is_read(files, quota, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(processor, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    assert processor._quota() == quota
    assert processor.free_cores() == (4 if quota == math.inf else math.ceil(quota))


def test_a_quota_above_the_machine_gives_no_more_cores(monkeypatch):
    monkeypatch.setattr(processor, "_quota", lambda: 64.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5}, raising=False)
    assert processor.free_cores() == 2


@pytest.mark.parametrize(("given", "seen"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_importing_the_package_lets_threads_wait_passively(given, seen):
    given_environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    given_environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    code = "import os, deeporch; print(os.environ['OMP_WAIT_POLICY'])"
    made = subprocess.run(
        [sys.executable, "-c", code], env=given_environment, capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == seen


def test_threads_are_lowered_to_the_free_cores_and_never_raised(monkeypatch):
    before = torch.get_num_threads()
    try:
        for free, given, expected in ((1, 2, 1), (4, 2, 2), (2, 2, 2)):
            torch.set_num_threads(given)
            monkeypatch.setattr(environment, "free_cores", lambda free=free: free)
            environment.limit_threads()
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
