"""Arguments: what a configuration means as keyword arguments of TRL's SFTConfig and GRPOConfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.supported import VLLM_IN_RL
from tenyson.engines.engine import DRAWN

if TYPE_CHECKING:
    from tenyson.config.schema import Config


def load_dtype(config: Config) -> str:
    """Type in which weights are loaded for training.

    `auto` on a GPU: bfloat16 under an adapter; float32 where all weights are trained, since bfloat16 would round
    small updates away (the forward pass runs in bfloat16 by autocast all the same). On a CPU: float32.
    """
    import torch

    if config.model.dtype != "auto":
        return config.model.dtype
    has_adapter = config.peft is not None or config.model.adapter is not None
    return "bfloat16" if torch.cuda.is_available() and has_adapter else "float32"


def common_arguments(config: Config, checkpoints: Path) -> dict[str, Any]:
    """Arguments that SFT and GRPO share. What is None is left to TRL."""
    import torch

    training = config.training
    on_gpu = torch.cuda.is_available()
    arguments: dict[str, Any] = {
        "output_dir": str(checkpoints),
        "seed": config.run.seed,
        "data_seed": config.run.seed,
        "max_steps": training.max_steps or -1,
        "num_train_epochs": training.epochs,
        "lr_scheduler_type": training.lr_scheduler,
        "warmup_steps": training.warmup_steps,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "per_device_train_batch_size": training.batch_size,
        "per_device_eval_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "gradient_checkpointing": training.gradient_checkpointing,
        "logging_steps": training.logging_steps,
        # A run shorter than logging_steps still shows where it began.
        "logging_first_step": True,
        "save_strategy": "steps" if training.save_steps else "no",
        # Retention is ours: transformers would delete by its own names.
        "save_total_limit": None,
        "eval_strategy": "steps" if training.eval_steps else "no",
        "use_cpu": not on_gpu,
        "bf16": (on_gpu and config.model.dtype == "auto") or config.model.dtype == "bfloat16",
        "fp16": config.model.dtype == "float16",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu,
    }
    if training.learning_rate is not None:
        arguments["learning_rate"] = training.learning_rate
    if training.save_steps:
        arguments["save_steps"] = training.save_steps
    if training.eval_steps:
        arguments["eval_steps"] = training.eval_steps
    return arguments


def sft_arguments(config: Config, checkpoints: Path) -> dict[str, Any]:
    """Arguments of trl.SFTConfig; `trl` takes precedence over all of them."""
    training = config.training
    arguments = common_arguments(config, checkpoints) | {
        "max_length": training.max_length,
        "packing": training.packing,
        # Samples arrive as token ids with labels, so TRL has nothing left to prepare but packing.
        "dataset_kwargs": None if training.packing else {"skip_prepare_dataset": True},
    }
    return arguments | early_stopping_arguments(config) | config.trl


def early_stopping_arguments(config: Config) -> dict[str, Any]:
    """Arguments that keep the checkpoint of the lowest eval_loss; none without `training.early_stopping_patience`."""
    if config.training.early_stopping_patience is None:
        return {}
    return {
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "load_best_model_at_end": True,
        "save_strategy": "steps",
        "save_steps": config.training.eval_steps,
        "restore_callback_states_from_checkpoint": True,
    }


def grpo_arguments(config: Config, checkpoints: Path, *, vllm: bool) -> dict[str, Any]:
    """Arguments of trl.GRPOConfig; `trl` takes precedence over all of them."""
    training, generation = config.training, config.generation
    beyond = beyond_trl(config)
    arguments = common_arguments(config, checkpoints) | {
        "num_generations": training.num_generations,
        "beta": training.beta,
        "max_completion_length": generation.max_new_tokens,
        **{name: getattr(generation, name) for name in DRAWN if name not in beyond},
        "use_vllm": vllm,
        "remove_unused_columns": False,
        "chat_template_kwargs": config.model.chat_template_kwargs or None,
    }
    if vllm:
        arguments["vllm_mode"] = "colocate"
        # `trl` and `engine_args` may name one thing; that they agree was checked.
        arguments |= {
            VLLM_IN_RL[name]: value for name, value in config.engine_args.items() if name in VLLM_IN_RL
        }
    return arguments | config.trl


def beyond_trl(config: Config) -> dict[str, Any]:
    """The parameters of sampling that trl.GRPOConfig does not have, as `generation` sets them."""
    from trl import GRPOConfig

    theirs = {one.name for one in fields(GRPOConfig)}
    return {name: getattr(config.generation, name) for name in DRAWN if name not in theirs}


def trl_vllm_kwargs(
    config: Config, given: Mapping[str, Any] | None, stop_token_ids: Sequence[int]
) -> dict[str, Any]:
    """`generation_kwargs` for TRL's own vLLM, which sees neither `generation` nor the model's generation config.

    Args:
        given: the user's, which take precedence over `generation`.
    """
    ends = {"stop_token_ids": list(stop_token_ids), "ignore_eos": True}
    drawn = {name: value for name, value in beyond_trl(config).items() if value != DRAWN[name]}
    return drawn | dict(given or {}) | ends
