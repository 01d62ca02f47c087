"""The policy engine of an RL job on this machine, as the configuration asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenyson.errors import ConfigError

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.policy import PolicyEngine
    from tenyson.jobs.models.model import ModelSource

ONLY_ON_GPU = {
    "vllm_gpu_memory_utilization": "gpu_memory_utilization",
    "vllm_tensor_parallel_size": "tensor_parallel_size",
    "vllm_enable_sleep_mode": "enable_sleep_mode",
    "vllm_mode": "",
}
"""Arguments of TRL's vLLM that mean nothing on a CPU, and their names under `engine_args`."""


def require_possible(config: Config) -> None:
    """Refuse what vLLM on a CPU cannot heed. Raises: ConfigError."""
    given = [f"trl.{name}" for name in ONLY_ON_GPU if name in config.trl]
    given += [f"engine_args.{name}" for name in ONLY_ON_GPU.values() if name in config.engine_args]
    if given:
        raise ConfigError(
            f"{', '.join(given)}: no effect with vLLM on a CPU",
            next_step="Remove it, or set generation.engine: transformers.",
        )


def open_policy(config: Config, source: ModelSource, arguments: Any, dtype: str) -> PolicyEngine:
    """vLLM in this process. `arguments`: TRL's.

    Raises:
        EngineError: vLLM cannot start with this model.
    """
    from tenyson.config.checks.supported import VLLM_IN_RL
    from tenyson.engines.engine import EngineSpec
    from tenyson.engines.vllm.policy import VllmPolicy

    given = dict(config.engine_args)
    given |= {name: config.trl[theirs] for name, theirs in VLLM_IN_RL.items() if theirs in config.trl}
    spec = EngineSpec(
        model=source.path,
        revision=source.revision,
        dtype=dtype,
        trust_remote_code=config.model.trust_remote_code,
        seed=config.run.seed,
        batch_size=arguments.generation_batch_size,
        args=given,
    )
    # Their seed, if there is one, is the batch's; each request's follows from it.
    drawn = {name: value for name, value in (arguments.generation_kwargs or {}).items() if name != "seed"}
    return VllmPolicy(spec, **drawn)


def corrects(config: Config, dtype: str) -> bool:
    """Whether the loss corrects for the difference between engine and trainer.

    In float32 they agree to about 1e-5 nats a token, which is checked, so that the ratio is 1 and the pass that computes it
    buys nothing; where either rounds, TRL's default holds.
    """
    asked = config.trl.get("vllm_importance_sampling_correction")
    return dtype != "float32" if asked is None else bool(asked)
