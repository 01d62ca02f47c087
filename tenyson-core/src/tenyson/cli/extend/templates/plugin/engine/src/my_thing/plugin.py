"""What this distribution registers. Listings import it, so it imports nothing heavy."""

from collections.abc import Iterable

from tenyson.plugins import EngineEntry, hookimpl


@hookimpl
def tenyson_engines() -> Iterable[EngineEntry]:
    """The engine my-thing."""
    return [
        EngineEntry(
            name="my-thing",
            summary="A chain of tokens, which needs no model",
            load="my_thing.engine:MyThingEngine",
        )
    ]
