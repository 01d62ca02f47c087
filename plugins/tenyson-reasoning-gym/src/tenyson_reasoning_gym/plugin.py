"""What this distribution registers with Tenyson."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import TaskEntry, hookimpl


@hookimpl
def tenyson_tasks() -> Iterable[TaskEntry]:
    """The task `reasoning-gym`."""
    return [
        TaskEntry(
            name="reasoning-gym",
            summary="Any data set of reasoning-gym, mixtures of them, and curricula by level",
            load="tenyson_reasoning_gym.task:ReasoningGymTask",
            settings="tenyson_reasoning_gym.settings:ReasoningGymSettings",
        )
    ]
