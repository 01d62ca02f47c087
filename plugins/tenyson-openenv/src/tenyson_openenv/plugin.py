"""What this distribution registers with Tenyson."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import TaskEntry, hookimpl


@hookimpl
def tenyson_tasks() -> Iterable[TaskEntry]:
    """The task `openenv`."""
    return [
        TaskEntry(
            name="openenv",
            summary="The environment of any OpenEnv server, by its address or started as a process",
            load="tenyson_openenv.task:OpenEnvTask",
            settings="tenyson_openenv.settings:OpenEnvSettings",
        )
    ]
