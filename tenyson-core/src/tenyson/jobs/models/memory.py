"""The memory estimate: what a job needs on its accelerator, part by part, from a model's dimensions and a configuration.

An estimate by arithmetic, before anything is loaded. Notation: P parameters, T trainable ones; L layers; h hidden
size; q, kv the widths of queries and of keys or values; i the width of the MLP; V the vocabulary; n tokens at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tenyson.config.checks.quantization import bytes_each, method_of, quantization_of
from tenyson.jobs.models.dims import Dims
from tenyson.plugins.job_kinds import job_kind

GIB = 2**30
QUEUED = 16
"""vLLM queues what finds no room in its cache; with room for fewer whole sequences than this it gets slow."""

VLLM_SHARE = 0.3
"""The fraction of the card that TRL gives to vLLM beside the training (`trl.vllm_gpu_memory_utilization`)."""

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Facts:
    """What is known of a job beside its configuration; None where it is not."""

    row: int | None = None
    """SFT: tokens of the longest row, before it is cut."""
    prompt: int | None = None
    """RL and evaluation: tokens of the longest prompt."""
    turns: int = 1
    """RL and evaluation: replies of one conversation at most."""
    context: int | None = None
    """Tokens that the model can read at once."""
    engine: str | None = None
    """What `generation.engine` comes to on the machine that the job is for."""
    on_cpu: bool = False
    """Whether that machine is known to have no GPU."""
    card: int | None = None
    """Bytes of that machine's accelerator."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device, by part, each with its arithmetic in words."""

    parts: Mapping[str, tuple[int, str]]
    fault: str = ""
    """What cannot work however much memory is free."""

    @property
    def total(self) -> int:
        """All parts together, in bytes."""
        return sum(size for size, _ in self.parts.values())

    def __str__(self) -> str:
        return f"about {self.total / GIB:.1f} GiB"


NOTHING = Facts()


def estimate_memory(
    dims: Dims, job: str, config: Mapping[str, Any], facts: Facts = NOTHING
) -> MemoryEstimate:
    """What one job needs on one device, from a resolved configuration as plain data, by its kind's memory model.

    The optimizer is AdamW: two float32 moments for each trainable parameter. Activations are what one layer keeps
    for its backward pass (inputs of the linear maps, queries, keys, values, attention's output, and the MLP's three
    intermediate products); with gradient checkpointing each layer keeps its input and one layer is whole. Logits
    are counted twice in float32: themselves and their gradient. What generates takes its share beside all of that:
    transformers the keys and values of all completions that are generated at once, vLLM what it is given of the card.
    """
    model: MemoryModel = job_kind(job).part("memory") or sft_memory
    return model(dims, config, facts)


MemoryModel = Callable[[Dims, Mapping[str, Any], Facts], MemoryEstimate]
"""The memory model of a kind of job."""


def sft_memory(dims: Dims, config: Mapping[str, Any], facts: Facts) -> MemoryEstimate:
    """Training on rows of at most `training.max_length` tokens."""
    training = config["training"]
    longest = int(training["max_length"] or facts.row or 1024)
    # Packing fills rows up; otherwise a batch is as wide as its longest row.
    row = longest if training["packing"] else min(longest, facts.row or longest)
    return MemoryEstimate(training_parts(dims, config, training["batch_size"] * row))


def eval_memory(dims: Dims, config: Mapping[str, Any], facts: Facts) -> MemoryEstimate:
    """Weights, and keys and values of the conversations that an engine plays at once."""
    width = _width(config, trains=False)
    at_once = config["evaluation"]["batch_size"]
    # Where `auto` is not resolved, what needs more: keys and values of a whole batch.
    if _engine(config, facts) == "vllm":
        at_once = min(at_once, QUEUED)
    cache = _cache(dims, at_once * _conversation(config, facts), width)
    return MemoryEstimate({"weights": _weights(dims, width, config), "KV cache": cache})


def rl_memory(dims: Dims, config: Mapping[str, Any], facts: Facts) -> MemoryEstimate:
    """Training on completions, beside what generates them."""
    training, trl, p = config["training"], config["trl"], dims.parameters
    # Where `auto` is not resolved, what needs more: vLLM's second copy.
    engine, sequence = _engine(config, facts) or "vllm", _conversation(config, facts)
    parts = training_parts(dims, config, training["batch_size"] * sequence, reference=training["beta"] > 0)
    if engine != "vllm":
        parts["KV cache"] = _cache(dims, completions_at_once(config) * sequence, _width(config))
        return MemoryEstimate(parts)
    if facts.on_cpu:
        size = p * _width(config) + GIB
        parts["vLLM"] = (
            size,
            "a second copy of the weights, and 1 GiB of keys and values (VLLM_CPU_KVCACHE_SPACE)",
        )
        return MemoryEstimate(parts)
    if trl.get("vllm_mode", "colocate") != "colocate":
        return MemoryEstimate(parts)
    cache, words = _cache(dims, min(completions_at_once(config), QUEUED) * sequence, 2)
    words = f"a second copy of the weights, and {words}"
    if facts.card is None:
        parts["vLLM"] = (p * 2 + cache, words)
        return MemoryEstimate(parts)
    share = float(trl.get("vllm_gpu_memory_utilization", VLLM_SHARE))
    taken = int(share * facts.card)
    if trl.get("vllm_enable_sleep_mode"):
        # It is awake only while there are neither activations nor logits.
        taken = max(0, taken - parts["activations"][0] - parts["logits"][0])
    parts["vLLM"] = (taken, f"{share:g} of the card (trl.vllm_gpu_memory_utilization): {words}")
    least = p * 2 + _cache(dims, sequence, 2)[0]
    if least > share * facts.card:
        fault = f"of these {share:g} of the card vLLM needs {least / GIB:.1f} GiB for the weights and one sequence alone"
        return MemoryEstimate(parts, fault)
    return MemoryEstimate(parts)


def training_parts(
    dims: Dims, config: Mapping[str, Any], tokens: int, *, reference: bool = False
) -> dict[str, tuple[int, str]]:
    """Weights, gradients, optimizer, activations and logits of a training on `tokens` tokens at once.

    Args:
        reference: a reference model is needed; under an adapter that is the model without it.
    """
    training, width = config["training"], _width(config)
    parts = {"weights": _weights(dims, width, config, trains=True)}
    trainable = trainable_parameters(dims, config)
    parts["gradients"] = (trainable * 4, f"{_count(trainable)} trainable x 4 bytes")
    parts["optimizer"] = (trainable * 8, f"{_count(trainable)} trainable x 8 bytes")
    if reference and not _is_adapted(config):
        parts["reference"] = (dims.parameters * width, "a second copy of the weights for the KL term")
    layer = 4 * dims.hidden + 2 * dims.query + 2 * dims.key_value + 4 * dims.intermediate
    kept = dims.layers * dims.hidden + layer if training["gradient_checkpointing"] else dims.layers * layer
    parts["activations"] = (tokens * kept * 2, f"{tokens} tokens x {kept} values x 2 bytes")
    parts["logits"] = (
        tokens * dims.vocabulary * 8,
        f"{tokens} tokens x {dims.vocabulary} words x 2 x 4 bytes",
    )
    return parts


def trainable_parameters(dims: Dims, config: Mapping[str, Any]) -> int:
    """T: LoRA of rank r on every linear map (8 where the configuration does not say) and whole embeddings, or all of P."""
    if not _is_adapted(config):
        return dims.parameters
    rank = (config.get("peft") or {}).get("r")
    if not isinstance(rank, int):
        rank = 8  # PEFT's default; what is no number it refuses itself
    whole = set((config.get("peft") or {}).get("modules_to_save") or ()) & {"embed_tokens", "lm_head"}
    embeddings = dims.vocabulary * dims.hidden * (min(1, len(whole)) if dims.tied else len(whole))
    return dims.layers * sum(rank * (a + b) for a, b in dims.linear) + embeddings


def engine_limit(engine_args: Mapping[str, Any], trl: Mapping[str, Any]) -> int | None:
    """Tokens that the engine is told to read at most; None where it is not told, or in words of its own such as "8k"."""
    told = engine_args.get("max_model_len") or trl.get("vllm_max_model_length")
    return told if isinstance(told, int) else None


def _is_adapted(config: Mapping[str, Any]) -> bool:
    return config.get("peft") is not None or config["model"].get("adapter") is not None


def _width(config: Mapping[str, Any], *, trains: bool = True) -> int:
    """Bytes of a parameter as it is loaded."""
    return _BYTES.get(config["model"]["dtype"], 4 if trains and not _is_adapted(config) else 2)


def _weights(dims: Dims, width: int, config: Mapping[str, Any], *, trains: bool = False) -> tuple[int, str]:
    given = quantization_of(config["model"].get("load_args") or {})
    if given is None:
        return dims.parameters * width, f"{_count(dims.parameters)} parameters x {width} bytes"
    linear = dims.layers * sum(a * b for a, b in dims.linear)
    rest, each = dims.parameters - linear, bytes_each(given)
    # What stays as it was is made float32 for training (peft.prepare_model_for_kbit_training), but under torchao.
    width = 4 if trains and method_of(given) != "torchao" else width
    words = f"{_count(linear)} quantised x {each:.3g} bytes, {_count(rest)} x {width} bytes"
    return int(linear * each) + rest * width, words


def _conversation(config: Mapping[str, Any], facts: Facts) -> int:
    """Tokens of one conversation at most, as far as is known."""
    told = engine_limit(config.get("engine_args") or {}, config["trl"])
    limits = [limit for limit in (told, facts.context) if limit]
    reply = int(config["generation"]["max_new_tokens"])
    if facts.prompt is not None:
        # What the environment says between two replies is not known.
        return min([facts.prompt + facts.turns * reply, *limits])
    # A prompt is taken to be as long as a reply where nothing bounds it.
    return told or min([2 * reply, *limits])


def _engine(config: Mapping[str, Any], facts: Facts) -> str | None:
    named = config["generation"]["engine"]
    return facts.engine if named == "auto" else str(named)


def completions_at_once(config: Mapping[str, Any]) -> int:
    """Completions that GRPO has generated together on one device: those of all steps until it generates again."""
    training, trl = config["training"], config["trl"]
    steps = trl.get("steps_per_generation") or training["gradient_accumulation_steps"]
    return int(trl.get("generation_batch_size") or training["batch_size"] * steps)


def _cache(dims: Dims, tokens: int, width: int) -> tuple[int, str]:
    each = 2 * dims.layers * dims.key_value * width
    return tokens * each, f"{tokens} tokens x {each} bytes of keys and values"


def _count(number: int) -> str:
    """Parameters in billions, millions or one by one."""
    if number >= 1e8:
        return f"{number / 1e9:.2f} B"
    return f"{number / 1e6:.1f} M" if number >= 1e5 else f"{number:,}"
