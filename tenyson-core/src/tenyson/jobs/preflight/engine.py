"""Which engine a job generates with, and whether that can work. RL's must follow a policy that changes at each step."""

from __future__ import annotations

from importlib.util import find_spec

from tenyson.engines.choose import choose_engine
from tenyson.errors import ConfigError, MissingDependencyError
from tenyson.plugins.job_kinds import job_kind
from tenyson.plugins.manager import PluginManager


def require_engine(job: str, requested: str, *, elsewhere: bool = False) -> None:
    """Refuse an engine that RL or an evaluation would refuse when it opens it.

    Args:
        elsewhere: the job is for a machine that has a GPU and vLLM, whatever this one has.

    Raises:
        ConfigError, UnknownPluginError, MissingDependencyError: there is none of that name, or it cannot do that job, or is
            not installed.
    """
    if job_kind(job).trains:
        training_engine(requested, elsewhere=elsewhere)
    elif requested != "auto":
        PluginManager().find("engine", requested)
    if requested == "vllm" and not elsewhere and find_spec("vllm") is None:
        raise MissingDependencyError(
            "vllm", needed_for="generation.engine: vllm", install="tenyson-core[vllm]"
        )


def resolve_engine(job: str, requested: str, model: str, *, elsewhere: bool) -> str | None:
    """What `generation.engine` comes to; None where another machine decides, or the job refuses it."""
    if job_kind(job).trains:
        try:
            return training_engine(requested, elsewhere=elsewhere)[0]
        except ConfigError:
            return None
    return None if elsewhere and requested == "auto" else choose_engine(requested, model).name


def training_engine(requested: str, *, elsewhere: bool = False) -> tuple[str, str]:
    """Resolve `generation.engine` for RL: the engine's name, and why it was taken.

    Args:
        elsewhere: judge for a machine that has a GPU and vLLM, whatever this one has.

    Raises:
        ConfigError: the engine cannot follow the policy, here or anywhere.
    """
    if requested not in ("auto", "vllm", "transformers"):
        raise ConfigError(
            f"generation.engine: {requested} cannot follow a policy that changes at each step",
            next_step="Use auto, vllm or transformers for RL.",
        )
    if requested == "transformers":
        return requested, "the configuration names it"
    on_gpu = elsewhere or _on_gpu()
    if requested == "vllm" and not on_gpu:
        raise ConfigError(
            "generation.engine: vllm cannot take new weights on a CPU, so RL cannot use it there",
            next_step="Use generation.engine: transformers (or auto).",
        )
    if requested == "vllm":
        return requested, "the configuration names it"
    if not on_gpu:
        return "transformers", "vLLM cannot take new weights on a CPU"
    if not elsewhere and find_spec("vllm") is None:
        return "transformers", "vllm is not installed"
    return "vllm", "it is installed, and there is a GPU"


def _on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
