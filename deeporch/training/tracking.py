"""Training curves for TensorBoard, live: below ``$DEEPORCH_TENSORBOARD``, which ``--tensorboard FOLDER`` sets."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path

VARIABLE = "DEEPORCH_TENSORBOARD"


class Curves:
    """Write the curves of one training; nothing at all where no folder is named."""

    def __init__(self, name: str, settings: dict, *, stamp: bool = True, on: bool = True) -> None:
        self.writer, folder = None, os.environ.get(VARIABLE)
        if not folder or not on:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter  # takes seconds to import
        except ImportError:
            raise ValueError("--tensorboard needs the package tensorboard: pip install tensorboard.") from None
        name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-{os.getpid()}-{name}" if stamp else name
        try:
            self.writer = SummaryWriter(str(Path(folder, name)), flush_secs=1)
        except OSError as error:
            raise OSError(f"TensorBoard's folder {folder!r} cannot be written: {error.strerror}.") from None
        self.writer.add_text("settings", f"```\n{json.dumps(settings, indent=2, default=str)}\n```")

    def write(self, mixtures: int, values: dict[str, float]) -> None:
        """Add points after so many mixtures."""
        if self.writer:
            for name, value in values.items():
                if math.isfinite(value):
                    self.writer.add_scalar(name, value, mixtures)
            self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self.writer:
            self.writer.close()
