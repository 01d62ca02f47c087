"""Settings of the Modal backend: `backend.settings` of a configuration, and the arguments of ModalManager."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ModalSettings(BaseModel):
    """Which machine, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    gpu: str | None = Field(default="A10G", pattern=r"^[A-Za-z0-9!-]+(:[1-8])?$")
    """GPU as Modal names it, such as "H100" or "H100:8"; none is a machine without one."""
    timeout: int = Field(default=86400, gt=0, le=86400)
    """Seconds that one attempt may take; Modal allows a day at most."""
    cpu: float | None = Field(default=None, gt=0)
    """Cores; none is Modal's default."""
    memory: int | None = Field(default=None, gt=0)
    """Memory in MiB; none is Modal's default."""
    region: str | None = None
    """Region; none takes any."""
    environment_name: str | None = None
    """Modal environment; none is that of your profile."""
    secrets: list[str] = []
    """NAMES of Modal secrets that the job gets as environment variables."""
    volume: str = "tenyson-outputs"
    """Name of the Modal volume that holds outputs."""
