"""The occupant of a local job's folder: this very attempt, a later one, or a job that is none of ours. A name tells nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import Handle
from tenyson.cloud.local.archive import EARLIER
from tenyson.cloud.local.host import relation
from tenyson.core.run_folder import CONFIG, PROCESS
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.database.location import absolute_url


def is_attempt(folder: Path, spec: JobSpec) -> bool:
    """Whether what was started in `folder` is this very attempt."""
    process = read_json(folder / PROCESS)
    return process is not None and bool(spec.token) and process.get("token") == spec.token


def require_same(folder: Path, spec: JobSpec) -> None:
    """Raises: BackendError: the job that runs in `folder` was asked for something else."""
    import yaml

    try:
        running = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError:
        running = {}  # half of it: the job writes it just now
    if _asked(running) != _asked(spec.config):
        raise BackendError(
            f"a job called {spec.run_id} still runs here, with other settings",
            place=str(folder),
            next_step=f"Wait for its end, or end it with `tenyson stop {spec.run_id}`; or give the new run another id.",
        )
    recorded, wanted = _database(running), _database(spec.config)
    if recorded and wanted and recorded != wanted:
        raise BackendError(
            f"a job called {spec.run_id} still runs here, and is recorded in another database ({recorded})",
            place=str(folder),
            next_step="Wait for its end, or give the new run another id.",
        )


def _database(config: Mapping[str, Any]) -> str | None:
    """Where it is recorded: a job writes the URL of a file as it is from any folder."""
    url = (config.get("telemetry") or {}).get("db_url")
    return None if url is None else absolute_url(str(url))


def _asked(config: Mapping[str, Any]) -> Any:
    """A configuration but for the checkpoint that it resumes from, and where it is recorded, which the job itself writes otherwise."""
    training = {
        key: value for key, value in (config.get("training") or {}).items() if key != "resume_from_checkpoint"
    }
    return json.loads(json.dumps({**config, "training": training, "telemetry": None}, default=str))


def is_displaced(handle: Handle) -> bool:
    """Whether another job was started in the handle's folder since: a process and its start time name a job for ever."""
    process = read_json(Path(handle.data["folder"]) / PROCESS)
    return process is not None and process.get("job") != handle.data["job"]


def set_aside(handle: Handle) -> Path | None:
    """Where the files of an attempt went when a later one took its folder; None where they are not found."""
    for process in Path(handle.data["folder"]).glob(f"{EARLIER}/*/{PROCESS}"):
        if (read_json(process) or {}).get("job") == handle.data["job"]:
            return process.parent
    return None


def is_elsewhere(handle: Handle) -> bool:
    """Whether its processes are of a machine or a container that cannot be looked into from here."""
    machine = handle.data.get("machine")
    return machine is not None and relation(machine) == "elsewhere"


def is_copy(folder: Path, process: Mapping[str, Any]) -> bool:
    """Whether the folder is a copy of the one in which the process was started: what happens to that is not ours."""
    original = Path(str(process.get("folder") or folder))
    try:
        if not original.is_dir() or original.samefile(folder):
            return False
    except OSError:
        return False
    # Where the folder was moved, another job may have come to its old place.
    return (read_json(original / PROCESS) or {}).get("job") == process.get("job")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
