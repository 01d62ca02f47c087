"""docs/examples/openenv_tiny.yaml: GRPO on a real OpenEnv server that the job starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenyson.jobs.rl import RLJob
from tenyson.tasks.load import load_task
from tenyson.tasks.preset import Preset

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def recipe() -> Preset:
    return Preset.from_file(EXAMPLES / "openenv_tiny.yaml")


def test_the_recipe_measures_trains_and_measures_again(recipe: Preset) -> None:
    """With the server that lies beside it."""
    assert [(step.label, step.job) for step in recipe.steps] == [
        ("baseline", "eval"),
        ("rl", "rl"),
        ("eval", "eval"),
    ]
    task = load_task("openenv", recipe.steps[0].config["task"]["args"])
    assert (EXAMPLES.parents[1] / task.arguments["command"][1]).is_file()


@pytest.mark.train
@pytest.mark.slow
def test_a_step_of_the_recipe_trains_on_its_server(
    recipe: Preset, openenv_python: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preflight, two groups, one step."""
    monkeypatch.setenv("TENYSON_CACHE", str(shared_cache))
    config = dict(recipe.steps[1].config)
    command = [str(openenv_python), str(EXAMPLES / "openenv_server.py"), "{port}"]
    task = load_task("openenv", {**config["task"]["args"], "command": command})
    config["training"] = {**config["training"], "max_steps": 1, "batch_size": 16, "preflight_groups": 0}
    config |= {
        "run": {"id": "rl", "output_dir": str(tmp_path)},
        "task": {"name": "openenv"},
        "telemetry": {"sinks": []},
    }
    try:
        result = RLJob(config, task).run()
    finally:
        task.pool.end()
    assert result.status == "success"
    assert 0 <= result.metrics["environment"] <= 1
    assert result.metrics["refused"] == 0
