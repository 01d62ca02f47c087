"""What this distribution registers with Tenyson."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import TaskEntry, hookimpl


@hookimpl
def tenyson_tasks() -> Iterable[TaskEntry]:
    """The task `textarena`."""
    return [
        TaskEntry(
            name="textarena",
            summary="Any single-player game of textarena, and two-player ones against an opponent",
            load="tenyson_textarena.task:TextArenaTask",
            settings="tenyson_textarena.settings:TextArenaSettings",
        )
    ]
