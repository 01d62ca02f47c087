"""Which checkpoints stay once a newer one is published."""

from __future__ import annotations

import pytest

from tenyson.config.schema import TrainingConfig
from tenyson.jobs.checkpoints.publication import make_draft, pin, publish
from tenyson.jobs.checkpoints.retention import most_kept, prune


@pytest.fixture
def checkpoints(tmp_path):
    """Five published checkpoints, of which another run uses the first."""
    for step in range(1, 6):
        draft = make_draft(tmp_path / f"step-{step}")
        (draft / "weights").write_text(str(step))
        publish(draft, tmp_path / f"step-{step}")
    pin(tmp_path / "step-1", "another")
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "best", "former", "kept"),
    [
        (None, None, (), {1, 2, 3, 4, 5}),
        (2, None, (), {1, 4, 5}),
        (1, None, (), {1, 5}),
        (1, 3, (), {1, 3, 5}),
        (2, None, ("step-4",), {1, 3, 5}),
    ],
)
def test_the_newest_the_best_and_those_in_use_are_kept(checkpoints, limit, best, former, kept):
    """Beside them the limit counts; what an earlier attempt wrote beyond the step of the resume goes first."""
    prune(
        checkpoints,
        TrainingConfig(save_total_limit=limit),
        newest=checkpoints / "step-5",
        best=best and checkpoints / f"step-{best}",
        former=former,
    )
    assert {int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*")} == kept


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_disk_estimate_counts_every_checkpoint_that_is_kept(tmp_path, limit):
    """The best one is the oldest, so that it is kept beside those within the limit."""
    for step in range(1, 8):
        draft = make_draft(tmp_path / f"step-{step}")
        (draft / "weights").write_text(str(step))
        publish(draft, tmp_path / f"step-{step}")
    training = TrainingConfig(save_total_limit=limit)
    prune(tmp_path, training, newest=tmp_path / "step-7", best=tmp_path / "step-1")
    assert len(list(tmp_path.glob("step-*"))) == most_kept(training)
