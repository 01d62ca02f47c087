"""Start a job on this machine, once for each attempt: `python -m tenyson.cloud.remote.ssh.machine.start <request`.

The request is JSON on standard input: the job's `spec`, the folder `cwd` that its paths are relative to, `secrets` for its
environment, and what the guard needs. Secrets are in no file and on no command line. Prints the job's process as JSON.
A backend with more to do on the machine has a module of its own that calls `start_job`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tenyson.cloud.local.backend import RUNNER, LocalBackend
from tenyson.errors import TenysonError
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.spool.relayed import VARIABLE as RELAY

JOB_PID = Path("/run/tenyson/job.pid")
ATTEMPT = Path("/opt/tenyson/attempt.json")
"""The attempt's record, as far as it was known when the job began."""
GUARD = "tenyson.cloud.remote.ssh.machine.guard"


def start_job(
    request: Mapping[str, Any],
    *,
    guard: str = GUARD,
    prepare: Callable[[JobSpec, Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Start the job, or find it; then its guard. Returns the job's process.

    Args:
        guard: module of the guard, which gets `request["guard"]` with `run_id` and `folder` on its standard input.
        prepare: is called before the job starts, in its working folder, with its spec and `request["guard"]`.

    Raises: TenysonError, OSError.
    """
    cwd = Path(request["cwd"])
    cwd.mkdir(parents=True, exist_ok=True)
    os.chdir(cwd)
    os.environ.update(request["environment"] | request["secrets"])
    if request["relay"]:
        os.environ[RELAY] = "1"
    # Paths that were sent along are imported from the job's working folder, as they were there.
    spec = JobSpec(**request["spec"])
    if prepare is not None:
        prepare(spec, request["guard"])
    runner = [word.replace("{python}", sys.executable) for word in request["runner"]] or RUNNER
    handle = LocalBackend(spec.folder.parent, runner).submit(spec)
    supervisor = int(handle.data["supervisor"]["pid"])
    JOB_PID.parent.mkdir(parents=True, exist_ok=True)
    JOB_PID.write_text(str(supervisor), encoding="ascii")
    # For whoever attaches from another machine, knowing the tags alone.
    ATTEMPT.parent.mkdir(parents=True, exist_ok=True)
    ATTEMPT.write_text(json.dumps({**request["record"], "job": dict(handle.data)}), encoding="utf-8")
    with (spec.folder / "guard.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", guard],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    assert child.stdin is not None
    told = {**request["guard"], "run_id": spec.run_id, "folder": handle.data["folder"]}
    child.stdin.write(json.dumps(told).encode())
    child.stdin.close()
    return dict(handle.data)


def answer(start: Callable[[Mapping[str, Any]], dict[str, Any]]) -> int:
    """Read the request, start the job, print the answer; the exit status."""
    try:
        told: dict[str, Any] = {"job": start(json.load(sys.stdin))}
    except (TenysonError, OSError) as error:
        told = {"error": str(error)}
    print(json.dumps(told))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(answer(start_job))
