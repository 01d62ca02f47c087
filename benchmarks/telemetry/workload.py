"""The workload of all tools: 4 numbers a step, and 128 rollouts a step in English prose of fixed lengths."""

from __future__ import annotations

import pydoc_data.topics
import random
from dataclasses import dataclass

GROUP = 8
GROUPS = 16
PROMPT, COMPLETION = 600, 1200
"""Characters."""


@dataclass(frozen=True)
class Rollout:
    """One rollout, in no tool's form."""

    sample: str
    group: str
    prompt: str
    completion: str
    reward: float
    components: dict[str, float]
    advantage: float


def numbers(step: int) -> dict[str, float]:
    """The scalars of a step."""
    return {"loss": 1.0 / (step + 1), "reward": step * 1e-3, "kl": 0.01, "learning_rate": 1e-5}


def rollout_steps(steps: int, seed: int = 0) -> list[list[Rollout]]:
    """128 rollouts a step. Texts are slices of the standard library's own documentation: no two are alike."""
    prose = "\n".join(pydoc_data.topics.topics.values())
    draw = random.Random(seed)

    def cut(length: int) -> str:
        start = draw.randrange(len(prose) - length)
        return prose[start : start + length]

    found = []
    for step in range(steps):
        batch = []
        for group in range(GROUPS):
            prompt = cut(PROMPT)
            for member in range(GROUP):
                right = float(member % 2)
                batch.append(
                    Rollout(
                        f"s{group}",
                        f"{step}/s{group}",
                        prompt,
                        cut(COMPLETION),
                        right + 0.25,
                        {"right": right, "format": 0.25},
                        right - 0.5,
                    )
                )
        found.append(batch)
    return found
