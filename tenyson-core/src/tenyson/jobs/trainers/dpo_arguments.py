"""What a configuration means as keyword arguments of TRL's DPOConfig."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.jobs.trainers.arguments import common_arguments, early_stopping_arguments

if TYPE_CHECKING:
    from tenyson.config.schema import Config


def dpo_arguments(config: Config, checkpoints: Path) -> dict[str, Any]:
    """Arguments of trl.DPOConfig; `trl` takes precedence over all of them."""
    own = {
        "max_length": config.training.max_length,
        # The masks of the answers are no arguments of a model.
        "remove_unused_columns": False,
    }
    return common_arguments(config, checkpoints) | own | early_stopping_arguments(config) | config.trl
