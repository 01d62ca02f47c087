"""The outline: a model without its weights, on torch's meta device, to see what fits it before anything is loaded.

Imports torch: import this module only inside a job or an examination.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tenyson.config.checks.load_arguments import attributes
from tenyson.jobs.models.model import ModelSource


@lru_cache(maxsize=2)
def outline(source: ModelSource, *, trust_remote_code: bool = False, attention: str | None = None) -> Any:
    """The modules of a model with their shapes; takes a second and no memory.

    Raises: whatever transformers raises of a configuration that it cannot build.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(
        source.path,
        revision=source.revision,
        trust_remote_code=trust_remote_code,
        **attributes(source.load_args),
    )
    arguments = {"attn_implementation": attention} if attention else {}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code, **arguments)


def try_outline(source: ModelSource, *, trust_remote_code: bool = False) -> Any | None:
    """The same; None where it cannot be built: loading the model will say why."""
    try:
        return outline(source, trust_remote_code=trust_remote_code)
    except Exception:
        return None


def embedded_tokens(model: Any) -> int | None:
    """Ids that the model has embeddings for."""
    embeddings = model.get_input_embeddings()
    number = getattr(embeddings, "num_embeddings", None)
    return number if isinstance(number, int) else None


def learnt_positions(model: Any) -> int | None:
    """Tokens that a model with learnt positions, such as GPT-2, can read: at the next one it fails. None for other models."""
    from torch.nn import Embedding

    longest = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        place = name.rpartition(".")[2]
        if (
            isinstance(module, Embedding)
            and ("wpe" in place or "position" in place)
            and isinstance(longest, int)
        ):
            return longest
    return None
