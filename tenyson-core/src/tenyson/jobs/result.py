"""JobResult: what every job and every backend returns, in success and in failure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tenyson.errors import TenysonError
from tenyson.telemetry import strictjson

SCHEMA_VERSION = 1

Status = Literal["success", "stopped", "failed"]


@dataclass(frozen=True)
class JobResult:
    """The outcome of one job."""

    run_id: str
    status: Status
    """`stopped`: interrupted by a signal after saving; it can be resumed. A manual stop is a `success`."""
    total_time_seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    hf_repo_id: str | None = None
    hf_revision: str | None = None
    wandb_url: str | None = None
    local_output_dir: str | None = None
    failure_reason: str | None = None
    instance_id: str | None = None
    spot_interruption: bool | None = None
    stop_reason: str | None = None
    """What ended it before its time: manual stop, SIGTERM, SIGINT, spot notice, or a criterion such as early stopping."""
    schema_version: int = SCHEMA_VERSION

    def save(self, path: str | Path) -> Path:
        """Write as strict JSON, replacing the file in one move: a metric that is not finite is null, and listed under
        `not_finite`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        strictjson.write(path, asdict(self))
        return path

    @classmethod
    def load(cls, path: str | Path) -> JobResult:
        """Read what `save` wrote; metrics that are not finite are again. Fields of later versions are ignored.

        Raises:
            TenysonError: the file is missing, is not JSON, or lacks a field.
        """
        path = Path(path)
        try:
            data: dict[str, Any] = strictjson.restore(json.loads(path.read_text(encoding="utf-8")))
            known = {f.name for f in fields(cls)}
            return cls(**{key: value for key, value in data.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TenysonError(f"not a job result: {error}", place=str(path)) from error
