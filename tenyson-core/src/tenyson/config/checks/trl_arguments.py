"""For each argument of TRL's configurations whether it acts in Tenyson, and what to use where it does not.

No argument is taken without effect. tests/config/test_supported.py fails when the installed TRL has an argument that the
tables of a kind of job do not name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tenyson.config.checks.impossible import rl_values, sft_values

if TYPE_CHECKING:
    from tenyson.config.document import Document
    from tenyson.config.schema import Config
    from tenyson.errors import Problem

Refused = dict[str, tuple[str, str]]
"""By argument: why it is refused, and what to use instead."""


@dataclass(frozen=True, kw_only=True)
class TrlArguments:
    """What becomes of the arguments of one TRL configuration."""

    honoured: Set[str]
    """Arguments that act."""
    refused: Mapping[str, tuple[str, str]]
    """Arguments that are refused."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Honoured arguments that act only where one of these keys is set."""
    losses: tuple[str, ...] = ()
    """Values of `loss_type`, which TRL looks at in the first step; empty: any."""
    decisive: Mapping[str, str] = field(default_factory=dict)
    """Arguments beside those in `tenyson.jobs.checkpoints.same_training` that decide how the trained state changes, with
    the key of each: a resume with another value is refused."""
    impossible: Callable[[Config, Document], Iterable[Problem]] | None = None
    """Finds values that cannot work together, before a model is loaded."""


_TRAINER = """
accelerator_config adam_beta1 adam_beta2 adam_epsilon average_tokens_across_devices bf16 bf16_full_eval dataloader_drop_last
dataloader_in_order dataloader_multiprocessing_context dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory
dataloader_prefetch_factor ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph
ddp_timeout debug deepspeed disable_tqdm eval_delay eval_on_start eval_strategy fp16 fp16_full_eval fsdp fsdp_config
full_determinism gradient_accumulation_steps gradient_checkpointing gradient_checkpointing_kwargs greater_is_better
ignore_data_skip include_num_input_tokens_seen learning_rate liger_kernel_config load_best_model_at_end log_level
log_level_replica log_on_each_node logging_first_step logging_nan_inf_filter logging_steps logging_strategy loss_type
lr_scheduler_kwargs lr_scheduler_type max_grad_norm max_steps metric_for_best_model neftune_noise_alpha num_train_epochs optim
optim_args optim_target_modules pad_to_multiple_of parallelism_config per_device_eval_batch_size per_device_train_batch_size
restore_callback_states_from_checkpoint router_aux_loss_coef save_on_each_node save_strategy shuffle_dataset skip_memory_metrics
tf32 torch_compile torch_compile_backend torch_compile_mode torch_empty_cache_steps use_cache use_cpu use_liger_kernel
warmup_steps weight_decay
"""
TRAINER = frozenset(_TRAINER.split())
"""Arguments of transformers' Trainer that act in every training."""

_PREDICTIONS = "means nothing here: it is about predictions that are collected, and training's evaluation collects its loss alone"
_TOKENIZER = (
    "would change the tokenizer that is saved with the trained model, which its own evaluation then refuses"
)
_LOADED = "means nothing here: Tenyson loads the model itself"
_ROWS = "means nothing here: rows reach TRL as token ids"
_LOSS = "means nothing here: the assistant's messages alone carry loss, by Tenyson's own mask"
_ROLLOUTS = "means nothing here: rollouts are played by Tenyson, which batches them itself"

TRAINER_REFUSED: Refused = {
    "do_train": ("means nothing here: a job trains", ""),
    "do_eval": ("means nothing here", "use training.eval_steps"),
    "do_predict": ("means nothing here", "run an evaluation job"),
    "batch_eval_metrics": (_PREDICTIONS, ""),
    "eval_accumulation_steps": (_PREDICTIONS, ""),
    "eval_do_concat_batches": (_PREDICTIONS, ""),
    "eval_use_gather_object": (_PREDICTIONS, ""),
    "include_for_metrics": (_PREDICTIONS, ""),
    "prediction_loss_only": (_PREDICTIONS, ""),
    "label_names": (_ROWS, ""),
    "length_column_name": (_ROWS, ""),
    "remove_unused_columns": ("means nothing here: the columns are Tenyson's own", ""),
    "enable_jit_checkpoint": ("means nothing here: a stop writes a checkpoint at the end of its step", ""),
    "save_only_model": (
        "means nothing here: a checkpoint holds all that a resume needs",
        "use hub or the result's model/",
    ),
    "hub_revision": ("means nothing here: Tenyson pushes itself", "use hub.repo_id"),
    "local_rank": ("is set by torchrun", ""),
    "model_init_kwargs": (_LOADED, "use model.load_args, model.dtype or model.attn_implementation"),
    "project": ("means nothing here: trackers are sinks", "use telemetry.sinks or wandb.project"),
    "trackio_bucket_id": ("means nothing here: trackers are sinks", "use telemetry.sinks"),
    "trackio_space_id": ("means nothing here: trackers are sinks", "use telemetry.sinks"),
    "trackio_static_space_id": ("means nothing here: trackers are sinks", "use telemetry.sinks"),
}
"""Arguments of transformers' Trainer that are refused in every training."""

_PACKING = ("training.packing",)
_EVALUATION = ("training.eval_steps",)
_BEST = ("trl.load_best_model_at_end", "training.early_stopping_patience")
TRAINER_NEEDS: dict[str, tuple[str, ...]] = {
    "eval_delay": _EVALUATION,
    "load_best_model_at_end": _EVALUATION,
    "metric_for_best_model": _BEST,
    "greater_is_better": _BEST,
    "liger_kernel_config": ("trl.use_liger_kernel",),
    "optim_args": ("trl.optim",),
}
"""Arguments of transformers' Trainer that act only where one of these keys is set."""

_SFT = """
activation_offloading auto_find_batch_size dataset_num_proc eval_packing
label_smoothing_factor packing_strategy padding_free train_sampling_strategy
"""

SFT = TrlArguments(
    honoured=TRAINER | frozenset(_SFT.split()),
    refused=TRAINER_REFUSED
    | {
        "chat_template_path": (_TOKENIZER, "save a tokenizer with that template beside the model"),
        "eos_token": (_TOKENIZER, "save a tokenizer with that token beside the model"),
        "pad_token": (_TOKENIZER, "save a tokenizer with that token beside the model"),
        "assistant_only_loss": (_LOSS, ""),
        "completion_only_loss": (_LOSS, ""),
        "dataset_kwargs": (_ROWS, ""),
        "dataset_text_field": (_ROWS, ""),
        "truncation_mode": ("means nothing here: longer rows lose their end", "use training.max_length"),
    },
    needs=TRAINER_NEEDS
    | {
        "dataset_num_proc": _PACKING,
        "eval_packing": _PACKING,
        "packing_strategy": _PACKING,
        "shuffle_dataset": _PACKING,
    },
    losses=("nll", "dft", "chunked_nll"),
    impossible=sft_values,
)
"""Of trl.SFTConfig."""

_GRPO = """
beta cache_implementation cast_lm_head_to_fp32 delta disable_dropout ds3_gather_for_generation entropy_coef
entropy_coef_delta entropy_coef_max entropy_coef_min entropy_target epsilon epsilon_high generation_batch_size
generation_kwargs importance_sampling_level log_completions log_completions_hub_repo
mask_truncated_completions max_completion_length min_p multi_objective_aggregation num_completions_to_print
num_generations num_generations_eval num_iterations off_policy_mask_threshold ref_model_mixup_alpha
ref_model_sync_steps repetition_penalty reward_weights sapo_temperature_neg sapo_temperature_pos scale_rewards
steps_per_generation sync_ref_model temperature top_entropy_quantile top_k top_p use_adaptive_entropy
use_bias_correction_kl vespo_k_neg vespo_k_pos vespo_lambda_neg vespo_lambda_pos vllm_enable_sleep_mode
vllm_gpu_memory_utilization vllm_group_port vllm_importance_sampling_cap vllm_importance_sampling_clip_max
vllm_importance_sampling_clip_min vllm_importance_sampling_correction vllm_importance_sampling_mode
vllm_max_model_length vllm_mode vllm_model_impl vllm_server_base_url vllm_server_host vllm_server_port
vllm_server_timeout vllm_structured_outputs_regex vllm_tensor_parallel_size
"""

GRPO = TrlArguments(
    honoured=TRAINER | frozenset(_GRPO.split()),
    refused=TRAINER_REFUSED
    | {
        "auto_find_batch_size": ("is refused by TRL's GRPOTrainer", "use training.batch_size"),
        "label_smoothing_factor": ("means nothing here: GRPO has no labels", ""),
        "train_sampling_strategy": (
            "means nothing here: GRPO draws prompts in groups",
            "use trl.shuffle_dataset",
        ),
        "max_tool_calling_iterations": (_ROLLOUTS, "use generation.max_turns"),
        "log_unique_prompts": (
            "means nothing here: it is about tables of TRL's own trackers",
            "use telemetry.sinks, which get every rollout",
        ),
        "log_multimodal": ("means nothing here: rollouts are text", ""),
        "use_transformers_continuous_batching": (_ROLLOUTS, "use generation.engine"),
        "use_transformers_paged": (_ROLLOUTS, "use generation.engine"),
        "transformers_continuous_batching_config": (_ROLLOUTS, "use generation.engine"),
    },
    needs=TRAINER_NEEDS
    | {
        "num_generations_eval": _EVALUATION,
        "ref_model_mixup_alpha": ("trl.sync_ref_model",),
        "ref_model_sync_steps": ("trl.sync_ref_model",),
        "log_completions_hub_repo": ("trl.log_completions",),
        "num_completions_to_print": ("trl.log_completions",),
        "entropy_coef_delta": ("trl.use_adaptive_entropy",),
        "entropy_coef_max": ("trl.use_adaptive_entropy",),
        "entropy_coef_min": ("trl.use_adaptive_entropy",),
        "entropy_target": ("trl.use_adaptive_entropy",),
        "use_bias_correction_kl": ("training.beta", "trl.beta"),
        "sapo_temperature_neg": ("trl.loss_type",),
        "sapo_temperature_pos": ("trl.loss_type",),
        "vespo_k_neg": ("trl.loss_type",),
        "vespo_k_pos": ("trl.loss_type",),
        "vespo_lambda_neg": ("trl.loss_type",),
        "vespo_lambda_pos": ("trl.loss_type",),
        "vllm_server_base_url": ("trl.vllm_mode",),
        "vllm_server_host": ("trl.vllm_mode",),
        "vllm_server_port": ("trl.vllm_mode",),
        "vllm_server_timeout": ("trl.vllm_mode",),
        "vllm_group_port": ("trl.vllm_mode",),
    },
    losses=("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"),
    impossible=rl_values,
)
"""Of trl.GRPOConfig."""
