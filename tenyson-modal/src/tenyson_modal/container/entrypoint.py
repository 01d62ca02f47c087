"""The entrypoint: the one function that Modal runs. It starts the job as a process of the container, copies its files into the
volume, passes requests on, and makes a preempted container leave a checkpoint.

Modal gives the same input to another container after a preemption, a crash, and, as a retry, after a time limit: each resumes from
the volume.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import Handle
from tenyson.cloud.local.backend import RUNNER, LocalBackend
from tenyson.cloud.remote.poll import read_json
from tenyson.core.run_folder import CONTROL, SPOT_NOTICE, RunFolder
from tenyson.core.stdio import say
from tenyson.errors import TenysonError
from tenyson.jobs.spec import JobSpec, resume_reference, resumed
from tenyson.telemetry.spool.relayed import VARIABLE as RELAY
from tenyson_modal.api.failures import modal_errors
from tenyson_modal.api.naming import INPUTS, INTERNAL, MOUNT, attempt_key, control_name
from tenyson_modal.container.lock import Lock
from tenyson_modal.container.time_slice import saving_seconds
from tenyson_modal.container.volume_sync import VolumeSync
from tenyson_modal.exchange.requests import Requests

TICK_SECONDS = 0.2
ROUND_SECONDS = 1.0
"""Between two rounds: copy, commit, read requests."""
NOTICE_SECONDS = 20.0
"""Of the half minute between Modal's signal and the end: so long the job may take to save."""
PATIENCE_SECONDS = 900.0
"""So long a volume that takes nothing is tried again before the container gives up."""
LEASE_SECONDS = 10.0
"""How often it is made sure that no other container has taken over."""


@dataclass(frozen=True)
class Request:
    """What the controller asks for. No secret is in it: those come as Modal secrets."""

    spec: dict[str, Any]
    cwd: str
    """What the job's paths are relative to; made here."""
    volume: str
    environment: str | None
    inputs: list[str]
    """Absolute paths of files that were sent along, to be put there."""
    import_roots: list[str]
    variables: dict[str, str]
    relay: bool
    runner: list[str]
    max_seconds: float
    """Of the attempt, from the beginning of its first container on."""
    timeout: float
    """Seconds that this container may work."""
    preemptions: int
    restarts: int


class ContinueElsewhere(RuntimeError):
    """The container's time is over, the job's is not: Modal's retry resumes from the checkpoint."""


def run(text: str) -> str:
    """Work on one attempt until it has ended; returns how, as JSON. The volume holds the same.

    Raises: ContinueElsewhere, KeyboardInterrupt (a preemption), modal.exception.InputCancellation.
    """
    import modal

    began = time.time()
    request = Request(**json.loads(text))
    spec = JobSpec(**request.spec)
    entries = modal.Dict.from_name(control_name(request.volume), environment_name=request.environment)
    volume = modal.Volume.from_name(request.volume, environment_name=request.environment)
    lock = Lock.take(entries, attempt_key(spec.token), str(modal.current_function_call_id()))
    if isinstance(lock, str):
        return json.dumps({"refused": lock})
    with _signals() as signals:
        try:
            ended = Entrypoint(request, spec, lock, volume, signals, began).work()
        except (TenysonError, OSError) as error:
            return json.dumps({"error": str(error)})
    if signals and "state" not in ended:
        _raise(signals[0])
    return json.dumps(ended)


class Entrypoint:
    """One container's work."""

    def __init__(
        self, request: Request, spec: JobSpec, lock: Lock, volume: Any, signals: list[int], began: float
    ) -> None:
        self._request = request
        self._spec = spec
        self._lock = lock
        self._signals = signals
        self._began = began
        self._ends_at = began + request.timeout
        self._echoed = 0
        self._taken = 0
        key = attempt_key(spec.token)
        os.environ.update(request.variables)
        if request.relay:
            os.environ[RELAY] = "1"
        Path(request.cwd).mkdir(parents=True, exist_ok=True)
        os.chdir(request.cwd)
        self._folder = spec.folder
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = Path(MOUNT) / spec.run_id
        self._internal = kept / INTERNAL / key
        self._sync = VolumeSync(self._folder, kept, self._internal, volume.commit)
        runner = [word.replace("{python}", sys.executable) for word in request.runner] or RUNNER
        self._backend = LocalBackend(self._folder.parent, runner)
        if request.import_roots:
            paths = [*request.import_roots, *filter(None, [os.environ.get("PYTHONPATH")])]
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)

    def work(self) -> dict[str, Any]:
        """Its exit status: a state, or nothing if another container is to continue. Raises: TenysonError, OSError, ContinueElsewhere."""
        before = self._sync.before
        if before is not None and before["state"] == "ended":
            return {"state": "ended"}  # only our answer was lost
        if (ended := self._count(before)) is not None:
            return ended
        self._sync.prepare(resumed=bool(resume_reference(self._spec.config)))
        self._unpack()
        spec = self._spec if before is None else resumed(self._spec)
        handle = self._backend.submit(spec)
        if before is not None:
            self._taken = int(before.get("taken") or 0)
            self._began = float(before.get("began") or self._began)
        self._surely("running", **self._about(handle))
        return self._follow(handle)

    def _count(self, before: dict[str, Any] | None) -> dict[str, Any] | None:
        """Count why this container was called; how the attempt ended, where that was too often."""
        if before is None:
            return None
        counts, state = self._sync.counts, before["state"]
        kind = {"preempted": "preemptions", "continued": "continued"}.get(state, "crashes")
        counts[kind] += 1
        if counts["preemptions"] > self._request.preemptions:
            return self._end(
                "preempted", f"Modal preempted the container {counts['preemptions']} times", preempted=True
            )
        if counts["crashes"] > self._request.restarts:
            return self._end(
                "infrastructure",
                f"the container died without an exit status {counts['crashes']} times: its host failed, or its memory ran out (memory: more MiB)",
            )
        return None

    def _unpack(self) -> None:
        for path in self._request.inputs:
            source, target = self._internal / INPUTS / path.lstrip("/"), Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)

    def _follow(self, handle: Handle) -> dict[str, Any]:
        next_round = 0.0
        next_lease = time.time() + LEASE_SECONDS
        over_at = self._began + self._request.max_seconds
        leave_at = self._ends_at - saving_seconds(self._request.timeout)
        cancelled = limit = False
        while not self._signals:
            ended = self._backend.poll(handle).phase == "ended"
            self._echo()
            if ended:
                return self._finish(handle, timeout=limit)
            now = time.time()
            if now >= next_round:
                try:
                    if now >= next_lease:
                        if not self._lock.holds():
                            self._backend.terminate(handle)
                            return {"refused": ""}
                        next_lease = now + LEASE_SECONDS
                    requests = Requests.read(self._lock.entries, self._lock.key)
                    self._hand_over(requests.lines)
                    if requests.cancel is not None and not cancelled:
                        cancelled = True
                        self._backend.cancel(handle, requests.cancel)
                    self._sync.sync("running", **self._about(handle))
                except modal_errors() as error:
                    # The job does not need them; the next round tries again.
                    _say(f"Modal did not answer: {type(error).__name__}: {error}")
                next_round = time.time() + ROUND_SECONDS
            if now > over_at and not limit:
                limit = True
                self._backend.cancel(handle, max(10.0, self._ends_at - now - 60))
            if now > leave_at and not limit and not cancelled:
                return self._leave(handle)
            time.sleep(TICK_SECONDS)
        return self._interrupted(handle, self._signals[0])

    def _hand_over(self, lines: list[str]) -> None:
        if len(lines) > self._taken:
            with (self._folder / CONTROL).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines[self._taken :])
            self._taken = len(lines)

    def _finish(self, handle: Handle, *, timeout: bool) -> dict[str, Any]:
        self._surely("running", **self._about(handle))
        exit_status = read_json(RunFolder(self._folder).exit_status) or {"exit_code": None}
        more: dict[str, Any] = {"exit": exit_status, "sums": self._sync.sums()}
        if timeout:
            hours = self._request.max_seconds / 3600
            more["lost"] = {
                "reason": "timeout",
                "detail": f"its longest time is over (max_hours: {hours:g})",
                "preempted": False,
            }
        self._surely("ended", **self._about(handle), **more)
        return {"state": "ended"}

    def _end(self, reason: str, detail: str, *, preempted: bool = False) -> dict[str, Any]:
        """End the attempt without another process; what earlier containers kept stays."""
        lost = {"reason": reason, "detail": detail, "preempted": preempted}
        before = self._sync.before or {}
        self._surely(
            "ended", job=before.get("job"), exit={"exit_code": None}, sums=self._sync.sums(), lost=lost
        )
        return {"state": "ended"}

    def _leave(self, handle: Handle) -> dict[str, Any]:
        """The container's day is over: save, and let a retry continue."""
        self._stop(handle, "this container's time is over", max(5.0, self._ends_at - time.time() - 60))
        if self._ended_by_itself(handle):
            return self._finish(handle, timeout=False)
        self._surely("continued", **self._about(handle))
        raise ContinueElsewhere("this container's time is over; another one resumes from the checkpoint")

    def _interrupted(self, handle: Handle, number: int) -> dict[str, Any]:
        """A signal: Modal preempts the container, or the call was cancelled."""
        preempted = number == signal.SIGINT
        if preempted:
            self._stop(handle, "Modal preempts the container", NOTICE_SECONDS)
        else:
            self._backend.cancel(handle, NOTICE_SECONDS)
            self._wait_for(handle, NOTICE_SECONDS + 5)
        if preempted and not self._ended_by_itself(handle):
            self._surely("preempted", **self._about(handle))
            return {}
        self._finish(handle, timeout=False)
        return {}

    def _stop(self, handle: Handle, why: str, seconds: float) -> None:
        (self._folder / SPOT_NOTICE).write_text(why + "\n", encoding="utf-8")
        self._wait_for(handle, seconds)
        self._backend.terminate(handle)
        self._echo()

    def _wait_for(self, handle: Handle, seconds: float) -> None:
        deadline = time.time() + seconds
        while self._backend.poll(handle).phase != "ended" and time.time() < deadline:
            self._echo()
            time.sleep(TICK_SECONDS)

    def _about(self, handle: Handle) -> dict[str, Any]:
        return {
            "job": dict(handle.data), "taken": self._taken, "life": self._lock.life, "began": self._began,
        }  # fmt: skip

    def _surely(self, state: str, **more: Any) -> None:
        """Sync, even if Modal is away for a while: what is not in the volume is lost. Raises: what Modal raises for too long."""
        deadline = time.time() + PATIENCE_SECONDS
        while True:
            try:
                self._sync.sync(state, **more)
            except modal_errors() as error:
                if time.time() > deadline:
                    raise
                _say(f"the volume takes nothing: {type(error).__name__}: {error}")
                time.sleep(ROUND_SECONDS)
            else:
                return

    def _ended_by_itself(self, handle: Handle) -> bool:
        """Whether the job came to its end in spite of the notice, which is then of no account."""
        result = read_json(RunFolder(self._folder).job_result)
        code = self._backend.poll(handle).exit_code
        if isinstance(result, dict) and result.get("status") == "success" and code == 0:
            (self._folder / SPOT_NOTICE).unlink(missing_ok=True)
            return True
        return False

    def _echo(self) -> None:
        """The job's log is the container's too: `modal app logs` shows it."""
        try:
            with RunFolder(self._folder).log.open("rb") as log:
                log.seek(self._echoed)
                data = log.read()
        except OSError:
            return
        self._echoed += len(data)
        if data:
            sys.stdout.write(data.decode("utf-8", errors="replace"))
            sys.stdout.flush()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects the signals by which Modal ends a container or cancels a call; they would tear what is being written otherwise."""
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, lambda got, _: caught.append(got)) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int) -> None:
    """What Modal's own handlers raise."""
    from modal.exception import InputCancellation

    if number == signal.SIGUSR1:
        raise InputCancellation("the call was cancelled; the job has saved")
    raise KeyboardInterrupt


def _say(text: str) -> None:
    say(f"tenyson: {text}")
