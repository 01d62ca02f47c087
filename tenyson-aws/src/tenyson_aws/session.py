"""The session of an attempt on an EC2 instance: from its boot over SSH until its outputs are here."""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import Observation, Reason
from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.outputs import OddAnswerError, files_of, parse, text_of
from tenyson.cloud.remote.resolution import saved
from tenyson.cloud.remote.session import LONGEST_PAUSE_SECONDS, Session
from tenyson.cloud.remote.ssh.connection import CommandError, Connection, HostKeyError, UnreachableError
from tenyson.cloud.remote.ssh.transfer import MOST_BYTES, look, send_tools
from tenyson.core.run_folder import CHECKPOINTS, SPOT_NOTICE
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec
from tenyson_aws.api.clients import Clients
from tenyson_aws.api.naming import attempt_folder
from tenyson_aws.ec2.access import private_key
from tenyson_aws.ec2.instance import Instance, Standing
from tenyson_aws.machine.bucket import BROUGHT, Bucket
from tenyson_aws.provision import provision
from tenyson_aws.record import MachineRecord
from tenyson_aws.settings import AWSSettings

OVERTIME_SECONDS = 900.0
"""So long after a machine's deadline it is surely gone, even if AWS cannot be asked."""
LOSSES_TOLD = (3, 10, 30, 100, 300, 1000)
"""How many connections in a row may end before all is here until that is said, again and again."""
BUCKET_SECONDS = 900.0
"""So long an ended job's machine may take to bring everything to the bucket, before its checkpoints come here instead."""
BUCKET_NOTICE_SECONDS = 60.0
"""The same where AWS is about to take the machine back: half of the time that is left."""


MOST_MARK_BYTES = 1 << 16
"""Of the guard's mark."""


class GoneError(BackendError):
    """The machine is no more."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing.detail or "the machine is gone")
        self.standing = standing


class MachineSession(Session[MachineRecord]):
    """Looks after one attempt on one instance."""

    taken_back = "AWS took the spot instance back"

    def __init__(
        self,
        record: MachineRecord,
        folder: Path,
        settings: AWSSettings,
        clients: Clients,
        say: Callable[[str], None],
    ) -> None:
        assert record.instance_id is not None
        assert record.launched_at is not None
        mirror = Mirror(
            folder,
            log_start=record.log_start,
            bases=record.bases,
            without=[CHECKPOINTS] if settings.bucket or not settings.sync_checkpoints else [],
        )
        super().__init__(
            record,
            folder,
            mirror,
            say,
            relays=not settings.direct_database,
            poll_seconds=settings.poll_seconds,
        )
        self.instance = Instance(
            clients, record.instance_id, record.launched_at, private=settings.private_address
        )
        self._settings = settings
        self._there = record.there or folder_there(record.cwd, self.spec)
        self._connection: Connection | None = None
        self._address: str | None = None
        self._losses = 0
        """Connections that ended since the last look at a running job, or the last one at all."""
        self._bringing_since: float | None = None

    def _give_back(self) -> None:
        self.instance.terminate(self._say)

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _look_after_it(self) -> Observation | None:
        try:
            while not self._closing:
                try:
                    connection = self._reach()
                    if connection is None:
                        return self._cancelled_early()
                    if self.record.job is None:
                        self._provision(connection)
                    ended = self._follow()
                    if ended is not None:
                        return ended
                except UnreachableError as error:
                    self._lose(str(error))
        except GoneError as error:
            return self._gone(error.standing)
        return None

    # Reaching it

    def _reach(self) -> Connection | None:
        """An open connection, however long that takes; None when nobody waits for it, or for a job that has not begun.

        Raises: GoneError: there is no machine any more. BackendError: it never came up.
        """
        pause = 1.0
        while not self._closing and not (self._grace is not None and self.record.job is None):
            if self._connection is not None:
                return self._connection
            standing = self.instance.look()
            if standing.life == "gone" or self._ending:
                raise GoneError(standing)
            if standing.life == "unknown" and time.time() > self._ends_by() + OVERTIME_SECONDS:
                raise GoneError(Standing("gone", detail="its longest lifetime is over"))
            trouble = self._try(standing)
            if trouble is None:
                self._trouble = ""
                continue
            waited = time.time() - (self.record.launched_at or 0)
            if self.record.job is None and waited > self._settings.boot_minutes * 60:
                raise BackendError(
                    f"the machine could not be reached within {self._settings.boot_minutes:g} minutes of its launch: {trouble}",
                    next_step="Does the security group let SSH in from here, and has the subnet public addresses? `tenyson aws doctor`.",
                )
            if self.record.job is not None:
                self._trouble = f"{trouble}; AWS says: {standing.life}"
                self._say_once(f"{self.instance.id} cannot be reached now, and its job goes on: {trouble}")
            self._pause(pause)
            pause = min(pause * 1.5, 3.0 if self.record.job is None else LONGEST_PAUSE_SECONDS)
        return None

    def _try(self, standing: Standing) -> str | None:
        """One try; returns why there is no connection."""
        self._address = standing.address or self._address
        # AWS may be away while the machine is not.
        if standing.life == "coming" or self._address is None:
            return standing.detail or "it is still starting"
        self._mark("running")
        if not self.record.host_keys:
            self.record.host_keys = self.instance.host_keys()
            if not self.record.host_keys:
                return "its console has not shown its host key yet"
            self._mark("host key")
        try:
            connection = connect(self._settings, self.instance.id, self._address, self.record.host_keys)
            # Those of another version may be there, from before this process.
            send_tools(connection)
        except HostKeyError as error:
            self._say_once(f"{self.instance.id}: {error}")
            if self.record.job is None:
                # While it boots, its console may still have shown those that its image came with.
                self.record.host_keys = []
            return error.cause
        except UnreachableError as error:
            return error.cause
        self._connection = connection
        self._mark("connected")
        self._told.clear()
        return None

    def _lose(self, why: str) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self.record.job is not None:
            self._trouble = why
            self._losses += 1
            if self._losses in LOSSES_TOLD:
                self._say(
                    f"{self.instance.id}: {self._losses} times in a row the connection ended before all was here ({why}); "
                    "it is tried again, and the machine costs until then"
                )

    def _ends_by(self) -> float:
        return (self.record.launched_at or 0) + self._settings.max_hours * 3600

    # Following it

    def _provision(self, connection: Connection) -> None:
        self._say_once(f"{self.instance.id}: installing what the job needs")
        self.record.job = provision(
            connection, self.record, self._settings, self._mirror, self._there, self._mark
        )
        self._mark("job started")

    def _attend(self) -> None:
        assert self._connection is not None
        if self._ending:
            raise GoneError(Standing("gone", detail="it was ended from here"))
        if self._grace is not None:
            self._tell_to_end(self._connection, self._grace)
            self._grace = None

    def _look(self, control: list[str], *, final: bool) -> Seen:
        assert self._connection is not None
        most = 1 << 62 if final else MOST_BYTES
        seen = look(self._connection, self._mirror, self._there, control=control, final=final, most=most)
        if seen.state != "ended" or final:
            self._losses = 0
        if seen.state == "none":
            raise BackendError("the job's process is not known on the machine; was its folder deleted there?")
        return seen

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
                f"{self.instance.id}: the job has ended, and its files go to {self._settings.bucket}"
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

    def _tell_to_end(self, connection: Connection, grace: float) -> None:
        assert self.record.job is not None
        supervisor = str(self.record.job.get("supervisor", {}).get("pid", ""))
        script = 'printf %s "$1" >"$2" && kill -TERM "$3"'
        words = [str(grace), f"{self._there}/cancel", supervisor]
        with contextlib.suppress(CommandError):  # it has ended by itself
            connection.run(["sh", "-c", script, "sh", *words])

    # How it ended

    def _gone(self, standing: Standing) -> Observation:
        """The machine ended before its job's outputs were here."""
        reason: Reason = "lost"
        detail = f"the machine is gone: {standing.detail}"
        noticed = (self.folder / SPOT_NOTICE).is_file()
        preempted = standing.preempted or noticed
        if self._ending:
            reason, detail = "killed", "the job was ended from here, and its machine given back"
        elif preempted:
            reason = "preempted"
            detail = f"AWS took the spot instance back ({standing.code or 'as it had announced'}){saved(self.folder) if noticed else ''}"
        elif time.time() > self._ends_by() - 60:
            reason, detail = (
                "timeout",
                f"the machine's longest lifetime is over (max_hours: {self._settings.max_hours:g})",
            )
        words, count = self._fetch_from_bucket() if self._settings.bucket else ("", 0)
        return self._lost(
            reason, detail + words, preempted=preempted and not self._ending, from_bucket=bool(count)
        )

    def _fetch_from_bucket(self) -> tuple[str, int]:
        """What came of it, as further words, and how many files it was."""
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

    def _kept(self) -> str:
        if self.record.job is None or self.record.exit is not None:
            return ""
        return (
            f"\nthe machine {self.instance.id} is kept, since outputs may be on it; it ends itself when it has stood idle for "
            f"{self._settings.idle_minutes:g} minutes. Try again with: tenyson attach {self.spec.run_id}"
        )


def folder_there(cwd: str, spec: JobSpec) -> str:
    """The job's folder on the machine: at the same path as here."""
    output_dir = str((spec.config.get("run") or {}).get("output_dir", "./outputs"))
    return posixpath.normpath(posixpath.join(cwd, output_dir, spec.run_id))


def connect(settings: AWSSettings, instance_id: str, address: str, host_keys: list[str]) -> Connection:
    """As the settings say. Raises: HostKeyError, UnreachableError."""
    names = {"instance": instance_id, "port": str(settings.ssh_port), "host": address}
    return Connection(
        address,
        port=settings.ssh_port,
        user=settings.user,
        key=private_key(settings),
        host_keys=host_keys,
        proxy=[word.format(**names) for word in settings.ssh_proxy],
    )
