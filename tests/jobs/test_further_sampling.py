"""A parameter of `Sampling` that TRL has no argument for acts on every rollout, and a resume compares it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import pytest

from tenyson.config.load import parse_config
from tenyson.config.schema import GenerationConfig
from tenyson.engines import engine
from tenyson.engines.engine import DRAWN, Sampling
from tenyson.errors import ModelError
from tenyson.jobs.rl import RLJob
from tenyson.jobs.trainers.trl_import import import_grpo

pytestmark = pytest.mark.train

NAME = "frequency_penalty"
"""vLLM knows it, GRPOConfig does not."""
RL = {"max_steps": 1, "batch_size": 8, "num_generations": 4, "preflight_groups": 0, "save_steps": 1}


@dataclass(frozen=True)
class FurtherSampling(Sampling):
    frequency_penalty: float = 0.0


class FurtherGeneration(GenerationConfig):
    frequency_penalty: float = 0.0


def lower_what_was_written(scores, row, penalty):
    for token in row.reply:
        scores[token] -= penalty


@pytest.fixture
def further(monkeypatch):
    """Adds the parameter where docs/architecture.md says that one is added."""
    import_grpo(vllm=False)
    # They copy DRAWN when they are imported, so other tests would see the parameter.
    import tenyson.jobs.checkpoints.same_training
    import tenyson.jobs.models.generation_defaults  # noqa: F401
    from tenyson.engines.decoding import sampler
    from tenyson.jobs.trainers.grpo import generation

    monkeypatch.setitem(DRAWN, NAME, 0.0)
    monkeypatch.setitem(sampler.PENALTIES, NAME, lower_what_was_written)
    for module in (engine, generation):
        monkeypatch.setattr(module, "Sampling", FurtherSampling)


def with_further(configured, value):
    """A Config whose `generation` has the parameter."""
    config = parse_config(configured)
    generation = FurtherGeneration(**config.generation.model_dump(), frequency_penalty=value)
    return config.model_copy(update={"generation": generation})


def test_every_parameter_of_sampling_has_a_key_and_a_rule():
    """One without a rule in the sampler would do nothing in the transformers engine."""
    from tenyson.engines.decoding.sampler import GENERATE_PENALTIES, PENALTIES, WARPERS

    assert set(DRAWN) <= set(GenerationConfig.model_fields)
    assert PENALTIES.keys() | WARPERS.keys() == DRAWN.keys()
    assert PENALTIES.keys() >= GENERATE_PENALTIES
    for name, off in DRAWN.items():
        assert GenerationConfig.model_fields[name].default == off


def test_trl_gets_what_it_has_an_argument_for_and_its_vllm_the_rest(further, configure, tmp_path):
    """GRPOConfig refuses a name that it does not have."""
    from trl import GRPOConfig

    from tenyson.jobs.trainers.arguments import grpo_arguments, trl_vllm_kwargs

    config = with_further(configure("rl", training=RL, generation={"min_p": 0.1}), 0.5)
    arguments = grpo_arguments(config, tmp_path, vllm=False)
    theirs = {one.name for one in dataclasses.fields(GRPOConfig)}
    assert NAME not in theirs
    assert DRAWN.keys() & arguments.keys() == DRAWN.keys() & theirs
    assert GRPOConfig(**arguments).min_p == 0.1
    rest = {name: off for name, off in DRAWN.items() if name not in theirs}
    rest |= {"stop_token_ids": [1], "ignore_eos": True}
    assert trl_vllm_kwargs(config, None, [1]) == {**rest, NAME: 0.5}
    assert trl_vllm_kwargs(config, {NAME: 0.2, "seed": 3}, [1]) == {**rest, NAME: 0.2, "seed": 3}


def test_vllm_gets_it_by_its_name(further):
    from tenyson.engines.vllm.requests import sampling_parameters

    assert sampling_parameters(FurtherSampling(4, frequency_penalty=0.5))[NAME] == 0.5
    assert sampling_parameters(FurtherSampling(4))[NAME] == 0.0


@pytest.mark.parametrize("turns", ["one turn", "several turns"])
def test_it_acts_on_every_rollout_of_rl_and_a_resume_compares_it(
    further, configure, echo, climb, events, tmp_path, turns
):
    """At its default the job runs as before; a large penalty lets no token occur twice in a reply."""
    task, played = (echo if turns == "one turn" else climb), {}
    for run_id, value in (("off", 0.0), ("on", 1000.0)):
        result = RLJob(with_further(configure(run_id, training=RL), value), task).run()
        assert result.status == "success"
        played[run_id] = [event["completion"] for event in events(run_id, "RolloutFinished")]
        about = json.loads((tmp_path / f"outputs/{run_id}/checkpoints/step-1/resume.json").read_text())
        assert about["training"][NAME] == {"key": f"generation.{NAME}", "value": value}
    assert played["on"] != played["off"]
    resumed = configure("off", training={**RL, "max_steps": 2, "resume_from_checkpoint": "latest"})
    with pytest.raises(ModelError, match=rf"generation\.{NAME} was 0\.0 and is 1\.0"):
        RLJob(with_further(resumed, 1.0), task).run()


def test_an_argument_that_trl_leaves_open_is_off(configure, echo, events):
    """`trl` takes precedence over `generation`, also where it says nothing."""
    for run_id, sections in {
        "off": {},
        "open": {"generation": {"min_p": 0.95}, "trl": {"min_p": None}},
    }.items():
        RLJob(configure(run_id, training=RL, **sections), echo).run()
    off, opened = (
        [event["completion"] for event in events(run_id, "RolloutFinished")] for run_id in ("off", "open")
    )
    assert opened == off
