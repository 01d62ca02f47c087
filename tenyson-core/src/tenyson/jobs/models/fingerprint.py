"""Fingerprints: training, resuming and evaluation must read and end prompts in the same way, or are refused.

A model or adapter that Tenyson writes carries the fingerprint of the chat template, tokenizer, special and stop tokens that it
was trained with (`Renderer.fingerprint`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.errors import ModelError
from tenyson.jobs.models.integrity import read_about, read_object

if TYPE_CHECKING:
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.job import JobContext
    from tenyson.jobs.models.model import ModelSource

FILE = "tenyson.json"


def write_fingerprint(directory: Path, renderer: Renderer, run_id: str) -> None:
    """Put the fingerprint beside trained weights."""
    about = {"format": 1, "run_id": run_id, "fingerprint": renderer.fingerprint()}
    (directory / FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def read_fingerprint(directory: Path) -> str | None:
    """The fingerprint that weights or a checkpoint were written with; None where Tenyson did not write them."""
    try:
        found = read_object(directory / FILE)
    except OSError:
        found = read_about(directory)
    value = found.get("fingerprint")
    return value if isinstance(value, str) else None


def require_fingerprint(
    context: JobContext, source: ModelSource, renderer: Renderer, checkpoint: Path | None = None
) -> None:
    """Refuse weights that were trained with another template, tokenizer or stop tokens than this job uses.

    With `model.allow_other_template` it is a warning.

    Raises:
        ModelError: they differ.
    """
    here = renderer.fingerprint()
    for place in (source.path, source.adapter, checkpoint):
        trained = read_fingerprint(Path(place)) if place is not None else None
        if trained is None or trained == here:
            continue
        cause = (
            f"it was trained with another chat template, tokenizer or set of stop tokens (fingerprint {trained}) than the "
            f"tokenizer here has ({here}), so it would read prompts that it never saw"
        )
        if not context.config.model.allow_other_template:
            raise ModelError(
                cause,
                place=str(place),
                next_step="Use the tokenizer that lies beside the trained weights, or set model.allow_other_template: true.",
            )
        context.say(f"{place}: {cause}; model.allow_other_template lets that pass", "warning")
