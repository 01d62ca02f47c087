"""Four made-up runs on small sums, recorded as real ones are: the database that docs/how-to/sql.md asks its questions of.

python docs/examples/arithmetic_runs.py sqlite:///./arithmetic.db
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tenyson.config.schema import Config
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import (
    AttemptBegan,
    EpochEnded,
    Event,
    MetricsLogged,
    Phase,
    RolloutFinished,
    RunFinished,
    RunStarted,
)

BEGAN = 1_793_000_000.0
PROMPTS, GROUP = 6, 4


def question(number: int) -> tuple[str, str, str]:
    """The sample with this number: id, prompt and answer. Later ones are harder."""
    a, b = 3 + 7 * number, 5 + 11 * number % 97
    return f"sum/{number}", f"<user>What is {a} + {b}?<model>", str(a + b)


def rollout(draw: random.Random, skill: float, step: int, number: int) -> dict[str, Any]:
    """One reply: right more often with skill, shorter with skill; a few talk and talk."""
    sample, prompt, answer = question(number)
    right = draw.random() < max(0.05, min(0.95, skill - 0.06 * (number % 10)))
    tagged = draw.random() < 0.3 + 0.7 * skill
    said = answer if right else str(int(answer) + draw.choice([-10, -1, 1, 10]))
    rambles = draw.random() < 0.12 * (1.2 - skill)
    text = ("Let me see. " * (9 if rambles else 1)) + (f"<answer>{said}</answer>" if tagged else said)
    components = {"right": float(right), "format": float(tagged)}
    return {
        "sample_id": sample,
        "prompt": prompt,
        "completion": text if rambles else text + "<eos>",
        "step": step,
        "reward": components["right"] + 0.25 * components["format"],
        "components": components,
        "finish_reason": "length" if rambles else "stop",
        "tokens": len(text) // 3,
    }


def train(run_id: str, draw: random.Random, first: int, last: int) -> Iterator[list[Event]]:
    """Steps of GRPO: rollouts of the policy, then the numbers of the step."""
    for step in range(first, last):
        skill = 0.25 + 0.65 * step / 40
        batch: list[Event] = []
        rewards = []
        for number in draw.sample(range(60), PROMPTS):
            group = [rollout(draw, skill, step, number) for _ in range(GROUP)]
            rewards += [one["reward"] for one in group]
            mean = sum(one["reward"] for one in group) / GROUP
            equal = all(one["reward"] == mean for one in group)
            for one in group:
                batch.append(
                    RolloutFinished(
                        run_id=run_id,
                        time=BEGAN + 30 * step,
                        phase="rl",
                        training=True,
                        group=f"{step}/{one['sample_id']}",
                        advantage=round(one["reward"] - mean, 4),
                        trained=not equal,
                        dropped="all rewards of its group are equal" if equal else None,
                        **one,
                    )
                )
        yield batch
        reward = sum(rewards) / len(rewards)
        values = {
            "loss": 0.0,
            "reward": round(reward, 4),
            "kl": round(0.002 * step, 4),
            "learning_rate": 1e-5,
        }
        yield [
            MetricsLogged(
                run_id=run_id,
                time=BEGAN + 30 * step + 20,
                phase="rl",
                step=step + 1,
                epoch=(step + 1) / 10,
                values=values,
            )
        ]


def evaluate(run_id: str, draw: random.Random, skill: float) -> Iterator[list[Event]]:
    """Every sample twice."""
    yield [
        RolloutFinished(
            run_id=run_id,
            time=BEGAN,
            phase="eval",
            training=False,
            group=question(number)[0],
            **rollout(draw, skill, 0, number),
        )
        for number in range(60)
        for _ in range(2)
    ]


def record(
    db_url: str,
    run_id: str,
    job_type: Phase,
    batches: Iterable[list[Event]],
    *,
    attempt: int,
    began: int = 0,
    finished: bool = True,
    inputs: Sequence[dict[str, str | None]] = (),
) -> None:
    """One attempt of a run, through the SQL sink."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            model={"name": "tiny"}, run={"id": run_id}, telemetry={"db_url": db_url, "sinks": ["sql"]}
        )
        telemetry = open_telemetry(
            config, Path(folder) / run_id, attempt_uid=f"{run_id}-{attempt}".ljust(32, "0")
        )
        time = BEGAN + 1000 * attempt
        about = {
            "git_commit": "5f0c3a9d" * 5,
            "host": "gpu-1",
            "accelerator": "cpu",
            "versions": {"trl": "1.16.0"},
        }
        telemetry.emit(
            RunStarted(
                run_id=run_id,
                time=time,
                job_type=job_type,
                task="sums",
                output_dir=f"outputs/{run_id}",
                config={"model": {"name": "tiny"}, "training": {"learning_rate": 1e-5}},
                total_steps=40,
                provenance=about,
                inputs=inputs,
            ),
            AttemptBegan(run_id=run_id, time=time, step=began),
        )
        for batch in batches:
            telemetry.emit(*batch)
        if finished:
            result = {"run_id": run_id, "status": "success", "metrics": {}, "total_time_seconds": 600.0}
            telemetry.emit(RunFinished(run_id=run_id, time=time + 600, status="success", result=result))
        telemetry.close()


def main(db_url: str) -> None:
    """SFT, evaluation, RL (killed at step 24, resumed at 20), evaluation."""
    draw = random.Random(7)
    sft: list[list[Event]] = [
        [
            MetricsLogged(
                run_id="sums-sft", time=BEGAN, phase="sft", step=step, values={"loss": round(2 / step, 4)}
            )
        ]
        for step in range(1, 21)
    ]
    made_from_sft: list[dict[str, str | None]] = [
        {"kind": "adapter", "reference": "sums-sft", "source_run_id": "sums-sft"}
    ]
    made_from_rl: list[dict[str, str | None]] = [
        {"kind": "adapter", "reference": "sums-rl", "source_run_id": "sums-rl"}
    ]
    record(db_url, "sums-sft", "sft", sft, attempt=1)
    record(
        db_url, "eval-before", "eval", evaluate("eval-before", draw, 0.25), attempt=1, inputs=made_from_sft
    )
    record(
        db_url,
        "sums-rl",
        "rl",
        train("sums-rl", draw, 0, 24),
        attempt=1,
        finished=False,
        inputs=made_from_sft,
    )
    epoch: list[Event] = [
        EpochEnded(run_id="sums-rl", time=BEGAN, phase="rl", epoch=4, step=40, loss=0.0, kl=0.06)
    ]
    rest = [*train("sums-rl", draw, 20, 40), epoch]
    record(db_url, "sums-rl", "rl", rest, attempt=2, began=20, inputs=made_from_sft)
    record(db_url, "eval-after", "eval", evaluate("eval-after", draw, 0.9), attempt=1, inputs=made_from_rl)


if __name__ == "__main__":
    main(sys.argv[1])
