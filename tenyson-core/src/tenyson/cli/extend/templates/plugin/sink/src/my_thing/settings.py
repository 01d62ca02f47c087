"""Settings of the sink. An unknown key in a configuration is an error with its line."""

from pydantic import BaseModel, ConfigDict, Field


class MyThingSettings(BaseModel):
    """`telemetry.settings.my-thing`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    file: str = Field(default="my-thing.csv", pattern=r"^[\w.-]+$")
    """Name of the file in the run's folder."""
