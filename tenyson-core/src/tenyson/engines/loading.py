"""Loading: the one place where a model's weights are read, for training and for the engines alike.

Imports torch inside its functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenyson.config.checks.quantization import QUANTIZATION, quantization, quantization_of
from tenyson.engines.weights import require_all_weights


def load_causal_lm(
    path: str,
    *,
    dtype: str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    attn_implementation: str | None = None,
    load_args: Mapping[str, Any] | None = None,
) -> Any:
    """The model of a directory or Hub name, with all of its weights.

    It lies on the CPU, unless it is quantised by bitsandbytes, which puts it on this process's GPU where there is one.

    Args:
        dtype: name of a torch dtype, such as "float32".
        load_args: `model.load_args` of the configuration, checked.

    Raises:
        ModelError: the files lack weights. Whatever transformers raises of files that it cannot read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    arguments = dict(load_args or {})
    if given := quantization_of(arguments):
        arguments[QUANTIZATION] = quantization(given)
    if attn_implementation:
        arguments["attn_implementation"] = attn_implementation
    model, report = AutoModelForCausalLM.from_pretrained(
        path,
        revision=revision,
        dtype=getattr(torch, dtype),
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
        **arguments,
    )
    require_all_weights(report, path)
    for module in model.modules():
        # On a CPU with instructions for bfloat16 bitsandbytes would round its scales to bfloat16 in the first generation, so that
        # a resumed training would not be the same.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def is_quantised(model: Any) -> bool:
    """Whether its linear layers hold quantised weights, which nothing can train or save as they were."""
    return bool(getattr(model, "is_quantized", False))
