"""Jobs on an environment of the real verifiers: RL and evaluation of no line of Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture(autouse=True)
def one_cache(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    monkeypatch.setenv("TENYSON_CACHE", str(shared_cache))


def test_rl_and_evaluation_run_from_the_command_line_alone(tmp_path: Path, verifiers_python: Path) -> None:
    """A name, an environment and a configuration of model and training; every component is recorded."""
    config = {
        "model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 32}},
        "generation": {"engine": "transformers", "max_new_tokens": 4},
        "training": {"max_steps": 2, "batch_size": 4, "num_generations": 2},
        "evaluation": {"samples": 2},
        "run": {"allow": ["eos"]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for job in ("rl", "eval"):
        command = ["run", "--task", "verifiers", "--job", job, "--config", "config.yaml", "--run-id", job]
        command += ["--set", "task.args.env=count_tasks", "--set", f"task.args.python={verifiers_python}"]
        command += ["--set", "task.args.eval_size=3", "--set", "task.args.env_args.number=7"]
        command += ["--set", "task.args.eval_args={number: 3}", "--set", "task.args.train_size=3"]
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
        assert all(one["sample_id"].startswith("count_tasks/") for one in recorded)
        assert set(recorded[0]["components"]) == {"said", "keyed", "other", "length"}
        assert recorded[0]["components"]["length"] >= 0
    results = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())["metrics"]
    assert set(results) >= {"reward", "truncated", "said", "length"}
