"""Does GRPO raise the rewards of reasoning-gym? Runs docs/examples/reasoning_gym.yaml with several seeds, one row for each data set.

A character-level model, built on the spot, learns three data sets at once: a short SFT, GRPO, and an evaluation of each
on questions that neither has seen. The bar, for each seed: accuracy on spell_backward is higher after GRPO than before
it, the difference paired by question with a 95% interval above 0. Exit status 1 if a seed fails.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive python benchmarks/reasoning_gym.py [--seeds 0 1 2] [--output-dir outputs]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tenyson.reporting.statistics import paired_difference, sample_means

EXPERIMENT = Path(__file__).parents[1] / "docs" / "examples" / "reasoning_gym.yaml"
DATA_SETS = ("spell_backward", "chain_sum", "gcd")
RISES = "spell_backward"
STAGES = ("baseline", "eval-sft", "eval")


def run(seed: int, output_dir: str) -> tuple[dict[str, Path], dict[str, float]]:
    """Run the experiment; returns the folders and the seconds of its steps."""
    run_id = f"gym-seed-{seed}-{int(time.time())}"
    command = [sys.executable, "-m", "tenyson", "run", str(EXPERIMENT), "--run-id", run_id]
    done = subprocess.run(
        [*command, "--set", f"run.seed={seed}", "--output-dir", output_dir, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"seed {seed}: tenyson run ended with status {done.returncode}")
    results = {step["label"]: step["result"] for step in json.loads(done.stdout)["steps"]}
    return (
        {label: Path(result["local_output_dir"]) for label, result in results.items()},
        {label: result["total_time_seconds"] for label, result in results.items()},
    )


def accuracy(folder: Path, data_set: str) -> dict[str, float]:
    """Mean score by question."""
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    rollouts = [event for event in events if event["event"] == "RolloutFinished"]
    return sample_means(
        (one["sample_id"], float(one["components"]["accuracy"]))
        for one in rollouts
        if one["sample_id"].startswith(f"{data_set}/")
    )


def measure(seed: int, output_dir: str) -> bool:
    """Print the rows of a seed; whether it passed."""
    folders, seconds = run(seed, output_dir)
    metrics: dict[str, dict[str, Any]] = {
        stage: json.loads((folders[stage] / "results.json").read_text())["metrics"] for stage in STAGES
    }
    passed = False
    for data_set in DATA_SETS:
        shown = [f"{metrics[stage][f'accuracy/{data_set}']['value']:.1%}" for stage in STAGES]
        before, after = (accuracy(folders[stage], data_set) for stage in STAGES[1:])
        gain = paired_difference(before, after)
        interval = f"{gain.value * 100:+.1f} [{gain.low * 100:+.1f}, {gain.high * 100:+.1f}]"
        print("|", " | ".join([str(seed), data_set, str(len(after)), *shown, interval]), "|", flush=True)
        if data_set == RISES:
            passed = gain.low > 0
    print(
        f"seed {seed}: SFT {seconds['sft']:.0f} s, GRPO {seconds['rl']:.0f} s, all {sum(seconds.values()):.0f} s",
        flush=True,
    )
    return passed


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output-dir", default="outputs")
    arguments = parser.parse_args()
    print("| seed | data set | questions | untrained | after SFT | after GRPO | GRPO's gain |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    failed = [seed for seed in arguments.seeds if not measure(seed, arguments.output_dir)]
    if failed:
        sys.exit(f"{RISES} did not rise with seed {', '.join(map(str, failed))}")


if __name__ == "__main__":
    main()
