"""Retention: which checkpoints of a run are deleted once a newer one is published, and how many that leaves at most."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.jobs.checkpoints.publication import is_pinned, newest_first, remove

if TYPE_CHECKING:
    from tenyson.config.schema import TrainingConfig

KEEP_FEWER = "lower training.save_total_limit"
"""How to keep fewer, as messages say it."""
ASSUMED = 10
"""Checkpoints that are counted where no limit is set, for an estimate of the disk space."""


def most_kept(training: TrainingConfig) -> int:
    """How many checkpoints `prune` leaves at most, with the best one and without those that other runs start from."""
    return (training.save_total_limit or ASSUMED) + 1


def prune(
    checkpoints: Path,
    training: TrainingConfig,
    *,
    newest: Path,
    best: Path | None,
    former: Collection[str] = (),
) -> None:
    """Delete what `training.save_total_limit` leaves no room for, oldest first.

    The newest checkpoint, the best one and those that other runs start from are always kept.

    Args:
        checkpoints: the folder that holds them.
        former: names of checkpoints that an earlier attempt wrote beyond the step of the resume; they are deleted first.
    """
    keep = training.save_total_limit
    if keep is None:
        return
    # By what they are: one of the paths may be relative, or lead over a link.
    best = best and best.resolve()
    found = sorted(newest_first(checkpoints), key=lambda path: path.name in former)
    others = [path for path in found if path != newest and path.resolve() != best and not is_pinned(path)]
    for path in others[keep - 1 :]:
        remove(path)
