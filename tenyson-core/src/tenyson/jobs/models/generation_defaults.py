"""Generation defaults: what a checkpoint's own generation config asks for, which no engine takes by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tenyson.engines.engine import DRAWN

if TYPE_CHECKING:
    from tenyson.jobs.job import JobContext
    from tenyson.jobs.models.model import ModelSource

KEYS = {name: f"generation.{name}" for name in (*DRAWN, "max_new_tokens")}
"""Parameters that every engine has, and their keys in a configuration."""

_OFF_AT_ONE = {
    "typical_p",
    "top_h",
    "num_beams",
    "num_beam_groups",
    "length_penalty",
    "encoder_repetition_penalty",
    "guidance_scale",
    "num_return_sequences",
}
_NOT_A_CHOICE = {
    "do_sample",
    "max_length",
    "eos_token_id",
    "pad_token_id",
    "bos_token_id",
    "decoder_start_token_id",
    "transformers_version",
    "use_cache",
    "cache_implementation",
    "disable_compile",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
}
"""Ids, lengths, speed and what `generate` returns: nothing that makes one token likelier than another."""


def say_defaults(
    context: JobContext, source: ModelSource, engine: str, taken: Mapping[str, Any]
) -> dict[str, Any]:
    """Say once what the checkpoint asks for and this job does not do, and how to take it; returns that.

    Args:
        taken: what the job does, by the names of transformers' GenerationConfig.
    """
    unheeded = {
        name: value
        for name, value in checkpoint_defaults(source).items()
        if taken.get(name) != value
        # Greedy decoding chooses the likeliest token, whatever is left out beside it.
        and not (name in ("top_p", "top_k", "min_p") and taken.get("temperature") == 0)
    }
    if not unheeded:
        return {}
    asked = ", ".join(f"{name}={value}" for name, value in unheeded.items())
    keys = [f"{KEYS[name]}: {value}" for name, value in unheeded.items() if name in KEYS]
    if others := [name for name in unheeded if name not in KEYS]:
        where = "" if engine == "transformers" else " with generation.engine: transformers"
        keys.append(f"{', '.join(others)} under engine_args{where}")
    context.say(
        f"the checkpoint's generation config asks for {asked}; only the configuration decides how tokens are drawn, so that "
        f"has no effect here. To take it, set {'; '.join(keys)}",
        "warning",
    )
    return unheeded


def checkpoint_defaults(source: ModelSource) -> dict[str, Any]:
    """Parameters of a checkpoint's generation config that would change which tokens are drawn."""
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(source.path, revision=source.revision)
    except (OSError, ValueError):
        return {}
    found: dict[str, Any] = json.loads(config.to_json_string())
    return {
        name: value
        for name, value in found.items()
        if name not in _NOT_A_CHOICE
        and not name.startswith("_")
        and value
        and not (name in _OFF_AT_ONE and value == 1)
    }


def taken_by(sampling: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a job does: its sampling, and the arguments of its engine beyond that."""
    return {name: getattr(sampling, name) for name in KEYS} | dict(arguments)
