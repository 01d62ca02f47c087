"""Launchers: how a pipeline starts a step's job and watches it; over a backend, or over any object with `run(job)`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tenyson.cloud.adapted import adapted
from tenyson.cloud.backend import Backend, BaseBackend, Handle, Observation, cost_in_words
from tenyson.cloud.watch.follow import Follower, SafeFollower, safe_follower
from tenyson.cloud.watch.watch import JobWatch
from tenyson.core.stdio import say
from tenyson.errors import BackendError, TenysonError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.graph.policy import FailurePolicy

if TYPE_CHECKING:
    from tenyson.cloud.manager import SpecifiedJob


class Cloud(Protocol):
    """Anything that runs a job: LocalManager, AWSManager, ModalManager, or an object of one's own."""

    def run(self, job: SpecifiedJob, /) -> JobResult:
        """Run one job to its end. A failed job is a result."""


class Watch(Protocol):
    """One launched job."""

    handle: Handle

    def poll(self) -> Observation:
        """Its state now."""

    def conclude(self, seen: Observation, *, interrupted: bool = False) -> JobResult:
        """What came of it, once `poll` says that it ended or it cannot be reached for good."""


class Launcher(Protocol):
    """Starts jobs, finds them again, ends them."""

    name: str
    rented: bool
    """Whether its machines keep running, and costing money, without us."""

    def submit(self, label: str, spec: JobSpec) -> Handle:
        """Start the job, once for each `spec.token`. Raises: TenysonError, OSError."""

    def watch(self, spec: JobSpec, handle: Handle, *, begun: float, adopted: bool) -> Watch:
        """Watch a job that was submitted. Raises: TenysonError: it cannot be found again."""

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """Ask a job to save and end."""

    def terminate(self, handle: Handle) -> None:
        """End a job now."""

    def say(self, text: str) -> None:
        """One line for whoever watches."""


class BackendLauncher:
    """Over a backend: its jobs outlive their controller, and the next one finds them."""

    def __init__(self, backend: Backend, follower: Follower, policy: FailurePolicy | None = None) -> None:
        """`policy`: how often a step is tried again, for the worst case that is told."""
        self.name = backend.name
        self._backend = adapted(backend)
        self.rented = self._backend.rented
        self._attempts = attempts_on(self._backend, policy) if policy else 1
        self._follower = safe_follower(follower)
        self._idle: list[SafeFollower] = [self._follower]
        self._backend.say = self._follower.say

    def submit(self, label: str, spec: JobSpec) -> Handle:  # noqa: ARG002  the protocol's signature
        """Check, say what it costs, and start."""
        self._backend.validate(spec)
        estimate = self._backend.estimate(spec)
        if estimate.per_hour:
            cost = cost_in_words(estimate, attempts=self._attempts, budget=self._backend.budget_usd)
            self.say(f"{spec.run_id}: {cost} ({estimate.note})")
        handle = self._backend.submit(spec)
        if not estimate.per_hour:
            return handle
        # What the report's cost is made of.
        return replace(handle, data={"per_hour": estimate.per_hour, **handle.data})

    def watch(self, spec: JobSpec, handle: Handle, *, begun: float, adopted: bool) -> Watch:
        """Each job that runs has a follower of its own."""
        follower = self._idle.pop() if self._idle else self._follower.another()
        return _Returning(
            JobWatch(self._backend, spec, handle, follower, begun=begun, adopted=adopted),
            lambda: self._idle.append(follower),
        )

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """As the backend does."""
        self._backend.cancel(handle, grace_seconds)

    def terminate(self, handle: Handle) -> None:
        """As the backend does."""
        self._backend.terminate(handle)

    def say(self, text: str) -> None:
        """Through the follower, which may be drawing."""
        self._follower.say(text)


class CloudLauncher:
    """Over any object with `run(job)`: each job in a thread, and lost with the process that it belongs to."""

    rented = False

    def __init__(self, cloud: Cloud, jobs: Mapping[str, Callable[[Mapping[str, Any]], SpecifiedJob]]) -> None:
        """`jobs`: by label, what makes a step's job of its configuration."""
        self.name = type(cloud).__name__
        self._cloud = cloud
        self._jobs = jobs
        self._threads: dict[str, _Thread] = {}

    def submit(self, label: str, spec: JobSpec) -> Handle:
        """Start the thread."""
        if spec.token not in self._threads:
            self._threads[spec.token] = thread = _Thread(self._cloud, self._jobs[label](spec.config), spec)
            thread.start()
        return Handle(self.name, spec.run_id, {"token": spec.token})

    def watch(self, spec: JobSpec, handle: Handle, *, begun: float, adopted: bool) -> Watch:  # noqa: ARG002
        """Raises: BackendError: it was another process's."""
        thread = self._threads.get(str(handle.data["token"]))
        if thread is None:
            raise BackendError(
                f"the controller that ran it is gone, and a {self.name} cannot be asked what became of the job"
            )
        return thread

    def cancel(self, handle: Handle, grace_seconds: float) -> None:  # noqa: ARG002
        """Not possible: it is waited for."""
        self.say(f"{handle.run_id}: a {self.name} cannot be asked to end a job; Ctrl-C again leaves it")

    def terminate(self, handle: Handle) -> None:
        """The thread is left alone, and ends with the process."""
        self._threads[str(handle.data["token"])].left = True

    def say(self, text: str) -> None:
        """On stderr."""
        say(text)


class _Thread(threading.Thread):
    """One call of `run`, as a Watch."""

    def __init__(self, cloud: Cloud, job: SpecifiedJob, spec: JobSpec) -> None:
        super().__init__(name=f"run {spec.run_id}", daemon=True)
        self.handle = Handle(type(cloud).__name__, spec.run_id, {"token": spec.token})
        self.left = False
        self._cloud, self._job = cloud, job
        self._begun = time.monotonic()
        self._result: JobResult | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        """The thread's work."""
        try:
            self._result = self._cloud.run(self._job)
        except Exception as error:
            self._error = error

    def poll(self) -> Observation:
        """Ended once `run` returned, or was given up."""
        return Observation("running" if self.is_alive() and not self.left else "ended", observed=True)

    def conclude(self, seen: Observation, *, interrupted: bool = False) -> JobResult:  # noqa: ARG002
        """What `run` returned. Its exception is a failed job."""
        if self._result is not None:
            return self._result
        seconds = time.monotonic() - self._begun
        if self.left:
            return JobResult(self.handle.run_id, "stopped", seconds, failure_reason="it was left to itself")
        known = isinstance(self._error, TenysonError)
        reason = str(self._error) if known else f"{type(self._error).__name__}: {self._error}"
        return JobResult(self.handle.run_id, "failed", seconds, failure_reason=reason)


class _Returning:
    """A watch whose follower is free again once the job is over."""

    def __init__(self, watch: JobWatch, over: Callable[[], None]) -> None:
        self.handle = watch.handle
        self.poll = watch.poll
        self._watch = watch
        self._over = over

    @property
    def grace(self) -> float:
        return self._watch.grace

    def conclude(self, seen: Observation, *, interrupted: bool = False) -> JobResult:
        result = self._watch.conclude(seen, interrupted=interrupted)
        self._over()
        return result


def attempts_on(backend: BaseBackend, policy: FailurePolicy) -> int:
    """How often a step is launched there at most, as long as nobody decides."""
    return replace(policy, rented=policy.rented or backend.rented).attempts
