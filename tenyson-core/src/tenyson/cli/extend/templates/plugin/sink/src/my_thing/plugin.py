"""What this distribution registers. Listings import it, so it imports nothing heavy."""

from collections.abc import Iterable

from tenyson.plugins import SinkEntry, hookimpl


@hookimpl
def tenyson_sinks() -> Iterable[SinkEntry]:
    """The sink my-thing."""
    return [
        SinkEntry(
            name="my-thing",
            summary="Metrics as a CSV file",
            load="my_thing.sink:MyThingSink",
            settings="my_thing.settings:MyThingSettings",
        )
    ]
