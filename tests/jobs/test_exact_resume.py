"""A training that is killed and resumed is the same training, to the bit: real processes, SIGKILL, every kind of job.

Several properties in one training, so that most pairs of them occur; tests/soak/resume_matrix.py has each of them alone.
"""

from __future__ import annotations

import pytest
from tests.soak.resume_matrix import ACCUMULATED, DROPOUT, LORA, PACKED, PATIENT, RL, SFT, TWICE, verify

pytestmark = pytest.mark.train

CASES = {
    "sft, LoRA with dropout, accumulated, logged every 4 steps, at the boundary of an epoch": (
        "sft",
        {"peft": DROPOUT},
        SFT | ACCUMULATED | {"save_steps": 8, "kill": 12},
    ),
    "sft, all weights, packed, in the middle of the second epoch": ("sft", {}, SFT | PACKED | {"kill": 10}),
    "sft, all weights, stopped early, in the middle of its patience": ("sft", {}, SFT | PATIENT),
    "grpo, all weights, curriculum, evaluation, in a generated batch of the second epoch": (
        "rl",
        {"task": "curriculum_task.py", "trl": TWICE},
        RL | {"max_steps": 44, "kill": 39, "eval_steps": 20, "eval_samples": 8},
    ),
    "grpo, LoRA, two processes under torchrun, in the middle of a generated batch": (
        "rl",
        {"peft": LORA, "trl": TWICE},
        RL | {"kill": 18, "batch_size": 8, "processes": 2},
    ),
    "grpo, KL reference from an adapter of SFT, multi-turn, at the boundary of an epoch": (
        "rl",
        {"adapter": True, "task": "climb_task.py"},
        RL | {"beta": 0.1, "kill": 19, "save_steps": 8},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_killed_and_resumed_training_is_the_same_to_the_bit(tmp_path, case):
    """Every number, every rollout and the final weights."""
    verdict = verify(tmp_path, CASES[case])
    assert verdict["differences"] == []
    assert verdict["identical"]
    assert verdict["numbers"] > verdict["steps"]
    assert 0 < verdict["kills"][0]["resumed_from"] < verdict["steps"]
    assert bool(verdict["rollouts"]) == case.startswith("grpo")
