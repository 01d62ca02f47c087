"""Jobs on reasoning-gym: a pipeline of no line of Python, and a curriculum that survives a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.train, pytest.mark.slow]

MODEL = {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 32}}


def tenyson(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tenyson", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rollouts(folder: Path) -> list[dict[str, object]]:
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == "RolloutFinished"]


@pytest.fixture(autouse=True)
def one_cache(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    monkeypatch.setenv("TENYSON_CACHE", str(shared_cache))


def test_rl_and_evaluation_run_from_the_command_line_alone(tmp_path: Path) -> None:
    """A name, a data set and a configuration of model and training; every component is recorded."""
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "model": MODEL,
                "generation": {"engine": "transformers", "max_new_tokens": 8},
                "training": {"max_steps": 2, "batch_size": 8, "num_generations": 4},
                "evaluation": {"samples": 8},
                "run": {"allow": ["eos"]},
                "task": {"args": {"system_prompt": ""}},
            }
        )
    )
    for job in ("rl", "eval"):
        tenyson(
            *("run", "--task", "reasoning-gym", "--job", job, "--config", "config.yaml", "--run-id", job),
            *("--set", "task.args.dataset=chain_sum", "--set", "task.args.train_size=40"),
            cwd=tmp_path,
        )
        recorded = rollouts(tmp_path / "outputs" / job)
        assert recorded
        assert all(str(one["sample_id"]).startswith("chain_sum/") for one in recorded)
        assert set(recorded[0]["components"]) == {"accuracy", "format"}  # type: ignore[call-overload]
    results = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())["metrics"]
    assert results["accuracy"]["n"] == 8
    assert results["accuracy"]["high"] > 0


def test_a_wrong_data_set_is_refused_with_its_line_before_anything_runs(tmp_path: Path) -> None:
    """`config check` asks the package."""
    (tmp_path / "config.yaml").write_text(
        "model: {name: x}\ntask:\n  name: reasoning-gym\n  args:\n    dataset: chain_sums\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tenyson", "config", "check", "config.yaml", "--job", "rl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "config.yaml:5: task.args.dataset" in done.stderr
    assert "did you mean chain_sum?" in done.stderr


def test_a_configuration_without_a_data_set_is_refused(tmp_path: Path) -> None:
    """The task alone is enough for its presets, and not for a job."""
    (tmp_path / "config.yaml").write_text("model: {name: x}\ntask: {name: reasoning-gym}\n")
    done = subprocess.run(
        [sys.executable, "-m", "tenyson", "config", "check", "config.yaml", "--job", "rl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "task.args: there is no data set: set dataset, such as chain_sum, or datasets" in done.stderr


def test_a_curriculum_resumes_to_the_bit(tmp_path: Path) -> None:
    """The level is in the checkpoint, so the resumed run plays what the other one played."""
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "model": MODEL,
                "generation": {"engine": "transformers", "max_new_tokens": 3},
                "training": {
                    "max_steps": 8,
                    "batch_size": 16,
                    "num_generations": 4,
                    "save_steps": 2,
                    "learning_rate": 0.01,
                },
                "task": {
                    "name": "reasoning-gym",
                    "args": {
                        "dataset": "count_bits",
                        "answer": "text",
                        "train_size": 60,
                        # An untrained model solves nothing, so levels are made to move by rollouts alone.
                        "curriculum": {"last": 3, "rollouts": 24, "up_at": 0},
                    },
                },
            }
        )
    )
    said = tenyson(
        *("verify-resume", "--job", "rl", "--config", "config.yaml", "--kill-after", "5"),
        *("--keep", "kept", "--json"),
        cwd=tmp_path,
    )
    assert json.loads(said)["identical"]
    recorded = [one for file in (tmp_path / "kept").glob("**/events.jsonl") for one in rollouts(file.parent)]
    levels = {one["components"]["level"] for one in recorded}  # type: ignore[index]
    assert len(levels) > 1
