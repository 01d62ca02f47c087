"""Start a job on this machine, once for each attempt: `python -m tenyson_aws.machine.start <request`.

The request is JSON on standard input: the job's `spec`, the folder `cwd` that its paths are relative to, `secrets` for its
environment, and what the guard needs. Secrets are in no file and on no command line. Prints the job's process as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenyson.cloud.local.backend import RUNNER, LocalBackend
from tenyson.errors import BackendError, TenysonError
from tenyson.jobs.spec import JobSpec, resumes_latest
from tenyson.telemetry.spool.relayed import VARIABLE as RELAY

JOB_PID = Path("/run/tenyson/job.pid")
ATTEMPT = Path("/opt/tenyson/attempt.json")
"""The attempt's record (`tenyson_aws.record`), as far as it was known when the job began."""


def start(request: Mapping[str, Any]) -> dict[str, Any]:
    """Start the job, or find it; then its guard. Raises: TenysonError, OSError."""
    cwd = Path(request["cwd"])
    cwd.mkdir(parents=True, exist_ok=True)
    os.chdir(cwd)
    os.environ.update(request["environment"] | request["secrets"])
    if request["relay"]:
        os.environ[RELAY] = "1"
    # Paths that were sent along are imported from where the job stands, as they were there.
    spec = JobSpec(**request["spec"])
    guard = request["guard"]
    if guard["bucket"]:
        _begin_in_bucket(spec, guard)
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
            [sys.executable, "-m", "tenyson_aws.machine.guard"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    assert child.stdin is not None
    child.stdin.write(json.dumps({**guard, "run_id": spec.run_id, "folder": handle.data["folder"]}).encode())
    child.stdin.close()
    return dict(handle.data)


def _begin_in_bucket(spec: JobSpec, guard: Mapping[str, Any]) -> None:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    from tenyson_aws.machine.bucket import Bucket

    bucket = Bucket(guard["bucket"], guard["region"], spec.run_id, guard["attempt"])
    try:
        bucket.begin(spec.folder, goes_on=resumes_latest(spec.config))
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise BackendError(
            f"the bucket cannot be used from the machine: {error}",
            place=guard["bucket"],
            next_step="`tenyson aws policy --machine --bucket NAME` prints what the role of instance_profile needs.",
        ) from error


def main() -> int:
    """Entry point."""
    try:
        answer = {"job": start(json.load(sys.stdin))}
    except (TenysonError, OSError) as error:
        answer = {"error": str(error)}  # type: ignore[dict-item]
    print(json.dumps(answer))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
