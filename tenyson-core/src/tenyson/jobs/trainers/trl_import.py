"""How TRL's trainers are imported: without what a job never uses, and with vLLM only where a job generates with it.

TRL imports W&B and vLLM wherever they are installed: one and three seconds of a process's start on a quiet core.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

WITH_VLLM = ("trl.generation.vllm_client", "trl.generation.vllm_generation")
"""The modules of TRL whose imports depend on whether vLLM is installed, in the order in which they use each other."""


def import_trainer(module: str) -> None:
    """Import a module of `trl.trainer`, such as "sft_trainer". Call it before anything else of TRL is imported."""
    import accelerate.utils
    import peft  # noqa: F401  which makes another module object of transformers
    import transformers

    # TRL's own reports are off (`report_to`); W&B gets what Tenyson's sink sends. Which modules come from which distribution
    # transformers has just looked up, for half a second.
    looked_up = transformers.utils.import_utils.PACKAGE_DISTRIBUTION_MAPPING
    with ExitStack() as replaced:
        for asked in (transformers, transformers.integrations, accelerate.utils):
            replaced.enter_context(_replaced(asked, "is_wandb_available", _is_not_available))
        replaced.enter_context(_replaced(importlib.metadata, "packages_distributions", lambda: looked_up))
        importlib.import_module(f"trl.trainer.{module}")


def import_grpo(*, vllm: bool) -> None:
    """Import TRL's GRPO trainer. A process that did so without vLLM can still do it with vLLM later."""
    if not vllm and not any(name in sys.modules for name in WITH_VLLM):
        import_trainer("base_trainer")
        checks = importlib.import_module("trl.import_utils")
        with _replaced(checks, "is_vllm_available", _is_not_available):
            import_trainer("grpo_trainer")
        return
    import_trainer("grpo_trainer")
    if vllm:
        for name in WITH_VLLM:
            module = sys.modules[name]
            if module.is_vllm_available is _is_not_available:
                # In place, so that the classes that the trainer has imported see vLLM as well.
                importlib.reload(module)


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    real = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, real)


def _is_not_available(min_version: str | None = None) -> bool:  # noqa: ARG001  TRL's signature
    return False
