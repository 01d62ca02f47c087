"""Engines take only what the configuration says: a checkpoint's own generation config draws no token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenyson.engines.engine import EngineSpec, Sampling
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.testing import tiny

pytestmark = pytest.mark.train

WISHES = {
    "repetition_penalty": {"repetition_penalty": 1.8, "do_sample": True},
    "min_p": {"min_p": 0.9, "do_sample": True},
    "typical_p": {"typical_p": 0.1, "do_sample": True},
    "cutoffs": {"eta_cutoff": 0.5, "epsilon_cutoff": 0.5, "do_sample": True},
    "top_k and temperature": {"top_k": 1, "temperature": 0.01, "do_sample": True},
    "num_beams": {"num_beams": 3, "length_penalty": -5.0, "do_sample": True},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "bad words and suppressed tokens": {
        "bad_words_ids": [[40]],
        "suppress_tokens": list(range(4, 60)),
        "begin_suppress_tokens": list(range(60, 90)),
    },
    "a forced end": {"forced_eos_token_id": 1, "min_new_tokens": 3},
    "a short length": {"max_new_tokens": 1, "max_length": 2, "max_time": 0.0},
    "stop strings": {"stop_strings": ["a", "b", "c"]},
    "guidance": {"guidance_scale": 3.0},
    "a watermark": {"watermarking_config": {"greenlist_ratio": 0.1, "bias": 50.0, "context_width": 1}},
    "decaying lengths": {"exponential_decay_length_penalty": [1, 5.0]},
    "sequences": {
        "do_sample": True,
        "num_return_sequences": 2,
        "output_scores": True,
        "return_dict_in_generate": True,
    },
}
"""What checkpoints ask for in generation_config.json."""

EVERYTHING = {name: value for wish in WISHES.values() for name, value in wish.items()}


def checkpoint(directory: Path, **wishes) -> str:
    tiny.build(directory, 0)
    path = directory / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wishes))
    return str(directory)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("plain"))


def replies(model: str, **sampling):
    from tenyson.engines.transformers import TransformersEngine

    prompts = [[2, token, 3] for token in range(10, 18)]
    engine = TransformersEngine(EngineSpec(model))
    return engine.generate(prompts, Sampling(max_new_tokens=12, stop_token_ids=(1,), seed=1, **sampling))


@pytest.mark.parametrize("wish", WISHES)
def test_what_a_checkpoint_asks_for_does_not_act_in_the_transformers_engine(tmp_path, plain, wish):
    """transformers fills in whatever `generate` leaves open from generation_config.json; vLLM does not."""
    model = checkpoint(tmp_path / "model", **WISHES[wish])
    assert replies(model) == replies(plain)
    assert replies(model, temperature=0.0) == replies(plain, temperature=0.0)


def test_sampling_itself_acts(plain):
    """min_p and repetition_penalty are options of every engine, off where nobody sets them."""
    assert replies(plain, min_p=0.0, repetition_penalty=1.0) == replies(plain)
    # With min_p 1 only the likeliest token is left, which is greedy decoding.
    assert replies(plain, min_p=1.0) == replies(plain, temperature=0.0) != replies(plain)
    assert replies(plain, repetition_penalty=1.8) != replies(plain)


def test_vllm_gets_every_parameter_that_draws_or_ends():
    """vLLM would take what is left open from its defaults, and ends on the EOS tokens of generation_config.json."""
    from tenyson.engines.vllm.requests import sampling_parameters

    sampling = Sampling(5, 0.7, 0.9, 20, (1, 2), min_p=0.1, repetition_penalty=1.2)
    assert sampling_parameters(sampling) == {
        "max_tokens": 5,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": [1, 2],
        "ignore_eos": True,
        "detokenize": False,
    }
    vllm = pytest.importorskip("vllm")
    made = vllm.SamplingParams(**sampling_parameters(sampling))
    made.update_from_generation_config({"eos_token_id": [7, 8]}, 9)
    assert set(made.stop_token_ids) == {1, 2}


def test_vllm_is_started_without_the_checkpoint_s_defaults(monkeypatch):
    """`generation_config: vllm` means vLLM's neutral defaults."""
    from types import SimpleNamespace

    from tenyson.engines.vllm.engine import VllmEngine

    vllm = pytest.importorskip("vllm")
    started = {}
    monkeypatch.setattr(vllm, "LLM", lambda **arguments: started.update(arguments) or SimpleNamespace())
    VllmEngine(EngineSpec("model"))
    assert started["generation_config"] == "vllm"


KINDS = ["evaluation", "single-turn RL", "multi-turn RL"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_job_plays_the_same_with_and_without_them_and_says_so_once(
    tmp_path, configure, echo, climb, events, plain, kind
):
    """One policy is one policy, in evaluation and in RL of one turn and of many; what was asked for is told with its key."""
    asking = checkpoint(tmp_path / "asking", **EVERYTHING)
    played = {}
    for run_id, model in (("plain", plain), ("asking", asking)):
        config = configure(
            run_id,
            model={"name": model},
            training={"max_steps": 1, "batch_size": 8, "num_generations": 4, "preflight_groups": 0},
            evaluation={"samples": 8},
        )
        job, task = (RLJob, climb if kind == "multi-turn RL" else echo) if "RL" in kind else (EvalJob, echo)
        result = job(config, task).run()
        assert result.status == "success"
        played[run_id] = [event["completion"] for event in events(run_id, "RolloutFinished")]
    assert played["asking"] == played["plain"]
    (said,) = [
        event["message"]
        for event in events("asking", "Notice")
        if "generation config asks for" in event["message"]
    ]
    assert "repetition_penalty=1.8" in said
    assert "generation.repetition_penalty: 1.8" in said
    assert "no_repeat_ngram_size" in said.partition("To take it")[2]
    assert not [event for event in events("plain", "Notice") if "generation config" in event["message"]]
    metadata = json.loads((tmp_path / "outputs/asking/results.json").read_text())["metadata"]
    assert metadata["checkpoint_defaults_not_taken"]["repetition_penalty"] == 1.8


def test_what_was_asked_for_is_kept_in_the_trained_model(tmp_path, configure, echo):
    """It is the checkpoint's advice to other programs; training does not delete it."""
    asking = checkpoint(tmp_path / "asking", repetition_penalty=1.3)
    training = {"max_steps": 1, "batch_size": 8, "num_generations": 4, "preflight_groups": 0}
    RLJob(configure("rl", model={"name": asking}, training=training), echo).run()
    saved = json.loads((tmp_path / "outputs/rl/model/generation_config.json").read_text())
    assert saved["repetition_penalty"] == 1.3


def test_taken_by_name_it_acts_and_nothing_is_said(tmp_path, configure, echo, events):
    """`generation` has the keys that both engines know; transformers' others go under engine_args."""
    asking = checkpoint(tmp_path / "asking", repetition_penalty=1.8, no_repeat_ngram_size=1)
    for run_id, sections in {
        "not": {},
        "taken": {
            "generation": {"repetition_penalty": 1.8},
            "engine_args": {"no_repeat_ngram_size": 1},
        },
    }.items():
        config = configure(run_id, model={"name": asking}, evaluation={"samples": 8}, **sections)
        EvalJob(config, echo).run()
    completions = {
        run_id: [event["completion"] for event in events(run_id, "RolloutFinished")]
        for run_id in ("not", "taken")
    }
    assert completions["taken"] != completions["not"]
    assert not [event for event in events("taken", "Notice") if "generation config" in event["message"]]
