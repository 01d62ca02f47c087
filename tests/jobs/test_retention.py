"""Which checkpoints stay once a newer one is published."""

from __future__ import annotations

import pytest

from tenyson.config.schema import TrainingConfig
from tenyson.jobs.checkpoints.publication import make_draft, pin, publish
from tenyson.jobs.checkpoints.retention import prune


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
