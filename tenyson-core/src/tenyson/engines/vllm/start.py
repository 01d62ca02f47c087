"""Starting vLLM in this process, on a GPU or with its CPU build."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tenyson.config.checks.load_arguments import attributes, beyond_vllm
from tenyson.engines.engine import EngineSpec
from tenyson.errors import ConfigError, EngineError, MissingDependencyError


def start_vllm(spec: EngineSpec, model: str, dtype: str, **arguments: Any) -> Any:
    """A `vllm.LLM` on a model directory or Hub name; `spec.args` take precedence over `arguments`.

    Raises:
        MissingDependencyError: vllm is not installed.
        ConfigError: it cannot load the model as `model.load_args` says.
        EngineError: vLLM cannot start with this model.
    """
    require_loadable(spec)
    import torch

    on_gpu = torch.cuda.is_available()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if not on_gpu:
        # Its own worker processes take a minute to start on a CPU, and it would take 40% of memory for its cache.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        arguments = {"enforce_eager": True} | arguments
    try:
        import vllm
    except ImportError as error:
        raise MissingDependencyError(
            "vllm", needed_for="generation.engine: vllm", install="tenyson-core[vllm]"
        ) from error
    given = {
        "dtype": dtype,
        "seed": spec.seed,
        "revision": spec.revision,
        "trust_remote_code": spec.trust_remote_code,
        "max_num_seqs": spec.batch_size,
        "disable_log_stats": True,
        # Not the checkpoint's own defaults for sampling: they would hold wherever a parameter is left open.
        "generation_config": "vllm",
    }
    if changed := attributes(spec.load_args):
        given["hf_overrides"] = changed
    try:
        with _process_unchanged():
            return vllm.LLM(model=model, **(given | arguments | spec.args))
    except Exception as error:
        raise EngineError(
            f"vLLM cannot start with {spec.model}: {error}",
            next_step="Set generation.engine: transformers, or change engine_args.",
        ) from error


def require_loadable(spec: EngineSpec) -> None:
    """Refuse load arguments that vLLM would not heed. Raises: ConfigError."""
    if name := beyond_vllm(spec.load_args):
        raise ConfigError(
            f"model.load_args.{name} is for transformers: vLLM would load another model",
            next_step="Use generation.engine: transformers.",
        )


@contextmanager
def _process_unchanged() -> Iterator[None]:
    """vLLM seeds the process's generators, and on a CPU replaces torch.set_num_threads by a function that does nothing."""
    import random

    import numpy
    import torch

    threads = torch.set_num_threads
    states = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads = threads
        random.setstate(states[0])
        numpy.random.set_state(states[1])
