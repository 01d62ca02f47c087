"""The session of an attempt on an EC2 instance: as over SSH anywhere, and with a bucket that outlives the instance."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.mirror import Seen
from tenyson.cloud.remote.outputs import OddAnswerError, files_of, parse, text_of
from tenyson.cloud.remote.ssh.provider import Machine
from tenyson.cloud.remote.ssh.provision import MachineCode
from tenyson.cloud.remote.ssh.session import SSHSession
from tenyson.core.run_folder import CHECKPOINTS, SPOT_NOTICE
from tenyson_aws.api.naming import attempt_folder
from tenyson_aws.machine.bucket import BROUGHT, Bucket
from tenyson_aws.record import MachineRecord
from tenyson_aws.settings import AWSSettings

BUCKET_SECONDS = 900.0
"""So long an ended job's machine may take to bring everything to the bucket, before its checkpoints come here instead."""
BUCKET_NOTICE_SECONDS = 60.0
"""The same where AWS is about to take the machine back: half of the time that is left."""
MOST_MARK_BYTES = 1 << 16
"""Of the guard's mark."""


class MachineSession(SSHSession[MachineRecord]):
    """Follows one attempt on one instance."""

    provider = "AWS"
    taken_back = "AWS took the spot instance back"
    advice = "Does the security group let SSH in from here, and has the subnet public addresses? `tenyson aws doctor`."
    code = MachineCode(("tenyson-aws",), "tenyson_aws.machine.start")
    _settings: AWSSettings

    def __init__(
        self,
        record: MachineRecord,
        folder: Path,
        machine: Machine,
        settings: AWSSettings,
        say: Callable[[str], None],
    ) -> None:
        without = [CHECKPOINTS] if settings.bucket else []
        super().__init__(record, folder, machine, settings, say, without=without)
        self._bringing_since: float | None = None

    def _guard(self) -> dict[str, Any]:
        return {
            "region": self.record.region,
            "bucket": self._settings.bucket,
            "attempt": attempt_folder(self.record.token),
        }

    def _settled(self, seen: Seen) -> bool:
        """With a bucket: once all is in it. What could not be brought there in time comes here instead."""
        if not self._settings.bucket or not self._mirror.without:
            return True
        brought = self._brought() if BROUGHT in seen.files else {}
        if brought.get("done"):
            return True
        now = time.monotonic()
        self._bringing_since = self._bringing_since or now
        longest = BUCKET_NOTICE_SECONDS if SPOT_NOTICE in seen.files else BUCKET_SECONDS
        trouble = text_of(brought.get("trouble"))
        if trouble is None and now - self._bringing_since > longest:
            trouble = f"it takes longer than {longest:.0f} s"
        if trouble is None:
            self._say_once(
                f"{self.machine.id}: the job has ended, and its files go to {self._settings.bucket}"
            )
        else:
            self._say_once(f"not all is in {self._settings.bucket}, so checkpoints come here: {trouble}")
            self._mirror.without = ()
        return False

    def _brought(self) -> dict[str, Any]:
        """What the guard there says of the bucket."""
        try:
            with (self.folder / BROUGHT).open("rb") as file:
                data = parse(file.read(MOST_MARK_BYTES))
        except (OSError, OddAnswerError):
            return {}
        return data if isinstance(data, dict) else {}

    def _salvage(self) -> tuple[str, int]:
        """What the guard brought to the bucket."""
        if not self._settings.bucket:
            return "", 0
        bucket = Bucket(
            str(self._settings.bucket),
            self.record.region,
            self.spec.run_id,
            attempt_folder(self.record.token),
        )
        count = 0
        try:
            for path, (_, modified) in files_of(bucket.listed(), self._mirror.odd).items():
                answer = bucket.read(path)
                self._mirror.take(path, 0, answer["ContentLength"], modified, answer["Body"])
                count += 1
        except Exception as error:
            words = f"; its files in {self._settings.bucket} could not be fetched: {type(error).__name__}: {error}"
            return words, 0
        finally:
            self._tell_odd()
        return (f"; {count} files came from {self._settings.bucket}" if count else ""), count
