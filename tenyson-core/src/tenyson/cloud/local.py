"""The local backend: a job is a process on this machine, in a session of its own, started by the same runner.

A small supervisor process (`tenyson.cloud.supervisor`) stays beside each job and writes down how it ended. So a
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenyson.cloud.archive import EARLIER, archive_attempt
from tenyson.cloud.backend import Estimate, Handle, Observation
from tenyson.cloud.diagnosis import diagnose
from tenyson.cloud.follow import Follower
from tenyson.cloud.host import relation
from tenyson.cloud.log import chunks
from tenyson.cloud.manager import CloudManager
from tenyson.cloud.process import is_alive
from tenyson.cloud.supervisor import CANCEL_FILE, EXIT_FILE, LOG_FILE, PROCESS_FILE
from tenyson.cloud.watch import output_folder
from tenyson.errors import BackendError, ConfigError, DisplacedError, MissingDependencyError
from tenyson.jobs.spec import JobSpec
from tenyson.jobs.writable import check_output_dir

CONFIG_FILE = "config.yaml"
TAIL_BYTES = 8192
CONFIRM_SECONDS = 10.0
RUNNER = (sys.executable, "-m", "tenyson.runner")


class LocalBackend:
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
    def settings(self) -> dict[str, Any]:
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
        folder = output_folder(spec)
        try:
            check_output_dir(folder)
        except ConfigError as error:
            raise BackendError(
                "the job's folder cannot be written here",
                place=str(folder),
                next_step="Set run.output_dir to another folder.",
            ) from error

    def estimate(self, spec: JobSpec) -> Estimate:  # noqa: ARG002  the protocol's signature
        """Nothing: the machine is there already."""
        return Estimate(per_hour=0.0, worst_case=0.0, note="this machine: nothing to pay")

    def submit(self, spec: JobSpec) -> Handle:
        """Start the job, or find it if it already runs under this run id, or was started with this token.

        Raises:
            BackendError: the folder cannot be written, the runner cannot be started, a later attempt was, or a job of
                this run id still runs with other settings.
        """
        folder = output_folder(spec)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _submit_lock(folder) as lock:
                if spec.token and any(_is_attempt(earlier, spec) for earlier in folder.glob(f"{EARLIER}/*")):
                    raise BackendError(
                        "this attempt was started before, and a later one has taken its place",
                        place=str(folder),
                    )
                before = self._handle(folder, spec.run_id)
                if before is not None and _is_attempt(folder, spec):
                    return before
                if before is not None and (seen := self.poll(before)).phase == "running":
                    if not seen.observed:
                        raise BackendError(
                            f"a job called {spec.run_id} was started on {before.data['machine'].get('host')}, another machine "
                            "or container than this one, and its end was not seen",
                            place=str(folder),
                            next_step=f"If that machine is gone, remove {folder / PROCESS_FILE}.",
                        )
                    _check_same(folder, spec)
                    return before
                archive_attempt(folder, resumed=bool(_resume_from(spec)))
                config = _write_config(folder, spec)
                return self._start(folder, spec, config, lock)
        except OSError as error:
            raise BackendError(
                f"the job's folder cannot be used: {error.strerror}", place=str(folder)
            ) from error

    def poll(self, handle: Handle) -> Observation:
        """Look once. Of a job of another machine nothing is observed until its supervisor there has written its end."""
        self._children = [child for child in self._children if child.poll() is None]
        ended = self._read_exit(handle)
        if ended is None and _is_elsewhere(handle):
            return Observation(phase="running", observed=False)
        if ended is None and not self._alive(handle):
            # The status may have been written between the two looks.
            ended = self._read_exit(handle) or {"exit_code": None}
        if ended is None:
            return Observation(phase="running", observed=True)
        code = ended["exit_code"]
        reason, detail = diagnose(code, oom_kills=ended.get("oom_kills"), log_tail=self._log_tail(handle))
        return Observation(phase="ended", observed=True, exit_code=code, reason=reason, detail=detail)

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """This attempt's log from byte `cursor` on, in chunks; ends when nothing more is there now."""
        if _is_displaced(handle):
            return iter(())
        return chunks(_folder(handle) / LOG_FILE, int(handle.data["log_start"]), cursor)

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """Nothing to do where `to` is the job's folder; else a copy.

        Raises: DisplacedError: another job was started there since, and what lies there is not this one's.
        """
        folder = _folder(handle)
        if _is_displaced(handle):
            aside = _set_aside(handle)
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
        if not _is_displaced(handle):
            (_folder(handle) / CANCEL_FILE).write_text(str(grace_seconds), encoding="ascii")
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
        folders = sorted(path.parent for path in self.output_dir.glob(f"*/{PROCESS_FILE}"))
        return [handle for folder in folders if (handle := self._handle(folder, folder.name)) is not None]

    def _start(self, folder: Path, spec: JobSpec, config: Path, lock: int) -> Handle:
        job = [*self.runner, "--job-type", spec.job_type, "--config", str(config), "--task-module", spec.task]
        words = [str(folder), str(lock), spec.token or "-"]
        supervisor = [sys.executable, "-m", "tenyson.cloud.supervisor", *words, "--", *job]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "TENYSON_PROGRESS": "json"}
        with (folder / LOG_FILE).open("ab") as log:
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
                place=str(folder / LOG_FILE),
                next_step="The end of that file may say why.",
            )
        return handle

    def _handle(self, folder: Path, run_id: str) -> Handle | None:
        try:
            process = json.loads((folder / PROCESS_FILE).read_text(encoding="utf-8"))
            data = {key: process[key] for key in ("supervisor", "job", "log_start")}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if _is_copy(folder, process):
            return None
        if process.get("machine"):
            data["machine"] = process["machine"]
        return Handle(backend=self.name, run_id=run_id, data=data | {"folder": str(folder.resolve())})

    def _read_exit(self, handle: Handle) -> dict[str, Any] | None:
        folder = _set_aside(handle) if _is_displaced(handle) else _folder(handle)
        return None if folder is None else _read(folder / EXIT_FILE)

    def _alive(self, handle: Handle) -> bool:
        return any(
            is_alive(who["pid"], who["mark"]) for who in (handle.data["supervisor"], handle.data["job"])
        )

    def _log_tail(self, handle: Handle) -> str:
        path = _folder(handle) / LOG_FILE
        if _is_displaced(handle):
            return ""
        try:
            with path.open("rb") as log:
                log.seek(max(int(handle.data["log_start"]), path.stat().st_size - TAIL_BYTES))
                return log.read().decode("utf-8", errors="replace")
        except OSError:
            return ""

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
        grace_seconds: float = 120.0,
    ) -> None:
        super().__init__(LocalBackend(output_dir, runner), follower=follower, grace_seconds=grace_seconds)


def _is_attempt(folder: Path, spec: JobSpec) -> bool:
    """Whether what was started in `folder` is this very attempt."""
    process = _read(folder / PROCESS_FILE)
    return process is not None and bool(spec.token) and process.get("token") == spec.token


def _is_copy(folder: Path, process: Mapping[str, Any]) -> bool:
    """Whether the folder is a copy of the one in which the process was started: what happens to that is not ours."""
    original = Path(str(process.get("folder") or folder))
    try:
        if not original.is_dir() or original.samefile(folder):
            return False
    except OSError:
        return False
    # Where the folder was moved, another job may have come to its old place.
    return (_read(original / PROCESS_FILE) or {}).get("job") == process.get("job")


def _is_elsewhere(handle: Handle) -> bool:
    """Whether its processes are of a machine or a container that cannot be looked into from here."""
    machine = handle.data.get("machine")
    return machine is not None and relation(machine) == "elsewhere"


def _is_displaced(handle: Handle) -> bool:
    """Whether another job was started in the handle's folder since: a process and its start time name a job for ever."""
    process = _read(_folder(handle) / PROCESS_FILE)
    return process is not None and process.get("job") != handle.data["job"]


def _set_aside(handle: Handle) -> Path | None:
    """Where the files of an attempt went when a later one took its folder; None where they are not found."""
    for process in _folder(handle).glob(f"{EARLIER}/*/{PROCESS_FILE}"):
        if (_read(process) or {}).get("job") == handle.data["job"]:
            return process.parent
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _check_same(folder: Path, spec: JobSpec) -> None:
    """Raises: BackendError: the job that runs in `folder` was asked for something else."""
    import yaml

    try:
        running = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError:
        running = {}  # half of it: the job writes it just now
    if _asked(running) != _asked(spec.config):
        raise BackendError(
            f"a job called {spec.run_id} still runs here, with other settings",
            place=str(folder),
            next_step=f"Wait for its end, or end it with `tenyson stop {spec.run_id}`; or give the new run another id.",
        )


def _asked(config: Mapping[str, Any]) -> Any:
    """A configuration but for where it goes on from, and where it is recorded, which the job itself writes otherwise."""
    training = {
        key: value for key, value in (config.get("training") or {}).items() if key != "resume_from_checkpoint"
    }
    return json.loads(json.dumps({**config, "training": training, "telemetry": None}, default=str))


def _resume_from(spec: JobSpec) -> str | None:
    resume: str | None = (spec.config.get("training") or {}).get("resume_from_checkpoint")
    return resume


def _write_config(folder: Path, spec: JobSpec) -> Path:
    import yaml

    path = folder / CONFIG_FILE
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
