"""RLJob: GRPO that records every rollout with its rewards and advantage, single-turn and multi-turn."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import pytest

from tenyson.errors import TaskError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.runtime.finding import PreflightError
from tenyson.jobs.sft import SFTJob

pytestmark = pytest.mark.train

SFT = {"max_steps": 40, "batch_size": 16, "learning_rate": 0.01}
RL = {"max_steps": 3, "batch_size": 32, "num_generations": 8, "learning_rate": 0.001}


@pytest.fixture(scope="module")
def taught(tmp_path_factory, make_configure):
    """Teaches a task for a while, so that its groups differ in reward; returns the model."""

    def teach(task):
        folder = tmp_path_factory.mktemp("taught")
        result = SFTJob(make_configure(folder)("warm", training=SFT), task).run()
        return {"name": str(Path(result.local_output_dir) / "model")}

    return teach


@pytest.fixture(scope="module")
def warm(taught, echo):
    """A model that has seen the single-turn task."""
    return taught(echo)


@pytest.fixture(scope="module")
def warm_climb(taught, climb):
    """A model that has seen the multi-turn task."""
    return taught(climb)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_configure, echo, warm):
    """The folder of three steps of GRPO."""
    folder = tmp_path_factory.mktemp("trained")
    return Path(RLJob(make_configure(folder)("rl", model=warm, training=RL), echo).run().local_output_dir)


@pytest.fixture(scope="module")
def rollouts(trained):
    """What these recorded of each rollout."""
    events = map(json.loads, (trained / "events.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == "RolloutFinished"]


@pytest.fixture(scope="module")
def groups(rollouts):
    """The same, by group."""
    found: dict[str, list[dict]] = {}
    for rollout in rollouts:
        found.setdefault(rollout["group"], []).append(rollout)
    return list(found.values())


def test_every_rollout_is_recorded_with_components_and_advantage(rollouts):
    """Three steps of 32 completions are 96 rollouts, none sampled away."""
    assert len(rollouts) == 96
    assert all(set(rollout["components"]) == {"right", "letters", "silent"} for rollout in rollouts)
    assert all(rollout["phase"] == "rl" and rollout["training"] for rollout in rollouts)
    assert {rollout["step"] for rollout in rollouts} == {0, 1, 2}


def test_advantages_are_what_grpo_says_of_the_recorded_rewards(groups):
    """(reward - mean of the group) / (sample standard deviation + 1e-4), from the rows alone."""
    assert any(len({rollout["reward"] for rollout in group}) > 1 for group in groups)
    for group in groups:
        assert len(group) == 8
        rewards = [rollout["reward"] for rollout in group]
        mean = fmean(rewards)
        deviation = (sum((reward - mean) ** 2 for reward in rewards) / 7) ** 0.5
        for rollout in group:
            expected = (rollout["reward"] - mean) / (deviation + 1e-4)
            assert rollout["advantage"] == pytest.approx(expected, abs=1e-4)


def test_the_reward_is_the_weighted_sum_of_its_components(rollouts):
    """A component of weight 0 is recorded and does not count; one that says nothing counts as 0."""
    assert rollouts
    for rollout in rollouts:
        parts = rollout["components"]
        assert rollout["reward"] == pytest.approx(
            (parts["right"] or 0) + 0.5 * (parts["letters"] or 0), abs=1e-5
        )


def test_rl_raises_the_reward(configure, echo, warm):
    """Reinforcement moves the model towards what is rewarded."""
    before = EvalJob(configure("before", model=warm), echo).run()
    training = {**RL, "max_steps": 40, "batch_size": 64, "learning_rate": 0.003}
    RLJob(configure("rl", model=warm, training=training), echo).run()
    after = EvalJob(configure("after", model={"name": "rl"}), echo).run()
    assert after.metrics["accuracy"] > before.metrics["accuracy"] + 0.1


def test_a_multi_turn_task_is_played_and_learnt(configure, climb, warm_climb, events):
    """Whole games are rollouts; the environment's words are in the completion, but not in the token count."""
    RLJob(configure("rl", model=warm_climb, training=RL), climb).run()
    rollouts = events("rl", "RolloutFinished")
    assert len(rollouts) == 96
    assert all(rollout["info"]["turns"] == 3 for rollout in rollouts)
    assert all(rollout["completion"].count("<user>") >= 2 for rollout in rollouts)


def test_environment_tokens_do_not_enter_the_loss(configure, climb, warm_climb):
    """The mask that TRL gets is 0 exactly on what the environment wrote."""
    from tenyson.jobs.trainers import rollout_trainer

    seen = []
    original = rollout_trainer.RolloutTrainer._generate_and_score_completions

    def spy(self, inputs):
        output = original(self, inputs)
        seen.append(
            (output["completion_ids"], output["tool_mask"], output["completion_mask"], self._renderer)
        )
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout_trainer.RolloutTrainer, "_generate_and_score_completions", spy)
        RLJob(configure("rl", model=warm_climb, training={**RL, "max_steps": 1}), climb).run()
    ids, trained, present, renderer = seen[0]
    for row, flags, real in zip(ids.tolist(), trained.tolist(), present.tolist(), strict=True):
        masked = [
            token for token, flag, is_real in zip(row, flags, real, strict=True) if is_real and not flag
        ]
        assert re.fullmatch(r"((<eos>)?<user>[a-h]<model>){2}", renderer.raw(masked)), renderer.raw(masked)


def test_evaluation_inside_rl_is_told_apart_from_training(configure, echo, warm, events):
    """Rollouts of the eval split are never mixed up with those that were trained on."""
    training = {**RL, "eval_steps": 2, "eval_samples": 4}
    RLJob(configure("rl", model=warm, training=training), echo).run()
    rollouts = events("rl", "RolloutFinished")
    evaluated = [rollout for rollout in rollouts if not rollout["training"]]
    assert len([rollout for rollout in rollouts if rollout["training"]]) == 96
    assert len(evaluated) == 2 * 4 * 8, "at step 2 and at the end"
    assert all(rollout["sample_id"].startswith("eval/") for rollout in evaluated)


def test_an_sft_adapter_is_trained_on_by_rl(configure, echo):
    """RL continues the adapter that SFT wrote: with beta > 0 too, where TRL adds a second adapter."""
    from safetensors.torch import load_file

    base = configure("x")["model"]
    lora = {"r": 8, "lora_alpha": 32, "target_modules": "all-linear"}
    first = SFTJob(configure("sft", training={**SFT, "max_steps": 150}, peft=lora), echo).run()
    training = {**RL, "beta": 0.05}
    second = RLJob(
        configure("rl", model={**base, "adapter": "sft"}, training=training, peft=lora), echo
    ).run()
    before = load_file(Path(first.local_output_dir) / "adapter" / "adapter_model.safetensors")
    after = load_file(Path(second.local_output_dir) / "adapter" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < moved < 0.1, "RL must start from the SFT adapter and move it a little"


def test_results_hold_reward_with_its_interval(trained):
    """The last batch's rewards are in results.json with count and interval."""
    reward = json.loads((trained / "results.json").read_text())["metrics"]["reward"]
    assert reward["n"] == 32
    assert reward["low"] <= reward["value"] <= reward["high"]


def test_groups_that_do_not_divide_the_batch_are_an_error(configure, echo):
    """The arithmetic of GRPO is checked before a model is loaded, and the nearest batch that works is named."""
    with pytest.raises(
        PreflightError,
        match=r"no whole groups of training.num_generations = 8. Make it a multiple, such as 32",
    ):
        RLJob(configure("rl", training={**RL, "batch_size": 30}), echo).run()


def test_a_task_without_rewards_is_refused(configure, echo, monkeypatch):
    """There is nothing to maximise."""
    monkeypatch.setattr(type(echo), "rewards", lambda self: ())
    with pytest.raises(TaskError, match="no rewards"):
        RLJob(configure("rl", training=RL), echo).run()


def test_what_was_not_trained_on_says_why(groups):
    """A group whose rewards are all equal has no advantage, so without a KL term it carries no gradient."""
    assert groups
    for group in groups:
        equal = max(one["reward"] for one in group) - min(one["reward"] for one in group) < 1e-9
        for rollout in group:
            assert rollout["trained"] is not equal
            assert rollout["dropped"] == ("all rewards of its group are equal" if equal else None)


def test_truncated_rollouts_that_are_masked_are_told(configure, echo, events):
    """With TRL's mask_truncated_completions, what ran out of tokens is left out of the loss."""
    config = configure(
        "rl", training=RL | {"max_steps": 1, "beta": 0.1}, trl={"mask_truncated_completions": True},
        generation={"max_new_tokens": 2},
    )  # fmt: skip
    RLJob(config, echo).run()
    for rollout in events("rl", "RolloutFinished"):
        cut = rollout["finish_reason"] == "length"
        expected = "truncated, and mask_truncated_completions is set" if cut else None
        assert rollout["dropped"] == expected
        assert rollout["trained"] is not cut


@pytest.fixture
def vllm_calls(monkeypatch):
    """TRL's own vLLM generation with an engine that answers each prompt with one letter, and what it was asked."""
    pytest.importorskip("vllm")
    from types import SimpleNamespace

    # As the trainer knows it: a process that imports vLLM later loads the module again.
    from trl.trainer.grpo_trainer import VLLMGeneration

    calls = []

    def generate(prompts, sampling_params, use_tqdm):
        calls.append(sampling_params)
        ids = [7, sampling_params.stop_token_ids[0]] if sampling_params.stop_token_ids else [7]
        said = SimpleNamespace(
            token_ids=ids, logprobs=[{id: SimpleNamespace(logprob=-1.0, rank=1)} for id in ids]
        )
        return [SimpleNamespace(prompt_token_ids=one["prompt_token_ids"], outputs=[said]) for one in prompts]

    def start(generation):
        config = SimpleNamespace(max_model_len=512)
        generation.llm = SimpleNamespace(generate=generate, llm_engine=SimpleNamespace(model_config=config))

    chosen = ("vllm", "the test says so")
    monkeypatch.setattr("tenyson.jobs.preflight.engine.on_gpu", lambda: True)
    monkeypatch.setattr("tenyson.jobs.preflight.engine.training_engine", lambda *_, **__: chosen)
    monkeypatch.setattr(VLLMGeneration, "_init_vllm", start)
    monkeypatch.setattr(VLLMGeneration, "sync_weights", lambda _: calls.append("sync"))
    return calls


@pytest.mark.parametrize("kind", ["single turn", "multi-turn"])
def test_vllm_ends_replies_where_evaluation_does_and_plays_with_the_adapter_from_the_first(
    configure, echo, climb, vllm_calls, kind
):
    """Its weights are brought up to date before anything is played, and not twice for one step."""
    from tenyson.jobs.models.model import generation_eos, load_tokenizer, resolve_model

    task = echo if kind == "single turn" else climb
    config = configure("rl", training={**RL, "max_steps": 2}, trl={"generation_kwargs": {"seed": 3}})
    job = RLJob(config, task)
    job.run()
    from tenyson.engines.renderers import Renderer

    source = resolve_model(job.config)
    stops = list(Renderer(load_tokenizer(source), generation_eos(source)).stop_token_ids)
    played = [call for call in vllm_calls if call != "sync"]
    assert all(call.stop_token_ids == stops and call.seed == 3 for call in played)
    turns = 1 if kind == "single turn" else 3
    asked = ["sync" if call == "sync" else "play" for call in vllm_calls]
    assert asked == ["sync"] + ["play"] * 2 * turns + ["sync"] + ["play"] * turns


def test_a_curriculum_decides_at_each_batch_what_is_played(configure, curriculum, events):
    """A group has one level, which rises with what was scored; what is tried before training does not count."""
    training = RL | {"max_steps": 4, "preflight_groups": 2, "eval_steps": 2, "eval_samples": 4}
    RLJob(configure("levels", training=training), curriculum).run()
    played = events("levels", "RolloutFinished")
    trained = [event for event in played if event["training"]]
    levels = {}
    for event in trained:
        levels.setdefault(event["step"], set()).add(event["sample_id"].partition("/level-")[2])
    assert [len(found) for found in levels.values()] == [1] * 4
    steps = [int(next(iter(found))) for found in levels.values()]
    assert steps[0] == 0
    assert steps == sorted(steps)
    assert steps[-1] > 0
    groups = {}
    for event in trained:
        groups.setdefault((event["step"], event["sample_id"]), set()).add(event["prompt"])
    assert len(groups) == 4 * 32 / 8
    assert all(len(prompts) == 1 for prompts in groups.values())
    assert not any("/level-" in event["sample_id"] for event in played if not event["training"])
