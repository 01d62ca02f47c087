"""One GRPO step on SmolLM2-135M on a CPU: a bare TRL script against RLJob, in turn, each in a process of its own.

16 prompts, 4 completions of at most 128 tokens each; same prompts, reward, batch, loss and learning rate, weights in float32. The
bare script keeps what TRL's documentation has by default beside that: transformers' generate, gradient checkpointing and
bfloat16 autocast, which `--fp32` switches off: it is slower on processors without bfloat16 instructions. RLJob keeps its own
defaults: the engine and the precision that it takes by itself, no gradient checkpointing. The first step of each run is not
counted; the times of the others cover generation, rewards, loss and update. `--bare-keeps-activations` switches TRL's gradient
checkpointing off.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive python benchmarks/grpo_step.py [--runs 3] [--steps 3] [--fp32] [--engine vllm]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

PROMPTS, COMPLETIONS, TOKENS, MICRO_BATCH = 16, 4, 128, 8
LEARNING_RATE = 1e-6


def prompts() -> list[list[dict[str, str]]]:
    """Questions with long answers, so that completions reach their limit."""
    return [
        [{"role": "user", "content": f"Write a long story about {number} birds who cross the sea."}]
        for number in range(PROMPTS * 8)
    ]


def reward(text: str) -> float:
    """The share of short words: any reward that differs within a group would do."""
    words = text.split()
    return sum(len(word) < 5 for word in words) / max(1, len(words))


def model_directory() -> str:
    """SmolLM2-135M-Instruct from the package registry."""
    from tenyson.config.load import parse_config
    from tenyson.jobs.models.model import resolve_model

    return str(resolve_model(parse_config({"model": {"factory": "tenyson_wordle.smollm2:build"}})).path)


def make_task() -> Any:
    """The prompts and the reward as a task."""
    from tenyson.tasks import Reward, Sample, TaskPlugin

    class Stories(TaskPlugin):
        name = "stories"

        def rl_samples(self, split: str, seed: int) -> list[Any]:  # noqa: ARG002
            return [Sample(id=str(number), prompt=prompt) for number, prompt in enumerate(prompts())]

        def rewards(self) -> list[Any]:
            return [Reward("short_words", lambda rollout: reward(rollout.text))]

    return Stories()


def tenyson_side(scratch: Path, steps: int, engine: str) -> dict[str, Any]:
    """RLJob with its default sinks."""
    from transformers import TrainerCallback

    from tenyson.jobs.rl import RLJob
    from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer

    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.monotonic())

    begun = RolloutTrainer.train

    def train(self: Any, *arguments: Any, **named: Any) -> Any:
        self.add_callback(Clock())
        return begun(self, *arguments, **named)

    RolloutTrainer.train = train
    run_id = f"rl-{os.getpid()}"
    config = {
        "run": {"id": run_id, "output_dir": str(scratch / "outputs")},
        "model": {"name": model_directory()},
        "training": {
            "max_steps": steps + 1,
            "batch_size": MICRO_BATCH,
            "gradient_accumulation_steps": PROMPTS * COMPLETIONS // MICRO_BATCH,
            "num_generations": COMPLETIONS,
            "learning_rate": LEARNING_RATE,
            "preflight_groups": 0,
        },
        "generation": {"max_new_tokens": TOKENS, "engine": engine},
        "telemetry": {"db_url": f"sqlite:///{scratch}/telemetry.db"},
    }
    result = RLJob(config, make_task()).run()
    folder = Path(result.local_output_dir or "")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    written = [event["tokens"] for event in events if event["event"] == "RolloutFinished"]
    apart = [
        event["values"]["sampling/sampling_logp_difference/mean"]
        for event in events
        if "sampling/sampling_logp_difference/mean" in event.get("values", {})
    ]
    return {"times": times, "tokens": statistics.fmean(written), "apart": max(apart, default=None)}


def bare_side(scratch: Path, steps: int, *, checkpointing: bool, bf16: bool) -> dict[str, Any]:
    """TRL alone."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    times: list[float] = []
    lengths: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.monotonic())

        def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
            if "completions/mean_length" in logs:
                lengths.append(logs["completions/mean_length"])

    def short_words(completions: list[Any], **_: Any) -> list[float]:
        return [reward(one[0]["content"]) for one in completions]

    arguments = GRPOConfig(
        output_dir=str(scratch / "bare"),
        max_steps=steps + 1,
        per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=PROMPTS * COMPLETIONS // MICRO_BATCH,
        num_generations=COMPLETIONS,
        max_completion_length=TOKENS,
        learning_rate=LEARNING_RATE,
        gradient_checkpointing=checkpointing,
        logging_steps=1,
        use_cpu=True,
        bf16=bf16,
        report_to="none",
        save_strategy="no",
    )
    trainer = GRPOTrainer(
        model_directory(),
        reward_funcs=short_words,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts()]),
        callbacks=[Clock()],
    )
    trainer.train()
    return {"times": times, "tokens": statistics.fmean(lengths), "apart": None}


def run_side(side: str, options: argparse.Namespace, scratch: str) -> dict[str, Any]:
    """One side in a fresh process."""
    command = [sys.executable, __file__, "--side", side, "--scratch", scratch]
    command += ["--steps", str(options.steps), "--engine", options.engine]
    command += ["--fp32"] if options.fp32 else []
    command += ["--bare-keeps-activations"] if options.bare_keeps_activations else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Run both sides in turn and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--engine", default="auto", help="of RLJob")
    parser.add_argument("--fp32", action="store_true", help="the bare script without its bfloat16 autocast")
    parser.add_argument("--bare-keeps-activations", action="store_true")
    parser.add_argument("--side", choices=["bare", "tenyson"], help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "tenyson":
        print(json.dumps(tenyson_side(options.scratch, options.steps, options.engine)))
        return
    if options.side == "bare":
        checkpointing = not options.bare_keeps_activations
        found = bare_side(options.scratch, options.steps, checkpointing=checkpointing, bf16=not options.fp32)
        print(json.dumps(found))
        return
    seconds: dict[str, list[float]] = {"bare": [], "tenyson": []}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(options.runs):
            for side, kept in seconds.items():
                answer = run_side(side, options, scratch)
                times = answer["times"]
                kept += [after - before for before, after in pairwise(times)]
                print(
                    f"  {side}: {answer['tokens']:.0f} tokens a completion, apart {answer['apart']}",
                    flush=True,
                )
    bare, ours = (statistics.median(seconds[side]) for side in ("bare", "tenyson"))
    print(f"GRPO step: bare TRL {bare:.1f} s, RLJob {ours:.1f} s, ratio {ours / bare:.2f}")
    for side, kept in seconds.items():
        print(f"  {side} {[round(value, 1) for value in kept]}")


if __name__ == "__main__":
    main()
