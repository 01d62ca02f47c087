"""TRL's SFTTrainer with Tenyson's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trl import SFTTrainer

from tenyson.jobs.checkpoint import CheckpointMixin


class CheckpointedSFTTrainer(CheckpointMixin, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that publishes checkpoints as step-N."""

    def __init__(self, *, checkpoints: Path, keep: int | None, **arguments: Any) -> None:
        self.checkpoints = checkpoints
        self.keep = keep
        super().__init__(**arguments)
