"""Asked: what a pipeline was begun for, beside what is asked for now; and whether its tasks' code is still that of then."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tenyson.errors import ConfigError, Problem, TenysonError
from tenyson.pipeline.cache.inputs import differences, hash_of, unread_sections
from tenyson.pipeline.cache.source import task_source

if TYPE_CHECKING:
    from tenyson.pipeline.graph.definition import Definition
    from tenyson.pipeline.journal.records import PipelineRecord

Change = tuple[str, Any, Any]
"""Dotted key, value then, value now."""


def changes(before: Mapping[str, Definition], now: Mapping[str, Definition]) -> dict[str, tuple[Change, ...]]:
    """What differs, by step; nothing in particular for a step that is new or gone."""
    found: dict[str, tuple[Change, ...]] = {}
    for label in {**before, **now}:
        if label not in before or label not in now:
            found[label] = ()
        elif differing := tuple(differences(_asked(before[label]), _asked(now[label]))):
            found[label] = differing
    return found


def that_matter(
    changed: Mapping[str, tuple[Change, ...]], before: Mapping[str, Definition]
) -> dict[str, tuple[Change, ...]]:
    """Without what differs in sections that a step's job does not read: an evaluation is the same whatever `training` says."""
    found = {}
    for label, every in changed.items():
        unread = unread_sections(before[label].spec.job_type) if label in before else ()
        kept = tuple(one for one in every if one[0].removeprefix("late.").partition(".")[0] not in unread)
        if kept or not every:
            found[label] = kept
    return found


def beyond(differing: Iterable[Change], keys: Collection[str]) -> tuple[Change, ...]:
    """What differs in other keys than these, which were set for all steps of a pipeline alike."""

    def is_set(path: str) -> bool:
        path = path.removeprefix("late.")
        return any(path == key or path.startswith(f"{key}.") or key.startswith(f"{path}.") for key in keys)

    return tuple(one for one in differing if not is_set(one[0]))


def refusal(
    pipeline_id: str,
    changed: Mapping[str, Iterable[Change]],
    before: Mapping[str, Definition],
    another: str,
) -> ConfigError:
    """The error that names all of it; `another` is how another pipeline is named."""
    problems = []
    for label, differing in changed.items():
        problems += [
            Problem(
                f"was {was!r} when {pipeline_id} was begun, and is {is_now!r} now", key=f"step {label}: {key}"
            )
            for key, was, is_now in differing
        ] or [
            Problem(
                f"is {'gone' if label in before else 'new'}: {pipeline_id} was begun with the steps {', '.join(before)}",
                key=f"step {label}",
            )
        ]
    return ConfigError(
        problems,
        next_step=f"Continue with the original settings, or start a new pipeline with another {another}.",
    )


def sources_of(definitions: Iterable[Definition]) -> dict[str, str]:
    """SHA-256 of each task's source, by the task's name; what cannot be found is left out."""
    found = {}
    for task in dict.fromkeys(one.spec.task for one in definitions):
        try:
            found[task] = hash_of(task_source(task))
        except (TenysonError, OSError):
            continue
    return found


def edited_tasks(record: PipelineRecord, definitions: Iterable[Definition]) -> list[str]:
    """Tasks whose code is not what it was when the pipeline was begun."""
    now = sources_of(definitions)
    return [task for task, source in record.request.sources.items() if now.get(task) != source]


def _asked(definition: Definition) -> Any:
    """What a definition asks for, as the journal would keep it; where it is recorded does not count."""
    config = {
        key: value
        for key, value in _completed(definition.spec.config).items()
        if key not in ("telemetry", "wandb", "backend")
    }
    task = config.get("task") or {}
    if not task.get("name") and not task.get("module"):
        # A script gives its tasks beside their configurations.
        config["task"] = {**task, "module": definition.spec.task}
    taken = {name: getattr(definition, name) for name in ("needs", "model_from", "checkpoint_from", "late")}
    return json.loads(json.dumps({"job": definition.spec.job_type, **taken, **config}, default=str))


def _completed(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the defaults of keys that are newer than the journal's row. As it is, where it is no `Config`."""
    from tenyson.config.load import parse_config

    try:
        return parse_config(config).model_dump(mode="json")
    except ConfigError:
        return config
