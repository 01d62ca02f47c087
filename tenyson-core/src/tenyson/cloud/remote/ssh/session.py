"""The session of an attempt on a machine that is reached over SSH: from its boot until its outputs are here."""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tenyson.cloud.backend import Observation, Reason
from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.resolution import saved
from tenyson.cloud.remote.session import LONGEST_PAUSE_SECONDS, Session
from tenyson.cloud.remote.ssh.connection import Connection
from tenyson.cloud.remote.ssh.errors import CommandError, GoneError, HostKeyError, UnreachableError
from tenyson.cloud.remote.ssh.keys import private_key
from tenyson.cloud.remote.ssh.provider import Machine, MachineStatus
from tenyson.cloud.remote.ssh.provision import MachineCode, provision
from tenyson.cloud.remote.ssh.record import SSHRecord
from tenyson.cloud.remote.ssh.settings import SSHSettings
from tenyson.cloud.remote.ssh.transfer import MOST_BYTES, poll, send_tools
from tenyson.core.run_folder import CHECKPOINTS, SPOT_NOTICE
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec

OVERTIME_SECONDS = 900.0
"""So long after a machine's deadline it is surely gone, even if the provider cannot be asked."""
LOSSES_TOLD = (3, 10, 30, 100, 300, 1000)
"""How many connections in a row may end before all is here until that is said, again and again."""
R = TypeVar("R", bound=SSHRecord)


class SSHSession(Session[R]):
    """Follows one attempt on one machine. A backend names its provider, and adds what only that one has.

    Args:
        machine: the machine at its provider.
        without: folders that are not fetched while the job runs.
    """

    provider = "the provider"
    """For messages."""
    advice = "Does a firewall let SSH in from here, and has the machine an address that is reached from here?"
    """What to look at where a machine never came up."""
    code = MachineCode()
    """What runs on the machine."""

    def __init__(
        self,
        record: R,
        folder: Path,
        machine: Machine,
        settings: SSHSettings,
        say: Callable[[str], None],
        *,
        without: Iterable[str] = (),
    ) -> None:
        skipped = without if settings.sync_checkpoints else [CHECKPOINTS, *without]
        mirror = Mirror(
            folder, log_start=record.log_start, bases=record.bases, without=dict.fromkeys(skipped)
        )
        super().__init__(
            record,
            folder,
            mirror,
            say,
            relays=not settings.direct_database,
            poll_seconds=settings.poll_seconds,
        )
        self.machine = machine
        self._settings = settings
        self._there = record.there or folder_there(record.cwd, self.spec)
        self._connection: Connection | None = None
        self._address: str | None = None
        self._losses = 0
        """Connections that ended since the last poll of a running job, or the last one at all."""

    # What a backend adds

    def _guard(self) -> dict[str, Any]:
        """What its guard on the machine is told beside the lease."""
        return {}

    def _salvage(self) -> tuple[str, int]:
        """After the machine is gone: fetch what was brought elsewhere. What came of it, as further words, and how many files."""
        return "", 0

    # What a session does

    def _give_back(self) -> None:
        self.machine.terminate(self._say)

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _supervise(self) -> Observation | None:
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
            return self._gone(error.status)
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
            status = self.machine.poll()
            if status.life == "gone" or self._ending:
                raise GoneError(status)
            if status.life == "unknown" and time.time() > self._ends_by() + OVERTIME_SECONDS:
                raise GoneError(MachineStatus("gone", detail="its longest lifetime is over"))
            trouble = self._try(status)
            if trouble is None:
                self._trouble = ""
                continue
            waited = time.time() - (self.record.launched_at or 0)
            if self.record.job is None and waited > self._settings.boot_minutes * 60:
                raise BackendError(
                    f"the machine could not be reached within {self._settings.boot_minutes:g} minutes of its launch: {trouble}",
                    next_step=self.advice,
                )
            if self.record.job is not None:
                self._trouble = f"{trouble}; {self.provider} says: {status.life}"
                self._say_once(f"{self.machine.id} cannot be reached now; its job keeps running: {trouble}")
            self._pause(pause)
            pause = min(pause * 1.5, 3.0 if self.record.job is None else LONGEST_PAUSE_SECONDS)
        return None

    def _try(self, status: MachineStatus) -> str | None:
        """One try; returns why there is no connection."""
        self._address = status.address or self._address
        # The provider may be away while the machine is not.
        if status.life == "coming" or self._address is None:
            return status.detail or "it is still starting"
        self._mark("running")
        if not self.record.host_keys:
            self.record.host_keys = self.machine.host_keys()
            if not self.record.host_keys:
                return "its console has not shown its host key yet"
            self._mark("host key")
        try:
            connection = connect(
                self._settings, self.record.backend, self.machine.id, self._address, self.record.host_keys
            )
            # Those of another version may be there, from before this process.
            send_tools(connection)
        except HostKeyError as error:
            self._say_once(f"{self.machine.id}: {error}")
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
                    f"{self.machine.id}: {self._losses} times in a row the connection ended before all was here ({why}); "
                    "it is tried again, and the machine costs until then"
                )

    def _ends_by(self) -> float:
        return (self.record.launched_at or 0) + self._settings.max_hours * 3600

    # Following it

    def _provision(self, connection: Connection) -> None:
        self._say_once(f"{self.machine.id}: installing what the job needs")
        self.record.job = provision(
            connection,
            self.record,
            self._settings,
            self.code,
            self._guard(),
            self._mirror,
            self._there,
            self._mark,
        )
        self._mark("job started")

    def _attend(self) -> None:
        assert self._connection is not None
        if self._ending:
            raise GoneError(MachineStatus("gone", detail="it was ended from here"))
        if self._grace is not None:
            self._tell_to_end(self._connection, self._grace)
            self._grace = None

    def _poll(self, control: list[str], *, final: bool) -> Seen:
        assert self._connection is not None
        most = 1 << 62 if final else MOST_BYTES
        seen = poll(self._connection, self._mirror, self._there, control=control, final=final, most=most)
        if seen.state != "ended" or final:
            self._losses = 0
        if seen.state == "none":
            raise BackendError("the job's process is not known on the machine; was its folder deleted there?")
        return seen

    def _tell_to_end(self, connection: Connection, grace: float) -> None:
        assert self.record.job is not None
        supervisor = str(self.record.job.get("supervisor", {}).get("pid", ""))
        script = 'printf %s "$1" >"$2" && kill -TERM "$3"'
        words = [str(grace), f"{self._there}/cancel", supervisor]
        with contextlib.suppress(CommandError):  # it has ended by itself
            connection.run(["sh", "-c", script, "sh", *words])

    # How it ended

    def _gone(self, status: MachineStatus) -> Observation:
        """The machine ended before its job's outputs were here."""
        reason: Reason = "lost"
        detail = f"the machine is gone: {status.detail}"
        noticed = (self.folder / SPOT_NOTICE).is_file()
        preempted = status.preempted or noticed
        if self._ending:
            reason, detail = "killed", "the job was ended from here, and its machine given back"
        elif preempted:
            reason = "preempted"
            how = status.code or "as it had announced"
            detail = f"{self.taken_back} ({how}){saved(self.folder) if noticed else ''}"
        elif time.time() > self._ends_by() - 60:
            reason, detail = (
                "timeout",
                f"the machine's longest lifetime is over (max_hours: {self._settings.max_hours:g})",
            )
        words, count = self._salvage()
        return self._lost(
            reason, detail + words, preempted=preempted and not self._ending, from_bucket=bool(count)
        )

    def _kept(self) -> str:
        if self.record.job is None or self.record.exit is not None:
            return ""
        return (
            f"\nthe machine {self.machine.id} is kept, since outputs may be on it; it ends itself when it has stood idle for "
            f"{self._settings.idle_minutes:g} minutes. Try again with: tenyson attach {self.spec.run_id}"
        )


def folder_there(cwd: str, spec: JobSpec) -> str:
    """The job's folder on the machine: at the same path as here."""
    output_dir = str((spec.config.get("run") or {}).get("output_dir", "./outputs"))
    return posixpath.normpath(posixpath.join(cwd, output_dir, spec.run_id))


def connect(
    settings: SSHSettings, backend: str, machine_id: str, address: str, host_keys: list[str]
) -> Connection:
    """As the settings say. Raises: HostKeyError, UnreachableError."""
    names = {"instance": machine_id, "port": str(settings.ssh_port), "host": address}
    return Connection(
        address,
        port=settings.ssh_port,
        user=settings.user,
        key=private_key(settings, backend),
        host_keys=host_keys,
        proxy=[word.format(**names) for word in settings.ssh_proxy],
    )
