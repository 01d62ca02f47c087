"""Start a job on an instance: as core does, after its attempt has begun in the bucket, and with AWS's guard."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tenyson.cloud.remote.ssh.machine.start import answer, start_job
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec, resumes_latest


def start(request: Mapping[str, Any]) -> dict[str, Any]:
    """Start the job, or find it; then its guard. Raises: TenysonError, OSError."""
    return start_job(request, guard="tenyson_aws.machine.guard", prepare=_begin_in_bucket)


def _begin_in_bucket(spec: JobSpec, guard: Mapping[str, Any]) -> None:
    if not guard["bucket"]:
        return
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    from tenyson_aws.machine.bucket import Bucket

    bucket = Bucket(guard["bucket"], guard["region"], spec.run_id, guard["attempt"])
    try:
        bucket.begin(spec.folder, resumes=resumes_latest(spec.config))
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise BackendError(
            f"the bucket cannot be used from the machine: {error}",
            place=guard["bucket"],
            next_step="`tenyson aws policy --machine --bucket NAME` prints what the role of instance_profile needs.",
        ) from error


if __name__ == "__main__":
    sys.exit(answer(start))
