"""Supported: for each argument of TRL and PEFT whether Tenyson honours it, and what to use where it does not.

No argument is taken without effect. tests/config/test_supported.py fails when the installed libraries have an argument that no
table here names.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

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

_LORA = """
r target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora modules_to_save
init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern trainable_token_indices loftq_config
use_dora velora_config alora_invocation_tokens monteclora_config layer_replication runtime_config lora_bias
target_parameters use_bdlora arrow_config kasa_config ensure_weight_tying task_type
"""

HONOURED: Mapping[str, Set[str]] = {
    "sft": frozenset(
        f"""{_TRAINER} activation_offloading assistant_only_loss auto_find_batch_size dataset_num_proc eval_packing
        label_smoothing_factor packing_strategy padding_free train_sampling_strategy""".split()
    ),
    "rl": frozenset(
        f"""{_TRAINER} beta cache_implementation cast_lm_head_to_fp32 delta disable_dropout ds3_gather_for_generation entropy_coef
        entropy_coef_delta entropy_coef_max entropy_coef_min entropy_target epsilon epsilon_high generation_batch_size
        generation_kwargs importance_sampling_level log_completions log_completions_hub_repo log_unique_prompts
        mask_truncated_completions max_completion_length min_p multi_objective_aggregation num_completions_to_print
        num_generations num_generations_eval num_iterations off_policy_mask_threshold ref_model_mixup_alpha ref_model_sync_steps
        repetition_penalty reward_weights sapo_temperature_neg sapo_temperature_pos scale_rewards steps_per_generation
        sync_ref_model temperature top_entropy_quantile top_k top_p use_adaptive_entropy use_bias_correction_kl vespo_k_neg
        vespo_k_pos vespo_lambda_neg vespo_lambda_pos vllm_enable_sleep_mode vllm_gpu_memory_utilization vllm_group_port
        vllm_importance_sampling_cap vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min
        vllm_importance_sampling_correction vllm_importance_sampling_mode vllm_max_model_length vllm_mode vllm_model_impl
        vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout vllm_structured_outputs_regex
        vllm_tensor_parallel_size""".split()
    ),
    "peft": frozenset(_LORA.split()),
}
"""Arguments that act, in SFT, in RL and on a new adapter."""

_PREDICTIONS = "means nothing here: it is about predictions that are collected, and training's evaluation collects its loss alone"
_TOKENIZER = (
    "would change the tokenizer that is saved with the trained model, which its own evaluation then refuses"
)
_LOADED = "means nothing here: Tenyson loads the model itself"
_ROWS = "means nothing here: rows reach TRL as token ids"
_ROLLOUTS = "means nothing here: rollouts are played by Tenyson, which batches them itself"
_DATA_DRIVEN = "is computed from data before training, which Tenyson does not do"

_TRAINER_REFUSED = {
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
    "model_init_kwargs": (_LOADED, "use model.dtype, model.attn_implementation or model.revision"),
    "project": ("means nothing here: trackers are sinks", "use telemetry.sinks or wandb.project"),
    "trackio_bucket_id": ("means nothing here: trackers are sinks", "use telemetry.sinks"),
    "trackio_space_id": ("means nothing here: trackers are sinks", "use telemetry.sinks"),
    "trackio_static_space_id": ("means nothing here: trackers are sinks", "use telemetry.sinks"),
}

REFUSED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "sft": _TRAINER_REFUSED
    | {
        "chat_template_path": (_TOKENIZER, "save a tokenizer with that template beside the model"),
        "eos_token": (_TOKENIZER, "save a tokenizer with that token beside the model"),
        "pad_token": (_TOKENIZER, "save a tokenizer with that token beside the model"),
        "completion_only_loss": ("means nothing here: the assistant's messages alone carry loss", ""),
        "dataset_kwargs": (_ROWS, ""),
        "dataset_text_field": (_ROWS, ""),
        "truncation_mode": ("means nothing here: longer rows lose their end", "use training.max_length"),
    },
    "rl": _TRAINER_REFUSED
    | {
        "auto_find_batch_size": ("is refused by TRL's GRPOTrainer", "use training.batch_size"),
        "label_smoothing_factor": ("means nothing here: GRPO has no labels", ""),
        "train_sampling_strategy": (
            "means nothing here: GRPO draws prompts in groups",
            "use trl.shuffle_dataset",
        ),
        "max_tool_calling_iterations": (_ROLLOUTS, "use generation.max_turns"),
        "log_multimodal": ("means nothing here: rollouts are text", ""),
        "use_transformers_continuous_batching": (_ROLLOUTS, "use generation.engine"),
        "use_transformers_paged": (_ROLLOUTS, "use generation.engine"),
        "transformers_continuous_batching_config": (_ROLLOUTS, "use generation.engine"),
    },
    "peft": {
        "peft_type": ("is set by Tenyson itself: adapters are LoRA's", ""),
        "auto_mapping": (_LOADED, ""),
        "peft_version": ("is written by PEFT itself", ""),
        "base_model_name_or_path": (_LOADED, "use model.name"),
        "revision": (_LOADED, "use model.revision"),
        "inference_mode": ("would train nothing", ""),
        "megatron_config": ("is for Megatron, which Tenyson does not use", ""),
        "megatron_core": ("is for Megatron, which Tenyson does not use", ""),
        "eva_config": (_DATA_DRIVEN, ""),
        "corda_config": (_DATA_DRIVEN, ""),
        "lora_ga_config": (_DATA_DRIVEN, ""),
        "use_qalora": ("is for quantised models, which Tenyson does not train", ""),
        "qalora_group_size": ("is for quantised models, which Tenyson does not train", ""),
    },
}
"""Arguments that are refused: why, and what to use instead."""

_PACKING = ("training.packing",)
_EVALUATION = ("training.eval_steps",)
_BEST = ("trl.load_best_model_at_end", "training.early_stopping_patience")
_TRAINER_NEEDS = {
    "eval_delay": _EVALUATION,
    "load_best_model_at_end": _EVALUATION,
    "metric_for_best_model": _BEST,
    "greater_is_better": _BEST,
    "liger_kernel_config": ("trl.use_liger_kernel",),
    "optim_args": ("trl.optim",),
}

NEEDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sft": _TRAINER_NEEDS
    | {
        "dataset_num_proc": _PACKING,
        "eval_packing": _PACKING,
        "packing_strategy": _PACKING,
        "shuffle_dataset": _PACKING,
    },
    "rl": _TRAINER_NEEDS
    | {
        "num_generations_eval": _EVALUATION,
        "ref_model_mixup_alpha": ("trl.sync_ref_model",),
        "ref_model_sync_steps": ("trl.sync_ref_model",),
        "log_completions_hub_repo": ("trl.log_completions",),
        "log_unique_prompts": ("trl.log_completions",),
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
    "peft": {"loftq_config": ("peft.init_lora_weights",)},
}
"""Arguments that act only where one of these keys is set."""

VALUES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "peft": {"init_lora_weights": ("eva", "corda", "lora_ga")},
}
"""Values that are refused of arguments that are honoured: they are computed from data before training."""

VLLM_IN_RL = {
    "gpu_memory_utilization": "vllm_gpu_memory_utilization",
    "max_model_len": "vllm_max_model_length",
    "tensor_parallel_size": "vllm_tensor_parallel_size",
    "model_impl": "vllm_model_impl",
    "enable_sleep_mode": "vllm_enable_sleep_mode",
}
"""`engine_args` that RL hands to TRL's vLLM, and TRL's names; TRL takes no others."""

_IDS = "is set by Tenyson itself: a reply ends at the chat template's end of turn"
_RETURNED = "would change what generate returns"
_ENCODER = "means nothing to a model that only decodes"
_ASSISTED = "is for assisted generation, which takes one prompt at a time"
_DEFAULTS = "means nothing here: every parameter of sampling is set"

ENGINE_REFUSED: Mapping[str, tuple[str, str]] = {
    "max_new_tokens": ("is set by Tenyson itself", "use generation.max_new_tokens"),
    "max_length": ("is set by Tenyson itself", "use generation.max_new_tokens"),
    "temperature": ("is set by Tenyson itself", "use generation.temperature"),
    "do_sample": ("is set by Tenyson itself", "use generation.temperature"),
    "top_p": ("is set by Tenyson itself", "use generation.top_p"),
    "top_k": ("is set by Tenyson itself", "use generation.top_k"),
    "num_return_sequences": (
        "is set by Tenyson itself",
        "use evaluation.samples_per_prompt or training.num_generations",
    ),
    "n": ("is set by Tenyson itself", "use training.num_generations"),
    "max_tokens": ("is set by Tenyson itself", "use generation.max_new_tokens"),
    "eos_token_id": (_IDS, ""),
    "pad_token_id": (_IDS, ""),
    "bos_token_id": (_IDS, ""),
    "stop_token_ids": (_IDS, ""),
    "ignore_eos": (_IDS, ""),
    "stop_strings": (_IDS, ""),
    "stop": (_IDS, ""),
    "include_stop_str_in_output": (_IDS, ""),
    "token_healing": ("would rewrite the prompt", ""),
    "logprobs": ("is set by TRL itself", ""),
    "detokenize": ("means nothing here: token ids are read", ""),
    "output_attentions": (_RETURNED, ""),
    "output_hidden_states": (_RETURNED, ""),
    "output_scores": (_RETURNED, ""),
    "output_logits": (_RETURNED, ""),
    "return_dict_in_generate": (_RETURNED, ""),
    "decoder_start_token_id": (_ENCODER, ""),
    "forced_bos_token_id": (_ENCODER, ""),
    "encoder_no_repeat_ngram_size": (_ENCODER, ""),
    "encoder_repetition_penalty": (_ENCODER, ""),
    "is_assistant": (_ASSISTED, ""),
    "num_assistant_tokens": (_ASSISTED, ""),
    "num_assistant_tokens_schedule": (_ASSISTED, ""),
    "assistant_confidence_threshold": (_ASSISTED, ""),
    "prompt_lookup_num_tokens": (_ASSISTED, ""),
    "max_matching_ngram_size": (_ASSISTED, ""),
    "assistant_early_exit": (_ASSISTED, ""),
    "assistant_lookbehind": (_ASSISTED, ""),
    "target_lookbehind": (_ASSISTED, ""),
    "assistant_ensemble_weight": (_ASSISTED, ""),
    "speculation_type": (_ASSISTED, ""),
    "low_memory": ("is no longer part of transformers", ""),
    "penalty_alpha": ("is no longer part of transformers", ""),
    "dola_layers": ("is no longer part of transformers", ""),
    "diversity_penalty": ("is no longer part of transformers", ""),
    "num_beam_groups": ("is no longer part of transformers", ""),
    "constraints": ("is no longer part of transformers", ""),
    "force_words_ids": ("is no longer part of transformers", ""),
    "transformers_version": ("means nothing here", ""),
    "continuous_batching_config": ("means nothing here", ""),
    "generation_config": (_DEFAULTS, "use generation"),
    "override_generation_config": (_DEFAULTS, "use generation"),
}
"""Arguments of `generate`, vllm.LLM and vllm.SamplingParams that are refused under engine_args and trl.generation_kwargs."""
