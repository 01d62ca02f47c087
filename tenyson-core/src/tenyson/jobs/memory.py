"""The memory estimate: what a job needs on its accelerator, part by part, from a model's shape and a configuration.

An estimate by arithmetic, before anything is loaded. Notation: P parameters, T trainable ones; L layers; h hidden
size; q, kv the widths of queries and of keys or values; i the width of the MLP; V the vocabulary; n tokens at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenyson.jobs.shape import Shape
from tenyson.tasks.preset import JobType

GIB = 2**30
QUEUED = 16
"""vLLM queues what finds no room in its cache; with room for fewer whole sequences than this it gets slow."""

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Facts:
    """What is known of a job beside its configuration; None where it is not."""

    row: int | None = None
    """SFT: tokens of the longest row, before it is cut."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device, by part, each with its arithmetic in words."""

    parts: Mapping[str, tuple[int, str]]

    @property
    def total(self) -> int:
        """All parts together, in bytes."""
        return sum(size for size, _ in self.parts.values())

    def __str__(self) -> str:
        return f"about {self.total / GIB:.1f} GiB"


NOTHING = Facts()


def estimate_memory(
    shape: Shape, job: JobType, config: Mapping[str, Any], facts: Facts = NOTHING
) -> MemoryEstimate:
    """What one job needs on one device, from a resolved configuration as plain data.

    The optimizer is AdamW: two float32 moments for each trainable parameter. Activations are what one layer keeps
    for its backward pass (inputs of the linear maps, queries, keys, values, attention's output, and the MLP's three
    intermediate products); with gradient checkpointing each layer keeps its input and one layer is whole. Logits
    are counted twice in float32: themselves and their gradient.
    """
    training, generation = config["training"], config["generation"]
    adapted = _is_adapted(config)
    dtype = config["model"]["dtype"]
    width = _BYTES.get(dtype, 2 if adapted or job == "eval" else 4)
    p = shape.parameters
    parts = {"weights": (p * width, f"{p / 1e9:.2f} B parameters x {width} bytes")}
    if job == "eval":
        at_once = config["evaluation"]["batch_size"]
        if generation["engine"] == "vllm":
            at_once = min(at_once, QUEUED)
        parts["KV cache"] = _cache(shape, at_once * _sequence(config, job, facts), width)
        return MemoryEstimate(parts)
    trainable = trainable_parameters(shape, config)
    parts["gradients"] = (trainable * 4, f"{trainable / 1e6:.1f} M trainable x 4 bytes")
    parts["optimizer"] = (trainable * 8, f"{trainable / 1e6:.1f} M trainable x 8 bytes")
    if job == "rl" and training["beta"] > 0 and not adapted:
        parts["reference"] = (p * width, "a second copy of the weights for the KL term")
    n = training["batch_size"] * _sequence(config, job, facts)
    layer = 4 * shape.hidden + 2 * shape.query + 2 * shape.key_value + 4 * shape.intermediate
    kept = shape.layers * shape.hidden + layer if training["gradient_checkpointing"] else shape.layers * layer
    parts["activations"] = (n * kept * 2, f"{n} tokens x {kept} values x 2 bytes")
    parts["logits"] = (n * shape.vocabulary * 8, f"{n} tokens x {shape.vocabulary} words x 2 x 4 bytes")
    if job == "rl" and generation["engine"] != "vllm":
        parts["KV cache"] = _cache(shape, n, width)
    elif job == "rl":
        batch = training["batch_size"] * training["gradient_accumulation_steps"]
        cache, words = _cache(shape, min(batch, QUEUED) * _sequence(config, job, facts), 2)
        parts["vLLM"] = (p * 2 + cache, f"a second copy of the weights, and {words}")
    return MemoryEstimate(parts)


def trainable_parameters(shape: Shape, config: Mapping[str, Any]) -> int:
    """T: LoRA of rank r on every linear map (8 where the configuration does not say), or all of P."""
    if not _is_adapted(config):
        return shape.parameters
    rank = int((config.get("peft") or {}).get("r", 8))
    return shape.layers * sum(rank * (a + b) for a, b in shape.linear)


def _is_adapted(config: Mapping[str, Any]) -> bool:
    return config.get("peft") is not None or config["model"].get("adapter") is not None


def _sequence(config: Mapping[str, Any], job: JobType, facts: Facts) -> int:
    """Tokens of one sequence at most, as far as is known."""
    if job == "sft":
        training = config["training"]
        longest = int(training["max_length"] or facts.row or 1024)
        # Packing fills rows up; otherwise a batch is as wide as its longest row.
        return longest if training["packing"] else min(longest, facts.row or longest)
    told = (config.get("engine_args") or {}).get("max_model_len") or config["trl"].get(
        "vllm_max_model_length"
    )
    # A prompt is taken to be as long as a reply where nothing bounds it.
    return int(told or 2 * config["generation"]["max_new_tokens"])


def _cache(shape: Shape, tokens: int, width: int) -> tuple[int, str]:
    each = 2 * shape.layers * shape.key_value * width
    return tokens * each, f"{tokens} tokens x {each} bytes of keys and values"
