"""Settings of the sinks of core: `telemetry.settings.SINK` in a configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tenyson.telemetry.spool.writer import CAP_BYTES


class SqlSettings(BaseModel):
    """`telemetry.settings.sql`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    compress: bool = False
    """SQLite: store completions as zstd frames. The file is a third smaller, and only Tenyson's own commands read the texts."""
    spool_bytes: int = Field(default=CAP_BYTES, ge=1 << 20)
    """Bytes that may wait on disk for the database; from three quarters on, rollouts are left out and counted."""
    close_seconds: float = Field(default=60.0, gt=0)
    """Seconds that the end of a job waits for the database; what is left stays in the spool."""
