"""Recall: what a machine, or the volume that it writes to, may tell of an attempt whose record is not here.

Where its files come, which database takes its telemetry and what it costs are decided here, by the settings of whoever attaches.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.outputs import process_of
from tenyson.core.database_url import default_db_url
from tenyson.plugins.job_kinds import JOB_KINDS

_TOKEN = re.compile(r"[\x21-\x7e]{1,200}")


def recalled(data: Any, run_id: str, output_dir: Path) -> dict[str, Any] | None:
    """Fields of a record: token, spec, cwd, job; None where it is of another run, or none."""
    if not isinstance(data, dict):
        return None
    spec, token = data.get("spec"), data.get("token")
    if not isinstance(spec, dict) or spec.get("run_id") != run_id or spec.get("job_type") not in JOB_KINDS:
        return None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    config: dict[str, Any] = {"run": {"id": run_id, "output_dir": str(output_dir)}}
    given = spec.get("config")
    telemetry = given.get("telemetry") if isinstance(given, dict) else None
    if isinstance(telemetry, dict) and telemetry.get("db_url"):
        config["telemetry"] = {"db_url": default_db_url()}
    job = data.get("job")
    return {
        "token": token,
        "spec": {
            "run_id": run_id,
            "job_type": spec["job_type"],
            "task": "",
            "config": config,
            "token": token,
        },
        "cwd": str(Path.cwd()),
        "job": None if job is None else process_of(job),
    }
