"""Starting processes that train one network together: ``deeporch train --processes 2``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from ..util.environment import pick_device


def check_processes(processes: int, device: str = "auto") -> None:
    """Raise a ValueError if there are more processes than GPUs or cores."""
    cuda = pick_device(device).type == "cuda"
    most, what = (torch.cuda.device_count(), "GPU") if cuda else (os.cpu_count() or 1, "core")
    if not 1 <= processes <= most:
        raise ValueError(
            f"{processes} processes were asked for, but this machine has {most} {what}{'s' if most > 1 else ''}: "
            "a process needs one of its own."
        )


def together(command: Callable[[Any], int], options: Any) -> int:
    """Run a command here, or start it again in as many ``processes`` as its options say; return the exit code."""
    if options.processes != 1 and "RANK" not in os.environ:
        check_processes(options.processes, options.device)
        return launch(["-m", "deeporch", *options.arguments], options.processes, options.device)
    try:
        return command(options)
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or "peer" in str(error)
        if lost and os.environ.get("WORLD_SIZE", "1") != "1":
            return 3  # the process that started both tells
        raise


def launch(command: Sequence[str], processes: int, device: str = "auto") -> int:
    """Run a command in several processes that train together; end all of them when one ends badly."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if sys.platform == "linux":  # the others are here, whatever the machine's name resolves to
        common |= {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo")}
    if pick_device(device).type == "cpu":
        common |= {"OMP_NUM_THREADS": max(1, (os.cpu_count() or 1) // processes)}
    ranks = []
    with ExitStack() as stack:
        for rank in range(processes):
            own = {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} if rank else {}  # the first one tells
            ranks.append(subprocess.Popen([sys.executable, *command], env=os.environ | own, **quiet))
            stack.callback(ranks[-1].wait)
            stack.callback(ranks[-1].kill)
        while not any(status := [process.poll() for process in ranks]) and None in status:
            time.sleep(0.2)
        time.sleep(0.5)  # whoever ended because of another is not the one to name
        status = [process.poll() for process in ranks]
        if 2 in status:  # bad input, which the first has told
            ranks[0].wait()
            return 2
        if not any(status):
            return 0
        signals = [rank for rank, code in enumerate(status) if code and code < 0]
        bad = (signals or [rank for rank, code in enumerate(status) if code])[0]
        how = f"was killed by signal {-status[bad]}" if signals else f"ended with status {status[bad]}"
        raise OSError(
            f"process {bad + 1} of {processes} {how}, and the others were stopped. The same command goes on from the "
            "last epoch that was kept, with any number of --processes, if it has a --folder."
        )
