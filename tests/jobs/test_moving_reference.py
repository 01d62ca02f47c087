"""A checkpoint that lacks the reference which `trl.sync_ref_model` moved cannot be resumed exactly, and says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tenyson.errors import ModelError

pytestmark = pytest.mark.train


def test_a_checkpoint_of_an_earlier_release_without_the_reference_is_refused(monkeypatch):
    """Those of RL held none; the error says that it is not damaged."""
    from tenyson.jobs.checkpoints.reference import MovingReferenceMixin
    from tenyson.jobs.checkpoints.trainer_mixin import CheckpointMixin

    monkeypatch.setattr(CheckpointMixin, "restore_own_state", lambda *_: None)
    trainer = MovingReferenceMixin.__new__(MovingReferenceMixin)
    trainer.args = SimpleNamespace(sync_ref_model=True)
    with pytest.raises(ModelError, match="does not hold the reference") as caught:
        trainer.restore_own_state({}, {"0.prompt_ids": None})
    assert "earlier release" in caught.value.next_step
