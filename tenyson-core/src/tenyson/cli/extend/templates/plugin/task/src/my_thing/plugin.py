"""What this distribution registers. Listings import it, so it imports nothing heavy."""

from collections.abc import Iterable

from tenyson.plugins import TaskEntry, hookimpl


@hookimpl
def tenyson_tasks() -> Iterable[TaskEntry]:
    """The task my-thing."""
    return [
        TaskEntry(
            name="my-thing",
            summary="Sort three letters",
            load="my_thing.task:MyThingTask",
        )
    ]
