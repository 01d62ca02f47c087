"""One GRPO step of the tiny Wordle preset, several turns a game: this tree against an earlier commit, in turn, on one policy.

The policy is the preset's after some steps of SFT, trained once. Each side runs the preset's RL step from there in a process of
its own, from its own source tree with this environment's libraries. The first step is not counted. The earlier tree's `make demo`
ran on one thread and this one's runs on all, which spin while they wait, so that is what each side gets; the earlier one on all
threads runs beside it.

    python benchmarks/rollout_step.py [--before 02542df] [--runs 3] [--steps 6] [--sft-steps 350]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PRESET = ROOT / "tenyson-wordle" / "src" / "tenyson_wordle" / "presets" / "tiny.yaml"
PACKAGES = ("tenyson-core", "tenyson-wordle")
CLOCK = """
import runpy, sys, time
from transformers.trainer_callback import CallbackHandler
ended = CallbackHandler.on_step_end
def noted(self, *arguments, **named):
    print("clock", time.monotonic(), flush=True)
    return ended(self, *arguments, **named)
CallbackHandler.on_step_end = noted
sys.argv = ["runner", *sys.argv[1:]]
runpy.run_module("tenyson.runner", run_name="__main__")
"""


def configuration(label: str, run_id: str, folder: Path, **settings: Any) -> dict[str, Any]:
    """The preset's step as one configuration; `settings` change its section `training`."""
    preset = yaml.safe_load(PRESET.read_text())
    shared, own = preset["shared"], next(one for one in preset["steps"] if one["label"] == label)["config"]
    merged = {key: {**shared.get(key, {}), **own.get(key, {})} for key in {*shared, *own}}
    merged["training"] |= settings
    return merged | {
        "run": {"id": run_id, "output_dir": str(folder / "outputs")},
        "telemetry": {"db_url": f"sqlite:///{folder}/{run_id}.db"},
    }


def run(job: str, config: dict[str, Any], folder: Path, tree: Path, threads: int) -> list[float]:
    """One job from a source tree; the moments at which its steps ended, in seconds."""
    file = folder / f"{config['run']['id']}.yaml"
    file.write_text(yaml.safe_dump(config))
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(tree / package / "src") for package in PACKAGES),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "active",
        "TENYSON_CACHE": str(folder / "cache"),
    }
    task = "tenyson_wordle.task:WordleTask"
    command = [sys.executable, "-c", CLOCK, "--job-type", job, "--config", str(file), "--task-module", task]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{config['run']['id']} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("clock ")]


def tokens_of(folder: Path, run_id: str) -> float:
    """Tokens that the model wrote in a game, on average."""
    lines = (folder / "outputs" / run_id / "events.jsonl").read_text().splitlines()
    return statistics.fmean(
        event["tokens"] for event in map(json.loads, lines) if event["event"] == "RolloutFinished"
    )


def main() -> None:
    """Train the policy, run the sides in turn and print the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default="02542df", help="commit to compare with")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--sft-steps", type=int, default=350)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        earlier = folder / "earlier"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run(
            [*git, "add", "-q", "--detach", str(earlier), options.before], check=True, stdout=sys.stderr
        )
        try:
            sides = {
                "before, 1 thread": (earlier, 1),
                f"before, {cores} threads": (earlier, cores),
                f"now, {cores} threads": (ROOT, cores),
            }
            steps = {"max_steps": options.sft_steps, "eval_steps": None, "target_eval_loss": None}
            run("sft", configuration("sft", "policy", folder, **steps), folder, ROOT, cores)
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            tokens: dict[str, list[float]] = {side: [] for side in sides}
            for number in range(options.runs):
                for at, (side, (tree, threads)) in enumerate(sides.items()):
                    config = configuration("rl", f"rl-{number}-{at}", folder, max_steps=options.steps + 1)
                    config["model"] = {
                        "name": str(folder / "outputs" / "policy" / "model"),
                        "dtype": "float32",
                    }
                    ends = run("rl", config, folder, tree, threads)
                    # The last call is that of the end of the training.
                    seconds[side] += [after - before for before, after in pairwise(ends)]
                    tokens[side].append(tokens_of(folder, config["run"]["id"]))
        finally:
            subprocess.run([*git, "remove", "--force", str(earlier)], check=False)
    medians = {side: statistics.median(kept) for side, kept in seconds.items()}
    first = next(iter(medians.values()))
    for side, median in medians.items():
        print(
            f"{side}: {median:.2f} s a step, {median / first:.2f} of the first; {statistics.fmean(tokens[side]):.1f} tokens a game; "
            f"{[round(value, 2) for value in seconds[side]]}"
        )


if __name__ == "__main__":
    main()
