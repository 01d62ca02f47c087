"""What this distribution registers. Listings import it, so it imports nothing heavy."""

from collections.abc import Iterable

from tenyson.plugins import BackendEntry, hookimpl


@hookimpl
def tenyson_backends() -> Iterable[BackendEntry]:
    """The backend my-thing."""
    return [
        BackendEntry(
            name="my-thing",
            summary="This machine, with a lower priority",
            load="my_thing.backend:MyThingBackend",
            settings="my_thing.settings:MyThingSettings",
        )
    ]
