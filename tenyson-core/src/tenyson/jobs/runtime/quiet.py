"""Quiet: keeps the progress bars and known, harmless warnings of the training libraries out of a job's log."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from importlib.util import find_spec

from tenyson.errors import MissingDependencyError
from tenyson.jobs.runtime.threads import let_threads_sleep

NEEDED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
"""What every job imports; the extra `train` brings it."""


def missing_libraries() -> list[str]:
    """Those of NEEDED that are not installed."""
    missing = []
    for name in NEEDED:
        try:
            if find_spec(name) is None:
                missing.append(name)
        except ImportError:  # somebody's import hook refuses it
            missing.append(name)
    return missing


def quiet_libraries() -> None:
    """Call before the first training library is imported.

    Tenyson draws its own progress; the libraries' bars would fill the log with control characters.

    Raises:
        MissingDependencyError: the training libraries are not installed.
    """
    if missing := missing_libraries():
        raise MissingDependencyError(missing[0], needed_for="a job", install="tenyson-core[train]")
    let_threads_sleep()
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # By the environment: an evaluation never imports datasets, which takes most of a second.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # The tested set (constraints.txt) is newer than TRL's own list of vLLM versions.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")

    import transformers

    # Preflight counts every prompt and row itself, and says which are too long.
    logging.getLogger("transformers.tokenization_utils_base").addFilter(
        lambda record: "sequence length is longer than" not in record.getMessage()
    )
    transformers.utils.logging.disable_progress_bar()
    quiet_bitsandbytes()
    if datasets := sys.modules.get("datasets"):
        datasets.disable_progress_bars()


def quiet_bitsandbytes() -> None:
    """On a CPU it says that it finds no faster kernels on the Hub, and that it casts its inputs at each call."""
    for name in ("backends.cpu.ops", "autograd._functions"):
        logging.getLogger(f"bitsandbytes.{name}").setLevel(logging.ERROR)
