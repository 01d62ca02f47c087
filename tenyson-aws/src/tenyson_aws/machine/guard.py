"""The guard: sits beside a job on a rented machine. It hears the spot notice, keeps the lease, brings files to the bucket.

    python -m tenyson_aws.machine.guard <settings

It writes `heartbeat.json` into the job's folder and ends when the job has ended and all is in the bucket. The machine's end
is not its business: the watchdog sees to that even if the guard is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenyson.cloud.local.backend import LocalBackend
from tenyson.core.run_folder import SPOT_NOTICE
from tenyson_aws.machine.bucket import BROUGHT, Bucket

NOTICE_SECONDS = 5.0
"""How often AWS advises to look for the interruption notice."""
NOTICED_SECONDS = 1.0
"""Once it has come, between two looks whether the job has ended."""
MOST_FAILURES = 20
"""A machine that sends is not idle. After so many tries in a row it is, so that it ends some day; it goes on trying until then."""
IMDS_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""As boto3 calls it."""
IMDS = "http://169.254.169.254"
ALIVE = Path("/run/tenyson/alive")


@dataclass(frozen=True)
class Settings:
    """What the guard is told."""

    run_id: str
    folder: str
    region: str
    bucket: str | None = None
    attempt: str = ""
    """Its folder in the bucket."""
    lease_seconds: float | None = None
    """The job is asked to save and end once nobody has looked at it for so long."""
    grace_seconds: float = 120.0
    every_seconds: float = NOTICE_SECONDS


class Metadata:
    """The instance metadata service, version 2: each question with a session token."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._token = ""
        self._until = 0.0

    def get(self, path: str) -> str | None:
        """None where there is no such thing. Raises: OSError: the service does not answer."""
        if time.monotonic() > self._until:
            self._token = self._ask(
                "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
            )
            self._until = time.monotonic() + 240
        try:
            return self._ask("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self._until = 0.0
            return None

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        request = urllib.request.Request(self._address + path, method=method, headers=dict(headers))
        with urllib.request.urlopen(request, timeout=3) as answer:
            text: str = answer.read().decode()
            return text


class Guard:
    """Looks every few seconds until the job has ended."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = Path(settings.folder)
        self._metadata = Metadata(os.environ.get(IMDS_VARIABLE, IMDS))
        self._backend = LocalBackend(self.folder.parent)
        handle = self._backend.reattach(settings.run_id)
        if handle is None:
            raise SystemExit(f"there is no job in {self.folder}")
        self._handle = handle
        self._noticed = False
        self._left = False
        self._ended = threading.Event()
        self._failures = 0
        """Uploads that failed since the last that did not."""
        self._bucket: Bucket | None = None
        if settings.bucket:
            self._bucket = Bucket(settings.bucket, settings.region, settings.run_id, settings.attempt)

    def run(self) -> None:
        """Until the job has ended and its files are safe. Where another guard is at work, nothing."""
        lock = os.open(self.folder / ".guard.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        # An upload may take minutes, and a notice does not wait.
        sender = threading.Thread(target=self._keep_bucket, daemon=True)
        if self._bucket is not None:
            sender.start()
        while self._backend.poll(self._handle).phase != "ended":
            self._look_for_notice()
            self._keep_lease()
            self._beat(ended=False)
            time.sleep(NOTICED_SECONDS if self._noticed else self.settings.every_seconds)
        self._beat(ended=True)
        self._ended.set()
        while sender.is_alive():
            if self._failures < MOST_FAILURES:
                with self._told("the watchdog's file"):
                    ALIVE.touch()
            sender.join(1.0)

    def _look_for_notice(self) -> None:
        if self._noticed:
            return
        with self._told("the metadata service"):
            notice = self._metadata.get("spot/instance-action")
            if notice:
                self._noticed = True
                draft = self.folder / f"{SPOT_NOTICE}.tmp"
                draft.write_text(notice + "\n", encoding="utf-8")
                draft.replace(self.folder / SPOT_NOTICE)
                self._say(f"this machine is taken back: {notice}")

    def _keep_lease(self) -> None:
        lease = self.settings.lease_seconds
        if lease is None or self._left:
            return
        # The watchdog touches the file as well while a job runs, so visits have a mark of their own.
        try:
            seen = (ALIVE.parent / "visited").stat().st_mtime
        except OSError:
            return
        if time.time() - seen > lease:
            self._left = True
            self._say(f"nobody has looked after this job for {lease:.0f} s: it saves and ends")
            self._backend.cancel(self._handle, self.settings.grace_seconds)

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

    def _beat(self, *, ended: bool) -> None:
        with contextlib.suppress(OSError):
            self._write("heartbeat.json", {"time": time.time(), "pid": os.getpid(), "ended": ended})

    def _write(self, name: str, data: Mapping[str, Any]) -> None:
        draft = self.folder / f"{name}.tmp"
        draft.write_text(json.dumps(data), encoding="utf-8")
        draft.replace(self.folder / name)

    @contextlib.contextmanager
    def _told(self, what: str) -> Any:
        try:
            yield
        except Exception as error:
            self._say(f"{what}: {type(error).__name__}: {error}")

    def _say(self, text: str) -> None:
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)  # noqa: T201


if __name__ == "__main__":
    Guard(Settings(**json.load(sys.stdin))).run()
