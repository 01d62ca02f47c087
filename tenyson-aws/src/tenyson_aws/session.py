"""The session: the thread that looks after one attempt on one machine, from its boot until its outputs are here.

Every stage may be done again, so a session that died with its process is simply begun anew from the attempt's record.
"""

from __future__ import annotations

import contextlib
import posixpath
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.cloud.backend import Observation, Reason
from tenyson.cloud.diagnosis import EXIT_INTERRUPTED
from tenyson.errors import BackendError, TenysonError
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.control.file import NOTICE
from tenyson_aws.access import private_key
from tenyson_aws.clients import Clients
from tenyson_aws.ending import loss, saved, verdict
from tenyson_aws.instance import Instance, Standing
from tenyson_aws.provision import provision
from tenyson_aws.record import Record
from tenyson_aws.settings import AWSSettings
from tenyson_aws.ssh import CommandError, Connection, HostKeyError, UnreachableError
from tenyson_aws.transfer import Mirror, Seen, send_tools

if TYPE_CHECKING:
    from tenyson.telemetry.relay import Relay

FINAL_LOOKS = 5
"""How often the outputs are fetched again before sums that do not fit are a failure."""
LONGEST_PAUSE_SECONDS = 20.0
OVERTIME_SECONDS = 900.0
"""So long after a machine's deadline it is surely gone, even if AWS cannot be asked."""


class GoneError(BackendError):
    """The machine is no more."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing.detail or "the machine is gone")
        self.standing = standing


class Session:
    """Looks after one attempt. `begin` starts the thread; `observation` is what it knows."""

    def __init__(
        self,
        record: Record,
        folder: Path,
        settings: AWSSettings,
        clients: Clients,
        say: Callable[[str], None],
    ) -> None:
        assert record.instance_id is not None
        assert record.launched_at is not None
        self.record = record
        self.folder = folder
        self.spec = JobSpec(**record.spec)
        self.instance = Instance(
            clients, record.instance_id, record.launched_at, private=settings.private_address
        )
        self._settings = settings
        self._say = say
        there = posixpath.normpath(
            posixpath.join(
                record.cwd,
                str((self.spec.config.get("run") or {}).get("output_dir", "./outputs")),
                self.spec.run_id,
            )
        )
        self._connection: Connection | None = None
        self._address: str | None = None
        self._relay: Relay | None = None
        self._mirror = Mirror(
            folder,
            there,
            log_start=record.log_start,
            bases=record.bases,
            without=["checkpoints"] if settings.bucket or not settings.sync_checkpoints else [],
        )
        self._grace: float | None = None
        self._ending = False
        """Whether the machine is given back without waiting for the job."""
        self._wake = threading.Event()
        self._closing = False
        self._trouble = ""
        self._ended: Observation | None = None
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._work, name=f"aws {self.spec.run_id}", daemon=True)

    def begin(self) -> None:
        """Start to look after it."""
        self._thread.start()

    @property
    def observation(self) -> Observation:
        """What is known now."""
        if self._ended is not None:
            return self._ended
        phase: Any = "running" if self.record.job is not None else "pending"
        return Observation(phase, observed=not self._trouble, detail=self._trouble)

    def cancel(self, grace_seconds: float) -> None:
        """The job is to save and end; a machine whose job has not begun is given back."""
        self._grace = grace_seconds
        self._wake.set()

    def terminate(self) -> None:
        """Give the machine back now. Raises: AWSError."""
        self._ending = True
        self._wake.set()
        self.instance.terminate(self._say)
        self._thread.join(30)

    def close(self) -> None:
        """Look after it no more; it goes on."""
        self._closing = True
        self._wake.set()
        self._thread.join(10)

    # The thread

    def _work(self) -> None:
        try:
            self._ended = self._look_after()
        except GoneError as error:
            self._ended = self._gone(error.standing)
        except (TenysonError, OSError) as error:
            self._ended = self._failed(error)
        except Exception as error:  # whatever it is, the machine must not be forgotten
            self._ended = self._failed(error)
        finally:
            if self._connection is not None:
                self._connection.close()
            if self._relay is not None:
                self._relay.close()

    def _look_after(self) -> Observation | None:
        if self.record.fetched:
            return verdict(self.record, self.folder)
        if self.record.lost is not None:
            return loss(self.record, self.folder)
        while not self._closing:
            try:
                connection = self._reach()
                if connection is None:
                    return self._cancelled_early()
                if self.record.job is None:
                    self._provision(connection)
                ended = self._follow(connection)
                if ended is not None:
                    return ended
            except UnreachableError as error:
                self._lose(str(error))
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

    def _ends_by(self) -> float:
        return (self.record.launched_at or 0) + self._settings.max_hours * 3600

    # Following it

    def _provision(self, connection: Connection) -> None:
        self._say_once(f"{self.instance.id}: installing what the job needs")
        self.record.job = provision(connection, self.record, self._settings, self._mirror, self._mark)
        self._mark("job started")

    def _follow(self, connection: Connection) -> Observation | None:
        """Look until the job has ended and all of it is here; None when nobody waits for it any more."""
        relay = self._make_relay()
        tries = 0
        control: list[str] = []
        while not self._closing:
            if self._ending:
                raise GoneError(Standing("gone", detail="it was ended from here"))
            if self._grace is not None:
                self._tell_to_end(connection, self._grace)
                self._grace = None
            seen = self._mirror.look(connection, control=control)
            self._trouble = ""
            if relay is not None:
                relay.delivered(control)
                control = relay.carry()
                if relay.trouble:
                    self._say_once(
                        f"the database takes no events, they wait in {self.folder / 'spool'}: {relay.trouble}"
                    )
            if seen.state == "ended" and seen.whole:
                seen = self._mirror.look(connection, final=True, most=1 << 62)
                faults = self._mirror.faults(seen)
                if not faults:
                    return self._fetched(seen)
                tries += 1
                if tries >= FINAL_LOOKS:
                    raise BackendError(
                        f"outputs have other content here than on the machine after {tries} tries: {', '.join(faults[:5])}"
                    )
                self._mirror.forget(faults)
            elif seen.state == "none":
                raise BackendError(
                    "the job's process is not known on the machine; was its folder deleted there?"
                )
            elif seen.whole:
                self._pause(self._settings.poll_seconds)
        return None

    def _make_relay(self) -> Relay | None:
        if self._settings.direct_database or not (self.spec.config.get("telemetry") or {}).get("db_url"):
            return None
        if self._relay is None:
            from tenyson.telemetry.relay import Relay

            self._relay = Relay(self.spec.config, self.folder, self.spec.run_id)
        return self._relay

    def _tell_to_end(self, connection: Connection, grace: float) -> None:
        assert self.record.job is not None
        supervisor = str(self.record.job["supervisor"]["pid"])
        script = 'printf %s "$1" >"$2" && kill -TERM "$3"'
        words = [str(grace), f"{self._mirror.there}/cancel", supervisor]
        with contextlib.suppress(CommandError):  # it has ended by itself
            connection.run(["sh", "-c", script, "sh", *words])

    # How it ended

    def _cancelled_early(self) -> Observation | None:
        if self._closing:
            return None
        return Observation(
            "ended", observed=True, exit_code=EXIT_INTERRUPTED, detail="it was cancelled before its job began"
        )

    def _fetched(self, seen: Seen) -> Observation:
        self.record.exit = seen.exit or {"exit_code": None}
        if self._relay is not None and not self._relay.finish():
            self._say(
                f"telemetry waits in {self.folder / 'spool'}: {self._relay.trouble} (tenyson telemetry recover)"
            )
        self.record.fetched = True
        self._mark("fetched")
        return verdict(self.record, self.folder)

    def _gone(self, standing: Standing) -> Observation:
        """The machine ended before its job's outputs were here."""
        reason: Reason = "lost"
        detail = f"the machine is gone: {standing.detail}"
        noticed = (self.folder / NOTICE).is_file()
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
        self.record.lost = {"reason": reason, "detail": detail, "preempted": preempted and not self._ending}
        self.record.save(self.folder)
        if self._settings.bucket:
            detail += self._fetch_from_bucket()
            self.record.lost["detail"] = detail
            self.record.save(self.folder)
        relay = self._make_relay()
        if relay is not None:
            relay.finish()
        return loss(self.record, self.folder)

    def _fetch_from_bucket(self) -> str:
        from tenyson_aws.machine.bucket import Bucket

        try:
            bucket = Bucket(str(self._settings.bucket), self.record.region, self.spec.run_id)
            count = bucket.fetch_all(self.folder)
        except Exception as error:
            return f"; its files in {self._settings.bucket} could not be fetched: {type(error).__name__}: {error}"
        assert self.record.lost is not None
        self.record.lost["from_bucket"] = bool(count)
        return f"; {count} files came from {self._settings.bucket}" if count else ""

    def _failed(self, error: Exception) -> Observation:
        """It cannot go on: the machine is given back at once, unless outputs on it are still to be had."""
        words = (
            str(error) if isinstance(error, (TenysonError, OSError)) else f"{type(error).__name__}: {error}"
        )
        keep = self.record.job is not None and self.record.exit is None
        if keep:
            words += (
                f"\nthe machine {self.instance.id} is kept, since outputs may be on it; it ends itself when it has stood idle for "
                f"{self._settings.idle_minutes:g} minutes. Try again with: tenyson attach {self.spec.run_id}"
            )
        return Observation("ended", observed=True, reason="infrastructure", detail=words)

    # Small things

    def _mark(self, stage: str) -> None:
        if stage not in self.record.times:
            self.record.times[stage] = time.time()
            self.record.save(self.folder)

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._say(text)

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()


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
