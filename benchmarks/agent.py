"""Does GRPO make an agent better that knows nothing of Tenyson? A process for each rollout, 40 lines with the openai package.

A character-level model, built on the spot, learns by SFT to ask a tool in about half of its rollouts. GRPO then trains the agent
of tests/tasks/secret_agent.py as it is, with two tools. The bar, for each seed: the share of rollouts that ask the tool once is
higher after GRPO than before it, the difference paired by sample with a 95% interval above 0. Exit status 1 if a seed fails.

    OMP_NUM_THREADS=1 python benchmarks/agent.py [--seeds 0 1 2] [--output-dir outputs]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from tenyson.jobs import EvalJob, RLJob, SFTJob
from tenyson.reporting.statistics import paired_difference, sample_means
from tenyson.tasks.load import load_task

TASK = str(Path(__file__).parents[1] / "tests" / "tasks" / "agent_task.py")
GENERATION = {"max_new_tokens": 72, "max_turns": 4, "engine": "transformers"}


def config(run_id: str, seed: int, output_dir: str, **sections: Any) -> dict[str, Any]:
    """A job's configuration."""
    run = {"id": run_id, "seed": seed, "output_dir": output_dir}
    return {"run": run, "generation": GENERATION, "telemetry": {"sinks": ["jsonl"]}, **sections}


def asked(run_id: str, output_dir: str) -> dict[str, float]:
    """Share of rollouts that ask once, by sample."""
    lines = (Path(output_dir) / run_id / "events.jsonl").read_text().splitlines()
    rollouts = [one for one in map(json.loads, lines) if one["event"] == "RolloutFinished"]
    return sample_means((one["sample_id"], float(one["components"]["looked"])) for one in rollouts)


def measure(seed: int, output_dir: str, steps: int) -> bool:
    """Print the row of a seed; whether it passed."""
    name, begun = f"agent-{seed}-{int(time.time())}", time.monotonic()
    task = load_task(TASK, {"command": True})
    base = {"factory": "tenyson.testing.tiny:build"}
    sft = {"max_steps": 200, "batch_size": 16, "learning_rate": 0.01}
    SFTJob(config(f"{name}-sft", seed, output_dir, model=base, training=sft), load_task(TASK, {})).run()
    model = {"name": f"{name}-sft"}
    evaluation = {"samples": 32, "samples_per_prompt": 2}
    EvalJob(config(f"{name}-before", seed, output_dir, model=model, evaluation=evaluation), task).run()
    rl = {"max_steps": steps, "batch_size": 16, "num_generations": 8, "learning_rate": 0.0006}
    trained = time.monotonic()
    RLJob(config(f"{name}-rl", seed, output_dir, model=model, training=rl), task).run()
    trained = time.monotonic() - trained
    model = {"name": f"{name}-rl"}
    EvalJob(config(f"{name}-after", seed, output_dir, model=model, evaluation=evaluation), task).run()
    before, after = (asked(f"{name}-{stage}", output_dir) for stage in ("before", "after"))
    gain = paired_difference(before, after)
    shown = [f"{sum(one.values()) / len(one):.0%}" for one in (before, after)]
    interval = f"{gain.value * 100:+.0f} [{gain.low * 100:+.0f}, {gain.high * 100:+.0f}]"
    seconds = [f"{trained:.0f} s", f"{time.monotonic() - begun:.0f} s"]
    print("|", " | ".join([str(seed), str(steps * 16), *shown, interval, *seconds]), "|", flush=True)
    return gain.low > 0


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--output-dir", default="outputs")
    arguments = parser.parse_args()
    print("| seed | processes trained on | before | after | gain | GRPO | all |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    failed = [seed for seed in arguments.seeds if not measure(seed, arguments.output_dir, arguments.steps)]
    if failed:
        sys.exit(f"the agent did not get better with seed {', '.join(map(str, failed))}")


if __name__ == "__main__":
    main()
