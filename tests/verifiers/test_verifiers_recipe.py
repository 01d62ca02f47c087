"""docs/examples/verifiers_tiny.yaml: GRPO on an environment of verifiers that lies beside it as a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenyson.jobs.rl import RLJob
from tenyson.tasks.load import load_task
from tenyson.tasks.preset import Preset

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def recipe() -> Preset:
    return Preset.from_file(EXAMPLES / "verifiers_tiny.yaml")


def test_the_recipe_measures_trains_and_measures_again(recipe: Preset) -> None:
    """With the environment that lies beside it."""
    assert [(step.label, step.job) for step in recipe.steps] == [
        ("baseline", "eval"),
        ("rl", "rl"),
        ("eval", "eval"),
    ]
    name = recipe.steps[0].config["task"]["args"]["env"]
    folder = EXAMPLES / name.replace("-", "_")
    assert f'name = "{name}"' in (folder / "pyproject.toml").read_text()
    assert (folder / f"{folder.name}.py").is_file()


@pytest.mark.train
@pytest.mark.slow
def test_a_step_of_the_recipe_trains_on_its_environment(
    recipe: Preset,
    verifiers_python: Path,
    tmp_path: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Preflight and one step of two rollouts: each starts a process."""
    monkeypatch.setenv("TENYSON_CACHE", str(shared_cache))
    config = dict(recipe.steps[1].config)
    task = load_task("verifiers", {**config["task"]["args"], "python": str(verifiers_python)})
    training = {"max_steps": 1, "batch_size": 2, "num_generations": 2, "preflight_groups": 0}
    config |= {
        "run": {"id": "rl", "output_dir": str(tmp_path)},
        "task": {"name": "verifiers"},
        "training": {**config["training"], **training},
        "telemetry": {"sinks": []},
    }
    result = RLJob(config, task).run()
    assert result.status == "success"
    assert 0 <= result.metrics["small"] <= 1
    assert result.metrics["length"] >= 0
