"""Quiet: keeps the progress bars and known, harmless warnings of the training libraries out of a job's log."""

from __future__ import annotations

import os
import warnings


def quiet_libraries() -> None:
    """Call before the first training library is imported.

    Tenyson draws its own progress; the libraries' bars would fill the log with control characters.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # The tested set (constraints.txt) is newer than TRL's own list of vLLM versions.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")

    import datasets
    import transformers

    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
