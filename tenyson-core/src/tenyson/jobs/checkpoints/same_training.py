"""The same training: what scales or changes the trained state is compared with what a checkpoint was written under.

A resume with another `lora_alpha` rescales the adapter in one step; with another `learning_rate` the checkpoint's would act in
silence. So a difference is refused by name, or taken on purpose (`training.accept_changes`), applied, and recorded. How long a training
is, what it logs and when it saves may always change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.engines.engine import DRAWN
from tenyson.errors import ModelError
from tenyson.jobs.models.identity import weights_identity
from tenyson.jobs.models.integrity import read_about, read_object
from tenyson.telemetry.events import strict_json

if TYPE_CHECKING:
    from tenyson.config.checks.trl_arguments import TrlArguments
    from tenyson.config.schema import Config
    from tenyson.jobs.job import JobContext
    from tenyson.jobs.models.model import ModelSource
    from tenyson.plugins.job_kind import JobKind

_ARGUMENTS = {
    "learning_rate": "training.learning_rate", "lr_scheduler_type": "training.lr_scheduler",
    "lr_scheduler_kwargs": "trl.lr_scheduler_kwargs", "warmup_steps": "training.warmup_steps",
    "weight_decay": "training.weight_decay", "max_grad_norm": "training.max_grad_norm", "optim": "trl.optim",
    "optim_args": "trl.optim_args", "adam_beta1": "trl.adam_beta1", "adam_beta2": "trl.adam_beta2",
    "adam_epsilon": "trl.adam_epsilon", "per_device_train_batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps", "loss_type": "trl.loss_type",
    "label_smoothing_factor": "trl.label_smoothing_factor", "neftune_noise_alpha": "trl.neftune_noise_alpha",
    # SFT
    "max_length": "training.max_length", "packing": "training.packing", "packing_strategy": "trl.packing_strategy",
    "truncation_mode": "trl.truncation_mode", "padding_free": "trl.padding_free",
    # GRPO
    "num_generations": "training.num_generations", "beta": "training.beta", "num_iterations": "trl.num_iterations",
    "epsilon": "trl.epsilon", "epsilon_high": "trl.epsilon_high", "delta": "trl.delta", "scale_rewards": "trl.scale_rewards",
    "reward_weights": "trl.reward_weights", "multi_objective_aggregation": "trl.multi_objective_aggregation",
    "importance_sampling_level": "trl.importance_sampling_level", "max_completion_length": "generation.max_new_tokens",
    "mask_truncated_completions": "trl.mask_truncated_completions", "top_entropy_quantile": "trl.top_entropy_quantile",
    "off_policy_mask_threshold": "trl.off_policy_mask_threshold", "sync_ref_model": "trl.sync_ref_model",
    "ref_model_mixup_alpha": "trl.ref_model_mixup_alpha", "ref_model_sync_steps": "trl.ref_model_sync_steps",
    "use_bias_correction_kl": "trl.use_bias_correction_kl", "router_aux_loss_coef": "trl.router_aux_loss_coef",
    "max_tool_calling_iterations": "trl.max_tool_calling_iterations", "disable_dropout": "trl.disable_dropout",
    "use_adaptive_entropy": "trl.use_adaptive_entropy", "bf16": "trl.bf16",
} | {name: f"generation.{name}" for name in DRAWN} | {
    name: f"trl.{name}"
    for name in (
        "optim_target_modules", "average_tokens_across_devices", "entropy_coef", "entropy_coef_delta", "entropy_coef_max",
        "entropy_coef_min", "entropy_target", "sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_neg", "vespo_k_pos",
        "vespo_lambda_neg", "vespo_lambda_pos", "vllm_importance_sampling_correction", "vllm_importance_sampling_mode",
        "vllm_importance_sampling_cap", "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min",
    )
}  # fmt: skip
"""Of TRL's arguments, as they act, and the key of each."""
_AS_GIVEN = ("generation_batch_size", "steps_per_generation", "generation_kwargs")
"""Arguments that TRL fills in by the number of processes, and we by the tokenizer."""
_NO_MATTER = frozenset(
    {
        "init_lora_weights", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "auto_mapping",
        "runtime_config", "megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
    }
)  # fmt: skip
"""Of an adapter: how it began, and where it came from."""
_ANOTHER = (
    "job",
    "peft",
    "peft.r",
    "peft.target_modules",
    "peft.modules_to_save",
    "peft.use_dora",
    "peft.bias",
    "trl.optim",
)
"""What no resume can take: the checkpoint's tensors are of other things."""
_OLD = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "bias")
"""What an adapter's own configuration tells of a checkpoint that has no record."""

Changes = dict[str, tuple[Any, Any]]
"""What differs, by key: before and now."""


def training_record(
    config: Config, kind: JobKind, arguments: Any, source: ModelSource, task: str
) -> dict[str, Any]:
    """All that decides how the state changes, by key: what a checkpoint keeps."""
    record: dict[str, Any] = {"job": kind.name, "task": task, "model.dtype": config.model.dtype}
    record["model.load_args"] = _plain(config.model.load_args)
    ruled: TrlArguments | None = kind.part("arguments")
    for name, key in {**_ARGUMENTS, **(ruled.decisive if ruled else {})}.items():
        if hasattr(arguments, name):
            given = f"trl.{name}" if name in config.trl else key
            record[name] = {"key": given, "value": _plain(getattr(arguments, name))}
    for name in _AS_GIVEN:
        record[name] = {"key": f"trl.{name}", "value": _plain(config.trl.get(name))}
    record |= {f"peft.{name}": value for name, value in _adapter(config, source).items()}
    if kind.generates:
        record["generation.max_turns"] = config.generation.max_turns
        record["engine_args"] = _plain(config.engine_args)
        for name in DRAWN:
            if name not in record:  # TRL has no argument for it
                value = _plain(getattr(config.generation, name))
                record[name] = {"key": f"generation.{name}", "value": value}
    else:
        record["training.reasoning"] = config.training.reasoning
    if "peft.r" in record or config.training.beta or kind.reference:
        # All weights come from the checkpoint; under an adapter, and as a reference, the model's own act.
        model = config.model
        built = (
            {"factory": model.factory, "args": model.factory_args, "seed": config.run.seed}
            if model.factory
            else None
        )
        record["model"] = (
            _plain(built) or weights_identity(source.path) or f"{source.path}:{source.revision or ''}"
        )
    return record


def require_same_training(context: JobContext, checkpoint: Path | None, record: Mapping[str, Any]) -> Changes:
    """Refuse a checkpoint of another training; returns the differences that `training.accept_changes` names, and says them.

    Raises:
        ModelError: something differs that is not named there, or that no resume can take.
    """
    if checkpoint is None:
        return {}
    changes = _changes(checkpoint, record)
    accepted = set(context.config.training.accept_changes)
    if another := [key for key in changes if key in _ANOTHER]:
        raise ModelError(
            f"this checkpoint is of another training: {_in_words(changes, another)}",
            place=str(checkpoint),
            next_step="Begin a new run from it: set model.adapter (or model.name, where all weights were trained) to the run "
            "that wrote it, and leave training.resume_from_checkpoint out.",
        )
    if refused := [key for key in changes if key not in accepted]:
        raise ModelError(
            f"this checkpoint was written under other settings: {_in_words(changes, refused)}",
            place=str(checkpoint),
            next_step="Set them as they were, or take the change on purpose: training.accept_changes: "
            f"[{', '.join(sorted(refused))}].",
        )
    if changes:
        context.say(
            f"resuming with other settings, as training.accept_changes says: {_in_words(changes, changes)}",
            "warning",
        )
    return changes


def _changes(checkpoint: Path, record: Mapping[str, Any]) -> Changes:
    before = read_about(checkpoint).get("training")
    if not isinstance(before, dict):
        return _changes_of_old(checkpoint, record)
    found: Changes = {}
    if ("peft.r" in before) != ("peft.r" in record):
        words = {True: "an adapter", False: "all weights"}
        return {"peft": (words["peft.r" in before], words["peft.r" in record])}
    if before.get("job") != record["job"]:
        return {"job": (before.get("job"), record["job"])}
    for name in before.keys() | record.keys():
        was, now = before.get(name), record.get(name)
        key = next((one["key"] for one in (now, was) if isinstance(one, dict) and "key" in one), name)
        was, now = (one["value"] if isinstance(one, dict) and "key" in one else one for one in (was, now))
        if was != now and name in before:  # what an earlier version did not keep is not compared
            found[key] = (was, now)
    return dict(sorted(found.items()))


def _changes_of_old(checkpoint: Path, record: Mapping[str, Any]) -> Changes:
    """Of a checkpoint of an earlier version, or of transformers alone: what its files tell."""
    state, adapter = checkpoint / "rank-0.json", checkpoint / "adapter_config.json"
    if state.is_file() and (was := "rl" if "micro_step" in read_object(state) else "sft") != record["job"]:
        return {"job": (was, record["job"])}
    if not adapter.is_file():
        return {}
    if "peft.r" not in record:
        return {"peft": ("an adapter", "all weights")}
    held = read_object(adapter)
    pairs = {f"peft.{name}": (held[name], record.get(f"peft.{name}")) for name in _OLD if name in held}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _in_words(changes: Changes, keys: Any) -> str:
    return "; ".join(
        f"{key} was {_short(changes[key][0])} and is {_short(changes[key][1])}" for key in sorted(keys)
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _adapter(config: Config, source: ModelSource) -> dict[str, Any]:
    """The adapter's configuration with its defaults; empty where all weights are trained."""
    if source.adapter is not None:
        try:
            held = read_object(Path(source.adapter) / "adapter_config.json")
        except OSError:
            return {}
    else:
        from tenyson.jobs.models.adapter_config import new_adapter

        adapter = new_adapter(config, source)
        if adapter is None:
            return {}
        held = adapter.to_dict()
    return {name: _plain(value) for name, value in held.items() if name not in _NO_MATTER}


def _plain(value: Any) -> Any:
    """As JSON gives it back: names of kinds, sets in order."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, (set, frozenset)):
        value = sorted(map(str, value))
    if isinstance(value, str) and value.endswith("_fused"):
        value = value.removesuffix("_fused")  # the same optimizer, computed otherwise
    return strict_json.restore(json.loads(strict_json.dumps(value, default=strict_json.plain)))
