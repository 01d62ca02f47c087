"""The fingerprint of what a pipeline asks for: the same steps asked for again find the pipeline that is not over yet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.cloud.local.host import relation
from tenyson.errors import ConfigError, DamagedRowError, PipelineError
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.journal.project import locate, rebased
from tenyson.pipeline.journal.rows import definition_of
from tenyson.pipeline.request import FORMAT

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord

_RECORDED = ("telemetry", "wandb")
"""Sections that say where a step is recorded, not what it does."""


def fingerprint(definitions: Iterable[Definition], pipeline_id: str, root: Path | None = None) -> str:
    """SHA-256 of what the steps ask for, whatever the pipeline is called and wherever its project is.

    Args:
        root: the project, by default this process's folder; paths in it count as relative.
    """
    steps = list(definitions)
    asked = rebased([_asked(one) for one in steps], root or Path.cwd(), Path())
    text = json.dumps(asked, sort_keys=True, default=str)
    for one in steps:
        if one.spec.run_id in (pipeline_id, f"{pipeline_id}-{one.label}"):
            text = text.replace(one.spec.run_id, f"PIPELINE-{one.label}")
    return sha256(text.encode()).hexdigest()


def unfinished(journal: Journal, asked: str) -> PipelineRecord | None:
    """The newest pipeline with this fingerprint that was begun here and is not over.

    Here: in this project, on this machine. In a database that many share, the same command is often somebody else's.
    """
    for record in journal.pipelines(unfinished=True):
        if asks_for(journal, record, asked) and is_ours(journal, record):
            return record
    return None


def asks_for(journal: Journal, record: PipelineRecord, asked: str) -> bool:
    """Whether a pipeline has this fingerprint. Earlier releases stored another one: theirs is taken of their steps."""
    if record.request.format >= FORMAT:
        return record.fingerprint == asked
    try:
        definitions = [definition_of(step) for step in journal.steps(record.id)]
    except DamagedRowError:
        return False
    return fingerprint(definitions, record.id, record.origin.folder) == asked


def is_ours(journal: Journal, record: PipelineRecord) -> bool:
    """Whether a pipeline was begun in this project, on this machine."""
    try:
        place = locate(journal, record)
    except PipelineError:
        return False
    if place.standing == "copied" or place.root.resolve() != Path.cwd().resolve():
        return False
    alone = journal.file is not None and journal.file.is_relative_to(Path.cwd().resolve())
    return alone or record.origin.folder is None or relation(record.origin.machine) != "elsewhere"


def _asked(definition: Definition) -> dict[str, Any]:
    task = definition.spec.config.get("task") or {}
    return {
        "label": definition.label,
        "job": definition.spec.job_type,
        # A script gives its tasks beside their configurations.
        "task": None if task.get("name") or task.get("module") else definition.spec.task,
        "config": {key: value for key, value in _set_in(definition).items() if key not in _RECORDED},
        "needs": list(definition.needs),
        "model_from": definition.model_from,
        "checkpoint_from": definition.checkpoint_from,
        "late": dict(definition.late),
    }


def _set_in(definition: Definition) -> Mapping[str, Any]:
    """The configuration without what is as by default: a later release may have further keys. As it is, where it is no `Config`."""
    from tenyson.config.load import parse_config

    try:
        return parse_config(definition.spec.config).model_dump(mode="json", exclude_defaults=True)
    except ConfigError:
        return definition.spec.config
