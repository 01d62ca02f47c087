"""Lineage: what a run is made from, as its configuration names it, and which earlier runs made that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.config.checks.endpoint import ENGINE
from tenyson.core.run_folder import RunFolder
from tenyson.jobs.spec import RESUME_LATEST

if TYPE_CHECKING:
    from tenyson.config.schema import Config


def inputs(config: Config, task: str) -> list[dict[str, str | None]]:
    """Rows of the table `lineage`: kind, reference and, where an earlier run made it, source_run_id."""
    named = {
        "task": task,
        "model": config.model.name,
        "factory": config.model.factory,
        "adapter": config.model.adapter,
        "checkpoint": config.training.resume_from_checkpoint,
    }
    rows: list[dict[str, str | None]] = []
    for kind, reference in named.items():
        if reference is None:
            continue
        elsewhere = kind in ("task", "factory") or (kind == "model" and config.generation.engine == ENGINE)
        source = None if elsewhere else _source(config, kind, reference)
        rows.append({"kind": kind, "reference": reference, "source_run_id": source})
    return rows


def _source(config: Config, kind: str, reference: str) -> str | None:
    """The run in whose job folder a reference lies."""
    if kind == "checkpoint" and reference == RESUME_LATEST:
        return config.run.id
    outputs = Path(config.run.output_dir)
    if RunFolder.of(outputs, reference).config.is_file():
        return reference
    path = Path(reference).expanduser()
    if not path.exists():
        return None
    for folder in (path, *path.absolute().parents):
        if RunFolder(folder).config.is_file():
            return folder.resolve().name
    return None
