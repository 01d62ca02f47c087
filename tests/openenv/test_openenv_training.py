"""Jobs on a real OpenEnv server: RL and evaluation of no line of Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture(autouse=True)
def one_cache(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    monkeypatch.setenv("TENYSON_CACHE", str(shared_cache))


def test_rl_and_evaluation_run_from_the_command_line_alone(
    tmp_path: Path, arguments: Callable[..., dict[str, Any]], events: Path
) -> None:
    """A name, a server and a configuration of model and training; eight rollouts share two slots, which are free at the end."""
    config = {
        "model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 32}},
        "generation": {"engine": "transformers", "max_new_tokens": 4, "max_turns": 2},
        "training": {"max_steps": 2, "batch_size": 8, "num_generations": 4},
        "evaluation": {"samples": 4},
        "run": {"allow": ["eos"]},
        "task": {"args": arguments(slots=2, slot_seconds=0.5, prompt="Guess.")},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for job in ("rl", "eval"):
        command = ["run", "--task", "openenv", "--job", job, "--config", "config.yaml", "--run-id", job]
        done = subprocess.run(
            [sys.executable, "-m", "tenyson", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (tmp_path / "outputs" / job / "events.jsonl").read_text().splitlines()
        recorded = [one for one in map(json.loads, lines) if one["event"] == "RolloutFinished"]
        assert recorded
        assert all(one["sample_id"].startswith("Guess") for one in recorded)
        assert set(recorded[0]["components"]) == {"environment", "refused"}
    results = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())["metrics"]
    assert set(results) >= {"reward", "steps", "refused", "done"}
    found = Counter(events.read_text().split())
    assert found["open"] == found["close"] >= 20
