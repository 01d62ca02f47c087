"""AWS's guard: hears the spot notice, and brings the job's files to the bucket.

    python -m tenyson_aws.machine.guard <settings

It ends when the job has ended and all is in the bucket.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import dataclass

from tenyson.cloud.remote.ssh.machine.guard import ALIVE, Guard, GuardSettings
from tenyson_aws.machine.bucket import BROUGHT, Bucket
from tenyson_aws.machine.metadata import IMDS, IMDS_VARIABLE, Metadata

MOST_FAILURES = 20
"""A machine that uploads is not idle. After this many failed tries in a row it counts as idle, so that it ends eventually; it keeps
trying until then."""


@dataclass(frozen=True, kw_only=True)
class AWSGuardSettings(GuardSettings):
    """What AWS's guard is told."""

    region: str
    bucket: str | None = None
    attempt: str = ""
    """Its folder in the bucket."""


class AWSGuard(Guard):
    """Beside a job on an EC2 instance."""

    settings: AWSGuardSettings

    def __init__(self, settings: AWSGuardSettings) -> None:
        super().__init__(settings)
        self._metadata = Metadata(os.environ.get(IMDS_VARIABLE, IMDS))
        self._ended = threading.Event()
        self._failures = 0
        """Uploads that failed since the last that did not."""
        self._bucket: Bucket | None = None
        if settings.bucket:
            self._bucket = Bucket(settings.bucket, settings.region, settings.run_id, settings.attempt)
        # An upload may take minutes, and a notice does not wait.
        self._sender = threading.Thread(target=self._keep_bucket, daemon=True)

    def _begin(self) -> None:
        if self._bucket is not None:
            self._sender.start()

    def _notice(self) -> str | None:
        return self._metadata.get("spot/instance-action")

    def _finish(self) -> None:
        self._ended.set()
        while self._sender.is_alive():
            if self._failures < MOST_FAILURES:
                with self._told("the watchdog's file"):
                    ALIVE.touch()
            self._sender.join(1.0)

    def _keep_bucket(self) -> None:
        """Files to the bucket, until the last ones are there. That they are is written down: whoever ends this machine waits for it."""
        assert self._bucket is not None
        while True:
            final = self._ended.is_set()
            trouble = ""
            try:
                self._bucket.send(self.folder, final=final)
                self._failures = 0
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
                self._failures += 1
                self._say(f"the bucket: {trouble}")
            if not final:
                self._ended.wait(self.settings.every_seconds)
                continue
            with self._told(BROUGHT):
                self._write(BROUGHT, {"trouble": trouble} if trouble else {"done": True})
                if not trouble:
                    return
            time.sleep(self.settings.every_seconds)


if __name__ == "__main__":
    AWSGuard(AWSGuardSettings(**json.load(sys.stdin))).run()
