"""What each process of a pipeline imports: seconds a step, which small experiments notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TASKS = Path(__file__).parents[1] / "tasks"
WATCHED = ("torch", "transformers", "trl", "peft", "datasets", "vllm", "wandb", "boto3")
TELL = """
import atexit, json, os, pathlib, sys
atexit.register(lambda: print("IMPORTED", json.dumps([name for name in {watched!r} if name in sys.modules]), flush=True))
"""


def imported_by(code: str, *arguments: str, cwd: Path) -> list[str]:
    """Which of the heavy libraries a process has imported by its end."""
    told = subprocess.run(
        [sys.executable, "-c", TELL.format(watched=WATCHED) + code, *arguments],
        cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    line = next(line for line in told.stdout.splitlines() if line.startswith("IMPORTED "))
    return json.loads(line.removeprefix("IMPORTED "))


def run_job(job: str, config: dict, cwd: Path) -> list[str]:
    path = cwd / f"{job}.yaml"
    path.write_text(yaml.safe_dump(config))
    task = str(TASKS / "echo_task.py")
    flags = ["--job-type", job, "--config", str(path), "--task-module", task]
    return imported_by("from tenyson.runner import main; sys.exit(main())", *flags, cwd=cwd)


@pytest.mark.train
def test_an_evaluation_imports_no_training_library(configure, tmp_path):
    """It needs a model and an engine; trl, peft and datasets cost it seconds."""
    got = run_job("eval", configure("ev", evaluation={"samples": 4}), tmp_path)
    assert not {"trl", "peft", "datasets", "vllm", "wandb"} & set(got)


@pytest.mark.train
def test_sft_imports_wandb_only_for_its_sink(configure, tmp_path):
    """TRL imports it wherever it is installed, for reports that a job switches off."""
    got = run_job("sft", configure("sft", training={"max_steps": 1, "batch_size": 4}), tmp_path)
    assert "trl" in got
    assert "wandb" not in got


@pytest.mark.train
def test_rl_imports_vllm_only_where_it_generates_with_it(configure, tmp_path):
    """TRL imports vLLM wherever it is installed."""
    training = {"max_steps": 1, "batch_size": 4, "num_generations": 4, "preflight_groups": 0}
    got = run_job("rl", configure("rl", training=training), tmp_path)
    assert "trl" in got
    assert not {"vllm", "wandb"} & set(got)


@pytest.mark.train
def test_a_process_that_imported_trl_without_vllm_can_use_it_with_vllm_later(tmp_path):
    """Two RL jobs in one process may use two engines."""
    pytest.importorskip("vllm")
    code = """
from tenyson.jobs.trainers.trl_import import import_grpo
import_grpo(vllm=False)
assert "vllm" not in sys.modules
import_grpo(vllm=True)
from trl.trainer.grpo_trainer import VLLMGeneration
seen = VLLMGeneration.__init__.__globals__
assert seen["LLM"].__module__.startswith("vllm"), seen["LLM"]
assert seen["is_vllm_available"]()
"""
    assert "vllm" in imported_by(code, cwd=tmp_path)


@pytest.mark.slow
def test_the_controller_of_a_pipeline_imports_no_training_library(tmp_path):
    """It waits for its jobs, and may do so on a laptop; TRL's arguments are checked by the steps."""
    runner = [sys.executable, str(Path(__file__).parents[1] / "cloud" / "stand_in_runner.py")]
    trl = {"adam_beta2": 0.95}
    steps = [{"label": f"step{number}", "job": "sft", "config": {"trl": trl}} for number in range(5)]
    experiment = {
        "name": "five",
        "shared": {
            "model": {"factory": "tenyson.testing.tiny:build"},
            "task": {"module": str(TASKS / "echo_task.py")},
            "backend": {"name": "local", "settings": {"runner": runner}},
        },
        "steps": steps,
    }
    (tmp_path / "exp.yaml").write_text(yaml.safe_dump(experiment))
    code = "from tenyson.cli.main import main; sys.argv = ['tenyson', 'run', 'exp.yaml']; sys.exit(main())"
    assert imported_by(code, cwd=tmp_path) == []
