"""Supported: for each argument of PEFT and of the engines whether Tenyson honours it, and what to use where it does not.

TRL's are in `trl_arguments`. No argument is taken without effect: tests/config/test_supported.py fails when the installed
libraries have an argument that no table here names.
"""

from __future__ import annotations

from collections.abc import Mapping

_LORA = """
r target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora modules_to_save
init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern trainable_token_indices loftq_config
use_dora velora_config alora_invocation_tokens monteclora_config layer_replication runtime_config lora_bias
target_parameters use_bdlora arrow_config kasa_config ensure_weight_tying task_type
"""

PEFT_HONOURED = frozenset(_LORA.split())
"""Arguments that act on a new adapter."""

_LOADED = "means nothing here: Tenyson loads the model itself"
_DATA_DRIVEN = "is computed from data before training, which Tenyson does not do"

PEFT_REFUSED: Mapping[str, tuple[str, str]] = {
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
    "use_qalora": ("is for weights quantised by GPTQ, which are not trained here", ""),
    "qalora_group_size": ("is for weights quantised by GPTQ, which are not trained here", ""),
}
"""Arguments that are refused: why, and what to use instead."""

PEFT_NEEDS: Mapping[str, tuple[str, ...]] = {"loftq_config": ("peft.init_lora_weights",)}
"""Arguments that act only where one of these keys is set."""

PEFT_VALUES: Mapping[str, tuple[str, ...]] = {"init_lora_weights": ("eva", "corda", "lora_ga")}
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
