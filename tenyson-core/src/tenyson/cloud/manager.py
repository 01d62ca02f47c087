"""CloudManager: takes one job through a backend, from validation to its JobResult. A failed job does not raise."""

from __future__ import annotations

import time
from typing import Protocol

from tenyson.cloud.backend import Backend, Handle, Observation
from tenyson.cloud.follow import Follower, PlainFollower
from tenyson.cloud.interrupts import Interrupts
from tenyson.cloud.verdict import conclude, print_failure
from tenyson.cloud.watch import JobWatch, out_of_reach, output_folder
from tenyson.errors import TenysonError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec

POLL_SECONDS = 0.2


class SpecifiedJob(Protocol):
    """Anything that can say what it is: SFTJob, RLJob, EvalJob. It needs no torch on the controller."""

    def spec(self) -> JobSpec:
        """What a machine needs to run it."""


class CloudManager:
    """Runs jobs on a backend: `manager.run(job) -> JobResult`. AWSManager, ModalManager and LocalManager are this.

    Args:
        backend: where jobs run.
        follower: what shows a job's progress; plain lines on stderr by default.
        grace_seconds: how long an interrupted job may take to save before it is ended.
    """

    def __init__(
        self, backend: Backend, *, follower: Follower | None = None, grace_seconds: float = 120.0
    ) -> None:
        self.backend = backend
        self.follower: Follower = follower or PlainFollower()
        self.grace_seconds = grace_seconds
        self.interrupted = False
        """Whether Ctrl-C (or SIGTERM) came while a job ran; a pipeline starts nothing more then."""

    def run(self, job: SpecifiedJob) -> JobResult:
        """Run a job to its end and return its result.

        A job that crashes, is killed, runs out of memory or loses its machine gives a result with status
        "failed", a `failure_reason`, and red lines on stderr. Ctrl-C once asks the job to save and end (status
        "stopped"), twice ends it now.

        Raises:
            BackendError, MissingDependencyError: `validate` found that the job cannot start; nothing was started.
        """
        spec = job.spec()
        self.backend.validate(spec)
        estimate = self.backend.estimate(spec)
        if estimate.per_hour:
            worst = "" if estimate.worst_case is None else f", at most ${estimate.worst_case:.2f}"
            self.follower.say(f"${estimate.per_hour:.2f} an hour{worst} ({estimate.note})")
        watch: JobWatch | None = None
        try:
            # Interrupts are counted from before the launch on: a torn launch could leave a machine behind.
            with Interrupts() as interrupts:
                watch = JobWatch(self.backend, spec, self.backend.submit(spec), self.follower)
                seen = self._follow(watch, interrupts)
        except (TenysonError, OSError) as error:
            seen = out_of_reach(self.backend, error)
        if watch is not None:
            result = watch.conclude(seen, interrupted=self.interrupted)
        else:
            result = conclude(spec, None, seen, output_folder(spec), [], 0.0, interrupted=self.interrupted)
            self.follower.ended(result)
        if result.status == "failed":
            print_failure(result)
        return result

    def _follow(self, watch: JobWatch, interrupts: Interrupts) -> Observation:
        answered = 0
        while (seen := watch.look()).phase != "ended":
            if interrupts.count > answered:
                answered = interrupts.count
                self._interrupt(watch.handle, answered)
            time.sleep(POLL_SECONDS)
        return seen

    def _interrupt(self, handle: Handle, count: int) -> None:
        if not self.interrupted:
            self.interrupted = True
            self.follower.say(
                f"interrupted: the job saves and ends, within {self.grace_seconds:.0f} s (Ctrl-C again ends it now)"
            )
            self.backend.cancel(handle, self.grace_seconds)
        if count > 1:
            self.follower.say("interrupted again: the job is ended now, without saving")
            self.backend.terminate(handle)
