"""TRL's SFTTrainer with Tenyson's checkpoints."""

from __future__ import annotations

from trl import SFTTrainer

from tenyson.jobs.checkpoints.trainer_mixin import CheckpointMixin


class CheckpointedSFTTrainer(CheckpointMixin, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that publishes checkpoints as step-N and resumes from them exactly."""
