"""RLJob on a CPU with vLLM: the engine follows the trainer's weights, and the loss stays GRPO's."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tenyson.errors import ConfigError
from tenyson.jobs.preflight.engine import training_engine
from tenyson.jobs.rl import RLJob
from tenyson.tasks.load import load_task

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
]

TASKS = Path(__file__).parents[1] / "tasks"
MODEL = {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 64, "head": 32}}
RL = {"max_steps": 3, "batch_size": 16, "num_generations": 4, "learning_rate": 0.01, "check_every": 1}


@pytest.fixture(autouse=True)
def no_gpu():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")


def run(configure, task, run_id, **sections):
    config = configure(run_id, model=MODEL, generation={"engine": "vllm"}, **sections)
    return RLJob(config, task).run()


def test_rollouts_come_from_the_policy_of_their_step(configure, climb, events):
    """Three steps of games of three turns; what the engine says of its tokens is what the trainer says."""
    result = run(configure, climb, "whole", training=RL)
    assert result.status == "success", result.failure_reason
    metadata = json.loads((Path(result.local_output_dir) / "results.json").read_text())["metadata"]
    assert metadata["engine"] == "vllm"
    differences = [
        event["values"]["sampling/sampling_logp_difference/mean"]
        for event in events("whole", "MetricsLogged")
        if "sampling/sampling_logp_difference/mean" in event["values"]
    ]
    assert len(differences) == 3
    assert max(differences) < 1e-3
    played = events("whole", "RolloutFinished")
    assert len(played) == 3 * 16
    assert {one["step"] for one in played} == {0, 1, 2}


def test_an_agents_conversations_come_from_the_policy_and_are_all_compared(configure, events):
    """Two of each rollout: their tokens have the trainer's probabilities too, and an agent is told them."""
    task = load_task(str(TASKS / "agent_task.py"), {"conversations": [2]})
    result = run(configure, task, "agents", training=RL | {"max_steps": 2})
    assert result.status == "success", result.failure_reason
    values = [one["values"] for one in events("agents", "MetricsLogged")]
    differences = [one["sampling/sampling_logp_difference/max"] for one in values if "loss" in one]
    assert len(differences) == 2
    assert max(differences) < 1e-2
    assert [one["rollouts/further_conversations"] for one in values if "loss" in one] == [16, 16]
    played = events("agents", "RolloutFinished")
    assert all(one["info"]["conversations"] == 2 for one in played)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"trl": {"vllm_mode": "server"}}, "trl.vllm_mode: no effect with vLLM on a CPU"),
        ({"engine_args": {"tensor_parallel_size": 2}}, "engine_args.tensor_parallel_size: no effect"),
    ],
)
def test_what_vllm_cannot_heed_on_a_cpu_is_refused(configure, echo, sections, said):
    """Before a model is loaded, with the key."""
    with pytest.raises(ConfigError, match=said):
        run(configure, echo, "rl", training=RL, **sections)


def test_auto_keeps_transformers_on_a_cpu_and_names_the_other_choice(configure):
    """transformers resumes to the bit."""
    from tenyson.config.load import parse_config

    config = parse_config(configure("rl", model=MODEL, training=RL, generation={"engine": "auto"}))
    engine, why = training_engine(config)
    assert engine == "transformers"
    assert "generation.engine: vllm" in why
