"""Jobs and the services around them: the Hugging Face Hub and Weights & Biases, present or away."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import pytest

from tenyson.errors import ModelError
from tenyson.jobs.sft import SFTJob

pytestmark = pytest.mark.train

QUICK = {"max_steps": 2, "batch_size": 4}


def test_a_hub_that_is_away_costs_a_warning_and_not_the_run(configure, echo, events):
    """What was trained stays on disk; the warning says where, and the result claims no push."""
    result = SFTJob(configure("run", training=QUICK, hub={"repo_id": "someone/model"}), echo).run()
    assert result.status == "success"
    assert result.hf_repo_id is None
    [notice] = [event for event in events("run", "Notice") if event["level"] == "warning"]
    assert "not pushed to someone/model" in notice["message"]
    assert str(Path(result.local_output_dir) / "model") in notice["message"]


def test_an_adapter_on_a_hub_that_is_away_is_named(configure, echo):
    """repo:revision is looked for on the Hub; without a network the error says so and what was asked for."""
    model = {"factory": "tenyson.testing.tiny:build", "adapter": "someone/adapter:main"}
    with pytest.raises(ModelError, match=r"someone/adapter:main: cannot be fetched from the Hub"):
        SFTJob(configure("run", training=QUICK, model=model), echo).run()


def test_wandb_offline_gives_the_result_a_place_to_look_at(configure, echo):
    """wandb_url is the folder that `wandb sync` takes; the real client wrote it."""
    pytest.importorskip("wandb")
    config = configure(
        "run", training=QUICK, wandb={"project": "tests", "mode": "offline"}, telemetry={"sinks": None}
    )
    result = SFTJob(config, echo).run()
    assert result.wandb_url is not None
    folder = Path(urlparse(result.wandb_url).path)
    assert list(folder.glob("*.wandb")), "the client leaves its record there"
