"""Every argument of the installed TRL, one by one: it reaches the trainer, or is refused with the key to use."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import pytest

from tenyson.config.checks.passthrough import OWNED, check_passthrough
from tenyson.config.explain import keys
from tenyson.config.load import parse_config
from tenyson.config.schema import Config
from tenyson.errors import ConfigError
from tenyson.plugins.job_kinds import job_kind

pytestmark = pytest.mark.train

KINDS = ("sft", "rl", "dpo")

VALUES: dict[str, Any] = {
    "accelerator_config": {"split_batches": True},
    "cache_implementation": "static",
    "dataloader_multiprocessing_context": "spawn",
    "dataloader_prefetch_factor": 3,
    "debug": ["underflow_overflow"],
    "eval_strategy": "epoch",
    "f_divergence_type": "js_divergence",
    "generation_batch_size": 16,
    "gradient_checkpointing_kwargs": {"use_reentrant": True},
    "importance_sampling_level": "sequence",
    "liger_kernel_config": {"rope": False},
    "load_best_model_at_end": True,
    "log_level": "error",
    "log_level_replica": "error",
    "logging_strategy": "epoch",
    "loss_weights": [2.0],
    "lr_scheduler_kwargs": {"num_cycles": 2},
    "lr_scheduler_type": "cosine",
    "max_steps": 7,
    "multi_objective_aggregation": "normalize_then_sum",
    "num_generations": 4,
    "optim": "sgd",
    "optim_args": "momentum=0.9",
    "packing_strategy": "wrapped",
    "per_device_eval_batch_size": 16,
    "per_device_train_batch_size": 16,
    "reward_weights": [2.0],
    "save_strategy": "epoch",
    "scale_rewards": "batch",
    "train_sampling_strategy": "group_by_length",
    "vllm_importance_sampling_cap": 4.0,
    "vllm_importance_sampling_clip_max": 4.0,
    "vllm_importance_sampling_mode": "token_truncate",
    "vllm_mode": "server",
    "vllm_model_impl": "transformers",
}
"""Values that another than a changed default must be given for."""

LOSSES = {"sft": "dft", "rl": "sapo", "dpo": ["hinge"]}

COMPANIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("", "dataloader_persistent_workers"): {"dataloader_num_workers": 1},
    ("", "dataloader_prefetch_factor"): {"dataloader_num_workers": 1},
    ("", "fp16"): {"bf16": False},
    ("", "fp16_full_eval"): {},
    ("", "lr_scheduler_kwargs"): {"lr_scheduler_type": "cosine_with_restarts"},
    ("dpo", "loss_weights"): {"loss_type": ["sigmoid"]},
    ("dpo", "label_smoothing"): {"loss_type": ["robust"]},
    ("dpo", "discopop_tau"): {"loss_type": ["discopop"]},
}
"""What must be set beside an argument for TRL to take it."""

TRAINING: dict[tuple[str, str], dict[str, Any]] = {
    ("sft", "padding_free"): {"packing": True},
    **{
        ("rl", name): {"beta": 0.1}
        for name in (
            "sync_ref_model",
            "ref_model_mixup_alpha",
            "ref_model_sync_steps",
            "use_bias_correction_kl",
        )
    },
}

ALONE = {
    *(name for _, name in [*COMPANIONS, *TRAINING]),
    "generation_batch_size",
    "steps_per_generation",
    "num_generations",
}
"""Arguments that cannot be given beside all others."""

ELSEWHERE = {
    "ddp_backend": "needs processes",
    "fsdp": "needs processes",
    "fsdp_config": "needs processes",
    "deepspeed": "needs the package deepspeed",
    "parallelism_config": "needs processes",
    "tf32": "needs a GPU with TF32",
    "use_cpu": "has one value where there is no GPU",
}
"""Arguments that cannot be given on a CPU machine."""


def arguments_of(kind: str) -> Any:
    return job_kind(kind).part("arguments")


def fields(kind: str) -> dict[str, dataclasses.Field[Any]]:
    return {one.name: one for one in dataclasses.fields(job_kind(kind).part("trl_config")) if one.init}


def another(kind: str, name: str) -> Any:
    """A value that is not the default."""
    if name == "loss_type":
        return LOSSES[kind]
    if name in VALUES:
        return VALUES[name]
    field = fields(kind)[name]
    default = field.default
    if isinstance(default, bool) or (default is None and "bool" in str(field.type)):
        return not default
    if isinstance(default, int):
        return default + 1 if default else 2
    if isinstance(default, float):
        return default / 2 if default else 0.25
    if default is None or isinstance(default, str):
        return 0.5 if "float" in str(field.type) else 2 if "int" in str(field.type) else "other"
    return default


def configuration(kind: str, names: Iterable[str]) -> Config:
    """Arguments with all that they need."""
    trl: dict[str, Any] = {}
    training: dict[str, Any] = {"eval_steps": 2, "save_steps": 2, "batch_size": 8}
    for name in names:
        trl |= COMPANIONS.get((kind, name), COMPANIONS.get(("", name), {}))
        training |= TRAINING.get((kind, name), {})
        for needed in arguments_of(kind).needs.get(name, ())[:1]:
            section, _, other = needed.partition(".")
            if section == "trl":
                trl.setdefault(other, another(kind, other))
            elif other == "packing":
                training[other] = True
    trl |= {name: another(kind, name) for name in names}
    return parse_config({"model": {"name": "m"}, "training": training, "trl": trl})


def default(kind: str, name: str) -> Any:
    field = fields(kind)[name]
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def built(kind: str, given: Config, folder: Any) -> Any:
    from tenyson.jobs.trainers import arguments, dpo_arguments
    from tenyson.jobs.trainers.training import build_arguments

    makers = {
        "sft": lambda: arguments.sft_arguments(given, folder),
        "rl": lambda: arguments.grpo_arguments(given, folder, vllm=False),
        "dpo": lambda: dpo_arguments.dpo_arguments(given, folder),
    }
    return build_arguments(job_kind(kind).part("trl_config"), makers[kind](), given, job_kind(kind))


def plain(found: Any, value: Any) -> Any:
    """What transformers has made of a value, as it was written."""
    if isinstance(value, dict):
        held = found if isinstance(found, dict) else vars(found)
        return {name: held.get(name) for name in value}
    if isinstance(value, list) and found and not isinstance(found[0], float):
        return [getattr(one, "value", one) for one in found]
    return getattr(found, "value", found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_that_acts_reaches_the_trainer(kind, tmp_path):
    """As it was given, beside all that Tenyson sets itself."""
    names = sorted(arguments_of(kind).honoured - ELSEWHERE.keys())
    alone = [name for name in names if name in ALONE or name in arguments_of(kind).needs]
    lost = {}
    for group in ([name for name in names if name not in alone], *([name] for name in alone)):
        made = built(kind, configuration(kind, group), tmp_path)
        for name in group:
            value = another(kind, name)
            assert value != fields(kind)[name].default, f"the test would pass without {name}"
            if plain(getattr(made, name), value) != value:
                lost[name] = (value, getattr(made, name))
    assert lost == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_that_would_not_act_is_refused_with_a_key_that_exists(kind):
    """Also with its default value: who writes it expects something of it."""
    table = arguments_of(kind).refused | {
        name: ("is set by Tenyson itself", f"use {key}")
        for name, key in OWNED["trl"].items()
        if name in fields(kind)
    }
    given = parse_config({"model": {"name": "m"}, "trl": {name: default(kind, name) for name in table}})
    with pytest.raises(ConfigError) as caught:
        check_passthrough(given, job_kind(kind))
    told = {problem.key: (problem.cause, problem.suggestion or "") for problem in caught.value.problems}
    assert told == {f"trl.{name}": words for name, words in table.items()}
    known = {".".join(path) for path, _ in keys(Config)}
    sections = "|".join(sorted({key.partition(".")[0] for key in known}))
    named = {key for _, use in table.values() for key in re.findall(rf"\b(?:{sections})\.[a-z_]+", use)}
    assert {key for key in named if not key.startswith("trl.")} <= known
    assert "model.attn_implementation" in named or kind != "sft"
