"""Settings of the backend. An unknown key in a configuration is an error with its line."""

from pydantic import Field
from tenyson.cloud.local.settings import LocalSettings


class MyThingSettings(LocalSettings):
    """`backend.settings` where `backend.name` is my-thing."""

    niceness: int = Field(default=10, ge=0, le=19)
    """How far jobs stand back behind other processes: 0 not at all, 19 most."""
