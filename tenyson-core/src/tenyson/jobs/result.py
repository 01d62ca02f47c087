"""JobResult: what every job and every backend returns, in success and in failure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from tenyson.errors import TenysonError
from tenyson.telemetry.events import strict_json

SCHEMA_VERSION = 1
MOST_BYTES = 16 << 20
MOST_TEXT = 100_000
"""Letters of one field: a failure reason holds the end of a log."""
_REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

Status = Literal["success", "stopped", "failed"]


@dataclass(frozen=True)
class JobResult:
    """The outcome of one job."""

    run_id: str
    """The run."""
    status: Status
    """`stopped`: interrupted by a signal after saving; it can be resumed. A manual stop is a `success`."""
    total_time_seconds: float
    """Wall time in seconds."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Values by name; results.json has them with counts and intervals."""
    hf_repo_id: str | None = None
    """Repository on the Hub, where results were pushed."""
    hf_revision: str | None = None
    """Commit there."""
    wandb_url: str | None = None
    """The run on W&B."""
    local_output_dir: str | None = None
    """The job's folder on this machine."""
    failure_reason: str | None = None
    """Why it failed, in words."""
    instance_id: str | None = None
    """The rented machine."""
    spot_interruption: bool | None = None
    """Whether the provider took the machine away; None where it had none."""
    stop_reason: str | None = None
    """What ended it before its time: manual stop, SIGTERM, SIGINT, spot notice, or a criterion such as early stopping."""
    schema_version: int = SCHEMA_VERSION
    """Of this format."""

    def save(self, path: str | Path) -> Path:
        """Write as strict JSON, replacing the file in one move: a metric that is not finite is null, and listed under
        `not_finite`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        strict_json.write(path, asdict(self))
        return path

    @classmethod
    def load(cls, path: str | Path) -> JobResult:
        """Read what `save` wrote; metrics that are not finite are again. Fields of later versions are ignored.

        Raises:
            TenysonError: the file is missing, is not JSON, lacks a field, or a field has a wrong type: the machine that wrote it
                may not be ours.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                text = file.read(MOST_BYTES + 1)
            if len(text) > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
            data: dict[str, Any] = strict_json.restore(json.loads(text.decode()))
            known = {f.name for f in fields(cls)}
            found = {key: value for key, value in data.items() if key in known}
            _require_sound(found)
            return cls(**found)
        except RecursionError as error:
            raise TenysonError("not a job result: it is nested too deep", place=str(path)) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TenysonError(f"not a job result: {error}", place=str(path)) from error


def stopped_early(run_id: str, signal: str, seconds: float, folder: Path) -> JobResult:
    """Of a job that a signal ended before its first step."""
    return JobResult(
        run_id,
        "stopped",
        seconds,
        local_output_dir=str(folder),
        failure_reason=f"ended by {signal} before its first step; there was nothing to save",
        stop_reason=signal,
    )


def _require_sound(data: dict[str, Any]) -> None:
    """Raises: ValueError: a field is not of its type."""
    texts = (
        "hf_repo_id",
        "hf_revision",
        "wandb_url",
        "local_output_dir",
        "failure_reason",
        "instance_id",
        "stop_reason",
    )
    for name in texts:
        if not (data.get(name) is None or _is_text(data[name])):
            raise ValueError(f"{name} is no text of at most {MOST_TEXT} letters")
    if not _is_text(data.get("run_id", "")):
        raise ValueError("run_id is no text")
    if data.get("status", "success") not in get_args(Status):
        raise ValueError(f"status is none of {', '.join(get_args(Status))}")
    if not _is_number(data.get("total_time_seconds", 0.0)) or data.get("total_time_seconds", 0.0) < 0:
        raise ValueError("total_time_seconds is no time")
    metrics = data.get("metrics", {})
    if not isinstance(metrics, dict):
        raise ValueError("metrics is no mapping")
    for name, value in metrics.items():
        if not (value is None or _is_number(value)):
            raise ValueError(f"metrics.{name[:80]} is no number")
    if not isinstance(data.get("spot_interruption"), bool | None):
        raise ValueError("spot_interruption is neither true nor false")
    # It may become another job's `model.name`, where anything else would be a path.
    repository = data.get("hf_repo_id")
    if repository is not None and (not _REPOSITORY.fullmatch(repository) or ".." in repository):
        raise ValueError("hf_repo_id is no name of a repository")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or abs(value) < 1 << 1000  # beyond, it is no float
