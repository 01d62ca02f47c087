"""No argument of TRL, PEFT or an engine is taken without effect: it acts, or is refused with what to use."""

from __future__ import annotations

import dataclasses

import pytest

from tenyson.config.checks.passthrough import OWNED, check_passthrough
from tenyson.config.checks.supported import PEFT_HONOURED, PEFT_NEEDS, PEFT_REFUSED
from tenyson.config.checks.trl_arguments import TrlArguments
from tenyson.config.load import parse_config
from tenyson.errors import ConfigError
from tenyson.plugins.job_kinds import JOB_KINDS, job_kind

pytestmark = pytest.mark.train


def config(**sections):
    return parse_config({"model": {"name": "m"}, **sections})


def refusal(job, engine=None, **sections) -> str:
    with pytest.raises(ConfigError) as caught:
        check_passthrough(config(**sections), job_kind(job), engine=engine)
    return str(caught.value)


@pytest.mark.parametrize(
    "table", [*(kind.name for kind in JOB_KINDS.values() if kind.arguments is not None), "peft"]
)
def test_every_argument_of_the_installed_libraries_is_ruled_on(table):
    """A field that the tables lack would be taken without anybody knowing whether it acts."""
    from peft import LoraConfig

    if table == "peft":
        cls = LoraConfig
        ruled = TrlArguments(honoured=PEFT_HONOURED, refused=PEFT_REFUSED, needs=PEFT_NEEDS)
    else:
        cls, ruled = job_kind(table).part("trl_config"), job_kind(table).part("arguments")
    fields = {field.name for field in dataclasses.fields(cls) if field.init}
    owned = OWNED["trl"].keys() & fields if table != "peft" else set()
    assert fields - ruled.honoured - ruled.refused.keys() - owned == set(), "say what becomes of these"
    assert (ruled.honoured | ruled.refused.keys()) - fields == set(), "these no longer exist"
    assert not ruled.honoured & ruled.refused.keys()
    assert not owned & (ruled.honoured | ruled.refused.keys())
    assert ruled.needs.keys() <= ruled.honoured


@pytest.mark.parametrize(
    ("job", "sections", "expected"),
    [
        ("sft", {"trl": {"max_length": 64}}, "trl.max_length: is set by Tenyson itself (use training.max_length)"),
        ("sft", {"trl": {"packing": True}}, "trl.packing: is set by Tenyson itself (use training.packing)"),
        ("sft", {"trl": {"completion_only_loss": False}}, "trl.completion_only_loss: means nothing here: the assistant's"),
        ("sft", {"trl": {"shuffle_dataset": True}}, "trl.shuffle_dataset: has no effect without training.packing"),
        ("sft", {"trl": {"packing_strategy": "bfd"}}, "trl.packing_strategy: has no effect without training.packing"),
        ("sft", {"trl": {"model_init_kwargs": {}}}, "(use model.load_args, model.dtype or model.attn_implementation)"),
        ("sft", {"trl": {"chat_template_path": "x"}}, "trl.chat_template_path: would change the tokenizer"),
        ("sft", {"trl": {"eos_token": "x"}}, "trl.eos_token: would change the tokenizer"),
        ("sft", {"trl": {"pad_token": "x"}}, "trl.pad_token: would change the tokenizer"),
        ("sft", {"trl": {"truncation_mode": "keep_end"}}, "trl.truncation_mode: means nothing here: longer rows lose their end"),
        ("sft", {"trl": {"save_only_model": True}}, "trl.save_only_model: means nothing here: a checkpoint holds all"),
        ("sft", {"trl": {"dataset_kwargs": {}}}, "trl.dataset_kwargs: means nothing here: rows reach TRL as token ids"),
        ("sft", {"trl": {"eval_strategy": "steps"}}, "trl.eval_strategy: there is no evaluation while training"),
        ("sft", {"trl": {"load_best_model_at_end": True}}, "trl.load_best_model_at_end: has no effect without training.eval_steps"),
        ("sft", {"trl": {"metric_for_best_model": "loss"}}, "trl.metric_for_best_model: has no effect without"),
        ("sft", {"trl": {"optim_args": "momentum=0.9"}}, "trl.optim_args: has no effect without trl.optim"),
        ("rl", {"trl": {"liger_kernel_config": {"rope": True}}}, "trl.liger_kernel_config: has no effect without trl.use_liger_kernel"),
        ("rl", {"trl": {"num_generations_eval": 2}}, "trl.num_generations_eval: has no effect without training.eval_steps"),
        ("sft", {"trl": {"save_steps": 5}}, "trl.save_steps: is set by Tenyson itself (use training.save_steps)"),
        ("rl", {"trl": {"label_smoothing_factor": 0.1}}, "trl.label_smoothing_factor: means nothing here: GRPO has no labels"),
        ("rl", {"trl": {"use_transformers_continuous_batching": True}}, "rollouts are played by Tenyson"),
        ("rl", {"trl": {"chat_template_kwargs": {"x": 1}}}, "(use model.chat_template_kwargs)"),
        ("rl", {"trl": {"ref_model_sync_steps": 2}}, "trl.ref_model_sync_steps: has no effect without trl.sync_ref_model"),
        ("rl", {"peft": {"inference_mode": True}}, "peft.inference_mode:"),
        ("rl", {"peft": {"init_lora_weights": "eva"}}, "peft.init_lora_weights: eva is computed from data"),
        ("sft", {"peft": {"base_model_name_or_path": "x"}}, "(use model.name)"),
        ("sft", {"peft": {"task_type": "SEQ_CLS"}}, "peft.task_type:"),
    ],
)  # fmt: skip
def test_an_argument_that_would_not_act_is_refused_with_the_key_to_use(job, sections, expected):
    """What TRL would take and ignore, since rows, tokenizers, models and checkpoints are Tenyson's."""
    assert expected in refusal(job, **sections)


@pytest.mark.parametrize(
    ("engine", "sections", "expected"),
    [
        ("transformers", {"engine_args": {"temperature": 0.3}}, "engine_args.temperature: is set by Tenyson itself (use generation.temperature)"),
        ("transformers", {"engine_args": {"stop_strings": ["a"]}}, "engine_args.stop_strings: is set by Tenyson itself: a reply ends"),
        ("transformers", {"engine_args": {"return_dict_in_generate": True}}, "would change what generate returns"),
        ("transformers", {"engine_args": {"min_p": 0.1}, "generation": {"min_p": 0.2}}, "engine_args.min_p: is given twice"),
        ("transformers", {"engine_args": {"gpu_memory_utilization": 0.5}}, "engine_args.gpu_memory_utilization: no argument of transformers"),
        ("transformers", {"trl": {"generation_kwargs": {"max_new_tokens": 3}}}, "trl.generation_kwargs.max_new_tokens: is set by Tenyson"),
        ("transformers", {"trl": {"generation_kwargs": {"no_repeat_ngram_sice": 3}}}, "did you mean trl.generation_kwargs.no_repeat_ngram_size?"),
        ("vllm", {"engine_args": {"enable_prefix_caching": True}}, "engine_args.enable_prefix_caching: has no effect in RL with vLLM"),
        ("vllm", {"engine_args": {"max_model_len": 8}, "trl": {"vllm_max_model_length": 9}}, "(use trl.vllm_max_model_length)"),
    ],
)  # fmt: skip
def test_an_engine_argument_acts_on_every_rollout_of_rl_or_is_refused(engine, sections, expected):
    """No second key for what `generation` says, and none that one kind of task alone would obey."""
    assert expected in refusal("rl", engine, **sections)


def test_engine_args_of_vllm_reach_the_engine_that_trl_starts(tmp_path):
    """RL hands on what TRL has an argument for."""
    from tenyson.jobs.trainers.arguments import grpo_arguments

    given = config(engine_args={"max_model_len": 512}, trl={"vllm_gpu_memory_utilization": 0.4})
    check_passthrough(given, job_kind("rl"), engine="vllm")
    arguments = grpo_arguments(given, tmp_path, vllm=True)
    assert (arguments["vllm_max_model_length"], arguments["vllm_gpu_memory_utilization"]) == (512, 0.4)
    assert "vllm_max_model_length" not in grpo_arguments(given, tmp_path, vllm=False)


def test_arguments_act_beside_what_they_need():
    """packing has its strategy, an evaluation its delay."""
    packed = {"training": {"packing": True, "eval_steps": 2}}
    check_passthrough(config(trl={"packing_strategy": "bfd", "eval_delay": 1}, **packed), job_kind("sft"))
    moving = {"sync_ref_model": True, "ref_model_sync_steps": 2}
    check_passthrough(config(trl=moving, training={"beta": 0.1}), job_kind("rl"))
