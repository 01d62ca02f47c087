"""What this distribution registers with Tenyson."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import TaskEntry, hookimpl


@hookimpl
def tenyson_tasks() -> Iterable[TaskEntry]:
    """The task `verifiers`."""
    return [
        TaskEntry(
            name="verifiers",
            summary="Any installed environment of verifiers, in a virtual environment of its own",
            load="tenyson_verifiers.task:VerifiersTask",
            settings="tenyson_verifiers.settings:VerifiersSettings",
        )
    ]
