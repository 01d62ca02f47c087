"""A training that is killed and resumed is the same training, to the bit: real processes, SIGKILL, every kind of job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.train

TASKS = Path(__file__).parents[1] / "tasks"
TENYSON = Path(sys.executable).with_name("tenyson")
LORA = {"r": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}
DROPOUT = {**LORA, "lora_dropout": 0.2}

# 64 samples in batches of 8 are 8 steps an epoch; 16 completions in groups of 4 are 16 steps an epoch.
SFT = {"max_steps": 20, "batch_size": 8, "learning_rate": 0.01, "logging_steps": 1, "save_steps": 3}
RL = {"max_steps": 22, "batch_size": 16, "num_generations": 4, "learning_rate": 0.003, "save_steps": 5}
TWICE = {"steps_per_generation": 2, "num_iterations": 2}

CASES = {
    "sft, all weights, in the middle of an epoch": ("sft", {}, SFT | {"kill": 6}),
    "sft, LoRA with dropout, at the boundary of an epoch": ("sft", {"peft": DROPOUT}, SFT | {"save_steps": 8, "kill": 12}),
    "sft, LoRA, in the second epoch, gradients accumulated, numbers logged every 4 steps": (
        "sft",
        {"peft": LORA},
        SFT | {"kill": 13, "logging_steps": 4, "batch_size": 4, "gradient_accumulation_steps": 2},
    ),
    "sft, packed": ("sft", {}, SFT | {"packing": True, "max_length": 64, "batch_size": 1, "kill": 7}),
    "sft, stopped early, in the middle of its patience": (
        "sft",
        {},
        SFT | {"max_steps": 120, "learning_rate": 0.03, "save_steps": None, "eval_steps": 2, "eval_samples": 16,
               "early_stopping_patience": 4, "kill": 54},
    ),
    "grpo, all weights, in the second epoch, with evaluation": (
        "rl",
        {},
        RL | {"kill": 20, "eval_steps": 10, "eval_samples": 8},
    ),
    "grpo, LoRA, in the middle of a generated batch that is used twice": (
        "rl",
        {"peft": LORA, "trl": TWICE},
        RL | {"kill": 7},
    ),
    "grpo, two processes under torchrun, in the middle of a generated batch": (
        "rl",
        {"trl": TWICE},
        RL | {"kill": 18, "batch_size": 8, "processes": 2},
    ),
    "grpo, a task with a curriculum": (
        "rl",
        {"task": "curriculum_task.py"},
        RL | {"kill": 13},
    ),
    "grpo, a multi-turn environment, at the boundary of an epoch": (
        "rl",
        {"task": "climb_task.py"},
        RL | {"kill": 19, "save_steps": 8},
    ),
}  # fmt: skip


@pytest.fixture
def verify(tmp_path):
    """Runs `tenyson verify-resume` and reads its verdict."""

    def run(job, training, *, task="echo_task.py", **sections):
        kill, processes = training.pop("kill"), training.pop("processes", 1)
        config = {
            "model": {"factory": "tenyson.testing.tiny:build"},
            "task": {"module": str(TASKS / task)},
            "generation": {"max_new_tokens": 6, "engine": "transformers"},
            "training": training,
            **sections,
        }
        file = tmp_path / f"{job}.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [
            TENYSON,
            "verify-resume",
            "--config",
            file,
            "--job",
            job,
            "--kill-after",
            str(kill),
            "--processes",
            str(processes),
            "--json",
        ]
        done = subprocess.run(
            [*command, "--keep", tmp_path / "runs"], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("case", CASES)
def test_a_killed_and_resumed_training_is_the_same_to_the_bit(verify, case):
    job, sections, training = CASES[case]
    sections = dict(sections)
    verdict = verify(job, dict(training), task=sections.pop("task", "echo_task.py"), **sections)
    assert verdict["differences"] == []
    assert verdict["identical"]
    assert verdict["numbers"] > verdict["steps"]
    assert 0 < verdict["kills"][0]["resumed_from"] < verdict["steps"]
    assert bool(verdict["rollouts"]) == (job == "rl")


def test_an_sft_adapter_is_resumed_in_rl_with_its_kl_reference(verify, configure, echo, tmp_path):
    """Bare transformers loads the reference only, and leaves the adapter in training as SFT left it."""
    from tenyson.jobs.sft import SFTJob

    SFTJob(configure("sft", peft=LORA, training=SFT | {"save_steps": None}), echo).run()
    model = {"factory": "tenyson.testing.tiny:build", "adapter": "sft"}
    run = {"output_dir": str(tmp_path / "outputs")}
    verdict = verify("rl", RL | {"beta": 0.1, "kill": 10}, model=model, run=run)
    assert verdict["identical"], verdict["differences"]
