"""Resume in every kind of training, one property at a time: killed once and resumed, it is the same training to the bit.

    python tests/soak/resume_matrix.py [--only TEXT]

Real processes, SIGKILL, `tenyson verify-resume`. tests/jobs/test_exact_resume.py trains the same properties, several in one
training; where one of those fails, the case here that fails too names the property.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

TASKS = Path(__file__).parents[1] / "tasks"
TENYSON = Path(sys.executable).with_name("tenyson")
TINY = "tenyson.testing.tiny:build"
LORA = {"r": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}
DROPOUT = {**LORA, "lora_dropout": 0.2}

# 64 samples in batches of 8 are 8 steps an epoch; 16 completions in groups of 4 are 16 steps an epoch.
SFT = {"max_steps": 20, "batch_size": 8, "learning_rate": 0.01, "logging_steps": 1, "save_steps": 3}
RL = {"max_steps": 22, "batch_size": 16, "num_generations": 4, "learning_rate": 0.003, "save_steps": 5}
# Each generated batch is used for 4 steps, so that an epoch has 32.
TWICE = {"steps_per_generation": 2, "num_iterations": 2}
ACCUMULATED = {"logging_steps": 4, "batch_size": 4, "gradient_accumulation_steps": 2}
PACKED = {"packing": True, "max_length": 64, "batch_size": 1}
PATIENT = {"max_steps": 120, "learning_rate": 0.03, "save_steps": None, "eval_steps": 2, "eval_samples": 16,
           "early_stopping_patience": 4, "kill": 54}  # fmt: skip
# Its kernels take heads of 32 and more.
VLLM = {"task": "climb_task.py", "engine": "vllm", "factory_args": {"width": 64, "head": 32}}

CASES = {
    "sft, all weights, in the middle of an epoch": ("sft", {}, SFT | {"kill": 6}),
    "sft, LoRA with dropout, at the boundary of an epoch": (
        "sft",
        {"peft": DROPOUT},
        SFT | {"save_steps": 8, "kill": 12},
    ),
    "sft, LoRA, in the second epoch, gradients accumulated, numbers logged every 4 steps": (
        "sft",
        {"peft": LORA},
        SFT | ACCUMULATED | {"kill": 13},
    ),
    "sft, packed": ("sft", {}, SFT | PACKED | {"kill": 7}),
    "sft, stopped early, in the middle of its patience": ("sft", {}, SFT | PATIENT),
    "grpo, all weights, in the second epoch, with evaluation": (
        "rl",
        {},
        RL | {"max_steps": 28, "kill": 26, "eval_steps": 10, "eval_samples": 8},
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
    "grpo, a task with a curriculum": ("rl", {"task": "curriculum_task.py"}, RL | {"kill": 13}),
    "grpo, a multi-turn environment, at the boundary of an epoch": (
        "rl",
        {"task": "climb_task.py"},
        RL | {"kill": 19, "save_steps": 8},
    ),
    "grpo, from an adapter of SFT, which is the KL reference": (
        "rl",
        {"adapter": True},
        RL | {"beta": 0.1, "kill": 10},
    ),
    "grpo, all weights, rollouts of several turns by vLLM on a CPU": ("rl", VLLM, RL | {"kill": 13}),
    "grpo, LoRA, rollouts of several turns by vLLM on a CPU": ("rl", VLLM | {"peft": LORA}, RL | {"kill": 8}),
}


def train_adapter(folder: Path) -> Path:
    """An adapter of SFT on the tiny model."""
    from tenyson.jobs.sft import SFTJob
    from tenyson.tasks.load import load_task

    config = {
        "run": {"id": "sft", "output_dir": str(folder / "outputs")},
        "model": {"factory": TINY},
        "telemetry": {"sinks": ["jsonl"]},
        "peft": LORA,
        "training": SFT | {"save_steps": None},
    }
    return Path(SFTJob(config, load_task(str(TASKS / "echo_task.py"), {})).run().local_output_dir) / "adapter"


def verify(folder: Path, case: tuple[str, dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """The verdict of `tenyson verify-resume`.

    A case is the kind of job, sections of its configuration (with `task`, a file; `adapter`, whether it continues one of SFT;
    `engine`; `factory_args`, `load_args` and `new_tokens` of the model), and its training (with `kill`, a step, and `processes`).
    """
    job, sections, training = case[0], dict(case[1]), dict(case[2])
    kill, processes = training.pop("kill"), training.pop("processes", 1)
    model = {"factory": TINY, "factory_args": sections.pop("factory_args", {})}
    model |= {key: sections.pop(key) for key in ("load_args", "new_tokens") if key in sections}
    if sections.pop("adapter", False):
        model["adapter"] = str(train_adapter(folder))
    config = {
        "model": model,
        "task": {"module": str(TASKS / sections.pop("task", "echo_task.py"))},
        "generation": {"max_new_tokens": 6, "engine": sections.pop("engine", "transformers")},
        "training": training,
        **sections,
    }
    file = folder / f"{job}.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [TENYSON, "verify-resume", "--config", file, "--job", job, "--kill-after", str(kill)]
    command += ["--processes", str(processes), "--json", "--keep", folder / "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def main() -> int:
    """Verify each case and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds this")
    options = parser.parse_args()
    differing = 0
    chosen = {name: case for name, case in CASES.items() if options.only in name}
    for name, case in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            verdict = verify(Path(folder), case)
        differing += not verdict["identical"]
        [kill] = verdict["kills"]
        print(
            f"{name}: killed after step {kill['after']} of {verdict['steps']}, resumed from {kill['resumed_from']}: "
            + ("identical" if verdict["identical"] else "; ".join(verdict["differences"])),
            flush=True,
        )
    print(f"{len(chosen)} cases, {differing} differ")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
