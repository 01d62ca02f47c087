"""Names of keys that tell an experiment file apart from the configuration of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenyson.config.experiment.sweep import SWEEP_KEYS

if TYPE_CHECKING:
    from tenyson.config.document import Document

_ONLY_HERE = ("shared", "steps", *SWEEP_KEYS, "max_parallel")


def is_experiment(document: Document) -> bool:
    """Whether a file is an experiment and not the configuration of one job."""
    return any(key in document.data for key in _ONLY_HERE)
