"""The local backend: a job is a process on this machine, in a session of its own, started by the same runner.

A small supervisor process (`tenyson.cloud.local.supervisor`) stays beside each job and writes down how it ended. So a
controller may die and another one find the job, or its exit status, from the job's folder alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import BaseBackend, Estimate, Handle, Observation
from tenyson.cloud.local.archive import EARLIER, archive_attempt
from tenyson.cloud.local.occupant import (
    is_attempt,
    is_copy,
    is_displaced,
    is_elsewhere,
    read_json,
    require_same,
    set_aside,
)
from tenyson.cloud.local.process import is_alive
from tenyson.cloud.manager import CloudManager
from tenyson.cloud.watch.diagnosis import diagnose
from tenyson.cloud.watch.follow import Follower
from tenyson.cloud.watch.log import chunks
from tenyson.core.files.log_tail import log_tail
from tenyson.core.run_folder import CANCEL, CONFIG, EXIT_STATUS, LOG, PROCESS, TERMINATED
from tenyson.errors import BackendError, ConfigError, DisplacedError, MissingDependencyError
from tenyson.jobs.runtime.writable import check_output_dir
from tenyson.jobs.spec import JobSpec, resume_reference

TAIL_BYTES = 8192
CONFIRM_SECONDS = 10.0
RUNNER = (sys.executable, "-m", "tenyson.runner")


class LocalBackend(BaseBackend):
    """Runs jobs as processes of this machine. Follows `tenyson.cloud.backend.Backend`.

    Args:
        output_dir: where `reattach` and `list` look for jobs; a job's own `run.output_dir` says where it goes.
        runner: the command that takes the runner's flags. Another interpreter or a wrapper may stand here.
    """

    name = "local"

    def __init__(self, output_dir: str | Path = "./outputs", runner: Sequence[str] = RUNNER) -> None:
        self.output_dir = Path(output_dir)
        self.runner = tuple(runner)
        self._children: list[subprocess.Popen[str]] = []

    @property
    def settings(self) -> dict[str, Any]:  # type: ignore[override]
        """What makes this backend again, for a controller that comes later."""
        own = {} if self.runner == RUNNER else {"runner": list(self.runner)}
        return {"output_dir": str(self.output_dir), **own}

    def validate(self, spec: JobSpec) -> None:
        """Find what would fail, without starting anything.

        Raises:
            BackendError: the job's folder cannot be written.
            MissingDependencyError: this machine cannot train.
        """
        if self.runner == RUNNER and importlib.util.find_spec("torch") is None:
            raise MissingDependencyError(
                "torch", needed_for="running a job on this machine", install="tenyson-core[train]"
            )
        folder = spec.folder
        try:
            check_output_dir(folder)
        except ConfigError as error:
            raise BackendError(
                "the job's folder cannot be written here",
                place=str(folder),
                next_step="Set run.output_dir to another folder.",
            ) from error

    def estimate(self, spec: JobSpec) -> Estimate:  # noqa: ARG002  the protocol's signature
        """Nothing to do: the machine is this one."""
        return Estimate(per_hour=0.0, worst_case=0.0, note="this machine: nothing to pay")

    def submit(self, spec: JobSpec) -> Handle:
        """Start the job, or find it if it already runs under this run id, or was started with this token.

        Raises:
            BackendError: the folder cannot be written, the runner cannot be started, a later attempt was, or a job of
                this run id still runs with other settings.
        """
        folder = spec.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _submit_lock(folder) as lock:
                if spec.token and any(is_attempt(earlier, spec) for earlier in folder.glob(f"{EARLIER}/*")):
                    raise BackendError(
                        "this attempt was started before, and a later one has taken its place",
                        place=str(folder),
                    )
                before = self._handle(folder, spec.run_id)
                if before is not None and is_attempt(folder, spec):
                    return before
                if before is not None and (seen := self.poll(before)).phase == "running":
                    if not seen.observed:
                        raise BackendError(
                            f"a job called {spec.run_id} was started on {before.data['machine'].get('host')}, another machine "
                            "or container than this one, and its end was not seen",
                            place=str(folder),
                            next_step=f"If that machine is gone, remove {folder / PROCESS}.",
                        )
                    require_same(folder, spec)
                    return before
                archive_attempt(folder, resumed=bool(resume_reference(spec.config)))
                config = _write_config(folder, spec)
                return self._start(folder, spec, config, lock)
        except OSError as error:
            raise BackendError(
                f"the job's folder cannot be used: {error.strerror}", place=str(folder)
            ) from error

    def poll(self, handle: Handle) -> Observation:
        """Poll once. Of a job of another machine nothing is observed until its supervisor there has written its end."""
        self._children = [child for child in self._children if child.poll() is None]
        ended = self._read_exit(handle)
        if ended is None and is_elsewhere(handle):
            return Observation(phase="running", observed=False)
        if ended is None and not self._alive(handle):
            # The status may have been written between the two reads.
            ended = self._read_exit(handle) or {"exit_code": None}
        if ended is None:
            return Observation(phase="running", observed=True)
        code = ended["exit_code"]
        reason, detail = diagnose(
            code, oom_kills=ended.get("oom_kills"), log_tail=self._log_tail(handle), by=ended.get("by")
        )
        return Observation(phase="ended", observed=True, exit_code=code, reason=reason, detail=detail)

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """This attempt's log from byte `cursor` on, in chunks; ends when nothing more is there now."""
        if is_displaced(handle):
            return iter(())
        return chunks(_folder(handle) / LOG, int(handle.data["log_start"]), cursor)

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """Nothing to do where `to` is the job's folder; else a copy.

        Raises: DisplacedError: another job was started there since, and what lies there is not this one's.
        """
        folder = _folder(handle)
        if is_displaced(handle):
            aside = set_aside(handle)
            raise DisplacedError(
                f"another job called {handle.run_id} was started in the folder before the end of this one was seen",
                place=str(folder),
                next_step=f"What this one left is in {aside}."
                if aside
                else "Give each run an id of its own.",
            )
        if to.resolve() != folder.resolve():
            shutil.copytree(folder, to, dirs_exist_ok=True)

    def release(self, handle: Handle) -> None:
        """Nothing was rented."""

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """Ask the job to save and end. The supervisor ends it after the grace, even if we are gone by then."""
        supervisor, job = handle.data["supervisor"], handle.data["job"]
        if not is_displaced(handle):
            (_folder(handle) / CANCEL).write_text(str(grace_seconds), encoding="ascii")
        if _signal(supervisor, signal.SIGTERM):
            return
        # No supervisor is left to keep the time.
        if _signal(job, signal.SIGTERM) and not self._wait_until_gone(handle, grace_seconds):
            self.terminate(handle)

    def terminate(self, handle: Handle) -> None:
        """Kill the job and everything in its process group.

        Raises:
            BackendError: it is still there ten seconds later.
        """
        job = handle.data["job"]
        if is_alive(job["pid"], job["mark"]):
            with contextlib.suppress(OSError):
                (_folder(handle) / TERMINATED).write_text(
                    f"its controller (process {os.getpid()}) ended it at once, without saving",
                    encoding="utf-8",
                )
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job["pid"], signal.SIGKILL)
        if not self._wait_until_gone(handle, CONFIRM_SECONDS):
            raise BackendError(
                f"the job does not end on SIGKILL (process {job['pid']})",
                place=str(_folder(handle)),
                next_step="It may hang in a driver or on a network disk; look with: ps -o pid,stat,wchan -p "
                f"{job['pid']}",
            )

    def reattach(self, run_id: str) -> Handle | None:
        """The job of that name under `output_dir`, running or ended; None if there is none."""
        return self._handle(self.output_dir / run_id, run_id)

    def list(self) -> list[Handle]:
        """All jobs under `output_dir` that this backend has started, by name."""
        folders = sorted(path.parent for path in self.output_dir.glob(f"*/{PROCESS}"))
        return [handle for folder in folders if (handle := self._handle(folder, folder.name)) is not None]

    def _start(self, folder: Path, spec: JobSpec, config: Path, lock: int) -> Handle:
        job = [*self.runner, "--job-type", spec.job_type, "--config", str(config), "--task-module", spec.task]
        words = [str(folder), str(lock), spec.token or "-"]
        supervisor = [sys.executable, "-m", "tenyson.cloud.local.supervisor", *words, "--", *job]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "TENYSON_PROGRESS": "json"}
        with (folder / LOG).open("ab") as log:
            child = subprocess.Popen(
                supervisor,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
                pass_fds=(lock,),
                text=True,
            )
        assert child.stdout is not None
        with child.stdout as said:
            answer = said.readline().strip()
        self._children.append(child)
        handle = self._handle(folder, spec.run_id)
        if answer != "ready" or handle is None:
            raise BackendError(
                answer or "the job's supervisor ended before it started the job",
                place=str(folder / LOG),
                next_step="The end of that file may say why.",
            )
        return handle

    def _handle(self, folder: Path, run_id: str) -> Handle | None:
        try:
            process = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
            data = {key: process[key] for key in ("supervisor", "job", "log_start")}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if is_copy(folder, process):
            return None
        if process.get("machine"):
            data["machine"] = process["machine"]
        return Handle(backend=self.name, run_id=run_id, data=data | {"folder": str(folder.resolve())})

    def _read_exit(self, handle: Handle) -> dict[str, Any] | None:
        folder = set_aside(handle) if is_displaced(handle) else _folder(handle)
        return None if folder is None else read_json(folder / EXIT_STATUS)

    def _alive(self, handle: Handle) -> bool:
        return any(
            is_alive(who["pid"], who["mark"]) for who in (handle.data["supervisor"], handle.data["job"])
        )

    def _log_tail(self, handle: Handle) -> str:
        if is_displaced(handle):
            return ""
        return log_tail(_folder(handle) / LOG, TAIL_BYTES, start=int(handle.data["log_start"]))

    def _wait_until_gone(self, handle: Handle, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.poll(handle).phase != "ended":
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


class LocalManager(CloudManager):
    """Runs jobs on this machine: `LocalManager().run(job)`."""

    def __init__(
        self,
        output_dir: str | Path = "./outputs",
        *,
        runner: Sequence[str] = RUNNER,
        follower: Follower | None = None,
        grace_seconds: float | None = None,
    ) -> None:
        super().__init__(LocalBackend(output_dir, runner), follower=follower, grace_seconds=grace_seconds)


def _write_config(folder: Path, spec: JobSpec) -> Path:
    import yaml

    path = folder / CONFIG
    path.write_text(yaml.safe_dump(dict(spec.config), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


@contextlib.contextmanager
def _submit_lock(folder: Path) -> Iterator[int]:
    """Only one at a time may start a job here. The supervisor inherits the lock until it has said who it is."""
    descriptor = os.open(folder / ".submit.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _folder(handle: Handle) -> Path:
    return Path(handle.data["folder"])


def _signal(who: dict[str, Any], number: int) -> bool:
    """Send a signal, unless the process is gone or its pid belongs to another one by now."""
    if not is_alive(who["pid"], who["mark"]):
        return False
    try:
        os.kill(who["pid"], number)
    except ProcessLookupError:
        return False
    return True
