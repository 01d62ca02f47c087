"""What a Tenyson job costs over a bare TRL script: same data, model and seed, all sinks on.

Each side runs in a process of its own, in turn (bare, tenyson, bare, ...), and reports the seconds of its training
loop; the ratio of the medians is printed, and whether the losses agree to the bit. Run it on a quiet machine:

    OMP_NUM_THREADS=2 python benchmarks/overhead.py [--job sft|rl] [--runs 5] [--small]

`--small` takes a model of 3 M parameters and four times the steps: too small to be useful, it shows the cost of a step itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "tasks"))

STEPS = {"sft": 24, "rl": 12}
MODEL = {"width": 512, "layers": 6}
SMALL = {"width": 256, "layers": 4}
TASK = {"samples": 512}


def model_directory(scratch: Path, size: dict[str, int]) -> Path:
    """A model of 25 M parameters: smaller than any that is worth a run, so its steps are short and overhead shows."""
    from tenyson.testing.tiny import build

    directory = scratch / "model"
    if not directory.exists():
        directory.mkdir()
        build(directory, 0, **size)
    return directory


def tenyson_side(job_type: str, scratch: Path, steps: int) -> dict[str, Any]:
    """Train with SFTJob or RLJob: console, JSONL, SQL and W&B (offline) sinks on."""
    from echo_task import EchoTask

    from tenyson.runner import job_class

    run_id = f"{job_type}-{os.getpid()}"
    training: dict[str, Any] = {"max_steps": steps, "learning_rate": 0.001, "batch_size": 64}
    if job_type == "rl":
        training |= {"num_generations": 8}
    config = {
        "run": {"id": run_id, "output_dir": str(scratch / "outputs")},
        "model": {"name": str(scratch / "model")},
        "training": training,
        "generation": {"max_new_tokens": 8, "engine": "transformers"},
        "telemetry": {"db_url": f"sqlite:///{scratch}/telemetry.db"},
        "wandb": {"project": "overhead", "mode": "offline"},
    }
    result = job_class(job_type)(config, EchoTask(**TASK)).run()
    events = map(json.loads, (scratch / "outputs" / run_id / "events.jsonl").read_text().splitlines())
    losses = [event["values"]["loss"] for event in events if "loss" in event.get("values", {})]
    return {"seconds": result.metrics["train_runtime"], "losses": losses}


def bare_side(job_type: str, scratch: Path, steps: int) -> dict[str, Any]:
    """Train with TRL alone, as its documentation shows."""
    from datasets import Dataset
    from echo_task import EchoTask
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

    task = EchoTask(**TASK)
    model = str(scratch / "model")
    common = {
        "output_dir": str(scratch / "bare"),
        "seed": 0,
        "data_seed": 0,
        "max_steps": steps,
        "per_device_train_batch_size": 64,
        "learning_rate": 0.001,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
    }
    tokenizer = AutoTokenizer.from_pretrained(model)
    trainer: Any
    if job_type == "sft":
        rows = [
            {"prompt": list(sample.prompt), "completion": list(sample.completion)}
            for sample in task.sft_samples("train", 0)
        ]
        trainer = SFTTrainer(
            model, args=SFTConfig(**common), train_dataset=Dataset.from_list(rows), processing_class=tokenizer
        )
    else:

        def right(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
            return [
                float(reply[0]["content"] == want) for reply, want in zip(completions, answer, strict=True)
            ]

        def letters(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
            return [
                reply[0]["content"].count(want[0]) / 8
                for reply, want in zip(completions, answer, strict=True)
            ]

        rows = [{"prompt": list(s.prompt), "answer": s.data["answer"]} for s in task.rl_samples("train", 0)]
        settings = {"num_generations": 8, "max_completion_length": 8, "reward_weights": [1.0, 0.5]}
        trainer = GRPOTrainer(
            model,
            reward_funcs=[right, letters],
            args=GRPOConfig(**common, **settings),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
    output = trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"seconds": output.metrics["train_runtime"], "losses": losses}


def run_side(side: str, job_type: str, scratch: Path, steps: int) -> dict[str, Any]:
    """One side in a fresh process."""
    command = [sys.executable, __file__, "--job", job_type, "--side", side, "--scratch", str(scratch)]
    command += ["--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} {job_type} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compare(job_type: str, runs: int, scratch: Path, size: dict[str, int], steps: int) -> None:
    """Run both sides in turn and print the medians."""
    model_directory(scratch, size)
    seconds: dict[str, list[float]] = {"bare": [], "tenyson": []}
    losses: dict[str, list[float]] = {}
    for number in range(runs + 1):
        for side in seconds:
            answer = run_side(side, job_type, scratch, steps)
            losses[side] = answer["losses"]
            if number:  # the first pair warms the disk cache and is not counted
                seconds[side].append(answer["seconds"])
    bare, ours = (statistics.median(seconds[side]) for side in ("bare", "tenyson"))
    print(
        f"{job_type}: bare {bare / steps * 1e3:.1f} ms a step, tenyson {ours / steps * 1e3:.1f} ms a step, "
        f"overhead {(ours / bare - 1) * 100:+.1f}% (medians of {runs} interleaved runs of {steps} steps), "
        f"losses {'identical to the bit' if losses['bare'] == losses['tenyson'] else 'DIFFERENT'}"
    )
    print(f"  bare    {[round(value, 2) for value in seconds['bare']]}")
    print(f"  tenyson {[round(value, 2) for value in seconds['tenyson']]}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", choices=["sft", "rl"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="3 M parameters, four times the steps")
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=["bare", "tenyson"], help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side = bare_side if options.side == "bare" else tenyson_side
        print(json.dumps(side(options.job, options.scratch, options.steps)))
        return
    size, times = (SMALL, 4) if options.small else (MODEL, 1)
    with tempfile.TemporaryDirectory() as scratch:
        for job_type in [options.job] if options.job else ["sft", "rl"]:
            compare(job_type, options.runs, Path(scratch), size, times * STEPS[job_type])


if __name__ == "__main__":
    main()
