"""Which models can continue conversations with kept keys and values, and why others cannot."""

from __future__ import annotations

import inspect
from typing import Any

from transformers.cache_utils import DynamicCache, DynamicLayer

_ATTENTION = ("sdpa", "eager")
_NEEDED = ("input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep")


def why_not(model: Any) -> str | None:
    """Why a model's keys and values cannot be kept between turns; None if they can.

    They can where a token's key and value depend on the tokens before it and on its position alone, and where attention takes
    a mask of any form.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config
    if config.is_encoder_decoder:
        return "the model is an encoder-decoder"
    if config.get_text_config() is not config:
        return "the model reads more than text"
    if getattr(base, "_is_stateful", False):
        return "the model has a recurrent state"
    if not base._supports_default_dynamic_cache():
        return "the model has a cache of its own kind"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"]) - {"full_attention"}
    if kinds:
        return f"the model has layers of {', '.join(sorted(kinds))}"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"attention slides over {config.sliding_window} tokens"
    others = {type(one).__name__ for one in DynamicCache(config=config).layers} - {DynamicLayer.__name__}
    if others:
        return f"the model's cache has layers of {', '.join(sorted(others))}"
    if getattr(config, "alibi", False):
        return "the model takes positions from the padding mask (ALiBi)"
    # A dynamic length makes a rotary embedding depend on the longest conversation of the batch.
    rope = getattr(config, "rope_parameters", None) or {}
    if (kind := rope.get("rope_type", "default")) in ("dynamic", "longrope"):
        return f"its rotary embedding ({kind}) depends on the length of the whole conversation"
    if config._attn_implementation not in _ATTENTION:
        return f"attention is computed by {config._attn_implementation}"
    missing = [name for name in _NEEDED if name not in inspect.signature(base.forward).parameters]
    if missing:
        return f"the model's forward takes no {', '.join(missing)}"
    if any(one.is_prompt_learning for one in getattr(model, "peft_config", {}).values()):
        return "the adapter puts tokens of its own before the prompt"
    if getattr(base, "is_gradient_checkpointing", False) and base.training:
        return "gradient checkpointing is on, which switches caches off"
    if _sharded(model):
        return "its weights are spread over several processes"
    return None


def _sharded(model: Any) -> bool:
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
    from transformers.integrations.fsdp import is_fsdp_managed_module

    return bool(is_deepspeed_zero3_enabled() or is_fsdp_managed_module(model))
