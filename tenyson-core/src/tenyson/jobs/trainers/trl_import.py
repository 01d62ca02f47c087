"""How TRL's GRPO trainer is imported: with vLLM only where a job generates with it.

TRL imports vLLM wherever it is installed, also for a job that generates with transformers: three seconds of a process's
start on a quiet core.
"""

from __future__ import annotations

import importlib
import sys

WITH_VLLM = ("trl.generation.vllm_client", "trl.generation.vllm_generation")
"""The modules of TRL whose imports depend on whether vLLM is installed, in the order in which they use each other."""


def import_grpo(*, vllm: bool) -> None:
    """Import TRL's GRPO trainer. A process that did so without vLLM can still do it with vLLM later."""
    if not vllm and not any(name in sys.modules for name in WITH_VLLM):
        checks = importlib.import_module("trl.import_utils")
        real, checks.is_vllm_available = checks.is_vllm_available, _is_not_available  # type: ignore[attr-defined]
        try:
            importlib.import_module("trl.trainer.grpo_trainer")
        finally:
            checks.is_vllm_available = real  # type: ignore[attr-defined]
        return
    importlib.import_module("trl.trainer.grpo_trainer")
    if vllm:
        for name in WITH_VLLM:
            module = sys.modules[name]
            if module.is_vllm_available is _is_not_available:
                # In place, so that the classes that the trainer has imported see vLLM as well.
                importlib.reload(module)


def _is_not_available(min_version: str | None = None) -> bool:  # noqa: ARG001  TRL's signature
    return False
