"""A training that is killed and resumed is the same training, to the bit: real processes, SIGKILL, every kind of job.

Several properties in one training, so that most pairs of them occur; tests/soak/resume_matrix.py has each of them alone.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.soak.resume_matrix import (
    ACCUMULATED,
    DROPOUT,
    LORA,
    PACKED,
    PATIENT,
    RL,
    SFT,
    TENYSON,
    TINY,
    TWICE,
    verify,
)

pytestmark = pytest.mark.train

CASES = {
    "sft, LoRA with dropout, accumulated, logged every 4 steps, at the boundary of an epoch": (
        "sft",
        {"peft": DROPOUT},
        SFT | ACCUMULATED | {"save_steps": 8, "kill": 12},
    ),
    "sft, all weights, packed, in the middle of the second epoch": ("sft", {}, SFT | PACKED | {"kill": 10}),
    "sft, all weights, stopped early, in the middle of its patience": ("sft", {}, SFT | PATIENT),
    "grpo, all weights, moving KL reference, curriculum, evaluation, in a batch of the second epoch": (
        "rl",
        {"task": "curriculum_task.py", "trl": TWICE | {"sync_ref_model": True, "ref_model_sync_steps": 5}},
        RL | {"beta": 0.1, "max_steps": 44, "kill": 39, "eval_steps": 20, "eval_samples": 8},
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


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """What `tenyson verify-resume` says of a short SFT training that proves nothing; its temporary files are in tmp."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    echo = Path(__file__).parents[1] / "tasks" / "echo_task.py"
    config = {"model": {"factory": TINY}, "training": SFT | {"max_steps": 6}, "task": {"module": str(echo)}}

    def run(*arguments):
        file = tmp_path / "sft.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [TENYSON, "verify-resume", "--config", file, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "identical" not in done.stdout
        return done.stderr

    return run


def test_a_kill_before_the_first_checkpoint_proves_nothing(refused, tmp_path):
    """The training began anew, so that it is the same says nothing of resume."""
    told = refused("--kill-after", "2", "--set", "training.max_steps=80", "--set", "training.save_steps=70")
    assert re.search("nothing was resumed: the kill after step .* came before the first checkpoint was", told)
    assert "training.save_steps" in told
    [kept] = (tmp_path / "tmp").glob("tenyson-verify-*")
    assert {path.suffix for path in kept.iterdir()} == {".log", ".json"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "training.max_steps=1"), "ends at step 1 cannot be killed after step 1"),
        (("--kill-after", "50"), "ends at step 6 cannot be killed after step 50"),
    ],
)
def test_a_kill_at_a_step_that_never_comes_is_refused_before_anything_is_trained(
    refused, tmp_path, arguments, told
):
    said = refused(*arguments)
    assert told in said
    assert "training without interruption" not in said
    assert not list((tmp_path / "tmp").glob("tenyson-verify-*"))


def test_a_training_that_fails_shows_the_end_of_its_log_which_is_still_there(refused):
    said = refused("--set", "trl.no_such_argument=1")
    assert "no_such_argument" in said
    log = next(line for line in said.splitlines() if line.startswith("error: ")).split(": ")[1]
    assert "no_such_argument" in Path(log).read_text()
