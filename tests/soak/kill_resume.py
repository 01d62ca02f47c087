"""Real trainings killed at seeded random steps and resumed, over and over: the same numbers, rollouts and weights to the bit.

    python tests/soak/kill_resume.py --kills 100 [--seed 0]

SFT and GRPO in turn, ten kills a training. Prints what each lost, and the total. A kill while a checkpoint is written costs the
steps since the one before, so at most two intervals; with --foreground, at most one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

TASKS = Path(__file__).parents[1] / "tasks"
TENYSON = Path(sys.executable).with_name("tenyson")
PER_TRAINING = 10
SAVE_STEPS = 5
STEPS = 60


def train(job: str, kills: int, seed: int, *, background: bool) -> dict:
    """One training with some kills; returns the verdict of `tenyson verify-resume`."""
    config = {
        "run": {"seed": seed},
        "model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 64, "layers": 4}},
        "task": {"module": str(TASKS / ("echo_task.py" if seed % 4 < 2 else "climb_task.py"))},
        "generation": {"max_new_tokens": 6, "engine": "transformers"},
        "training": {
            "max_steps": STEPS,
            "save_steps": SAVE_STEPS,
            "save_in_background": background,
            "batch_size": 16,
            "num_generations": 4,
            "logging_steps": 1,
            "learning_rate": 0.003,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [TENYSON, "verify-resume", "--config", file, "--job", job, "--json"]
        command += ["--kills", str(kills), "--seed", str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode not in (0, 1):
        raise SystemExit(f"seed {seed}: {done.stderr}")
    verdict: dict = json.loads(done.stdout)
    return verdict


def main() -> int:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--foreground", action="store_true", help="training.save_in_background: false")
    options = parser.parse_args()
    most = SAVE_STEPS if options.foreground else 2 * SAVE_STEPS
    lost: list[int] = []
    differing = numbers = rollouts = 0
    left, seed = options.kills, options.seed
    while left > 0:
        kills = min(PER_TRAINING, left)
        verdict = train(("sft", "rl")[seed % 2], kills, seed, background=not options.foreground)
        lost += [kill["after"] - kill["resumed_from"] for kill in verdict["kills"]]
        differing += not verdict["identical"]
        numbers, rollouts = numbers + verdict["numbers"], rollouts + verdict["rollouts"]
        print(
            f"seed {seed}: {len(verdict['kills'])} kills, {'identical' if verdict['identical'] else verdict['differences']}",
            flush=True,
        )
        left, seed = left - kills, seed + 1
    over = sum(one > SAVE_STEPS for one in lost)
    print(f"{len(lost)} kills, seeds {options.seed} to {seed - 1}: {differing} trainings differ; {numbers} numbers and {rollouts} "
          f"rollouts compared; at most {max(lost)} steps repeated, in {over} cases more than the interval of {SAVE_STEPS}")  # fmt: skip
    return int(differing > 0 or max(lost) > most)


if __name__ == "__main__":
    sys.exit(main())
