"""CloudManager: takes one job through a backend, from validation to its JobResult. A failed job does not raise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from tenyson.cloud.adapted import adapted
from tenyson.cloud.backend import Backend, Handle, Observation, cost_in_words
from tenyson.cloud.watch.exit_status import not_launched, print_failure
from tenyson.cloud.watch.follow import Follower, PlainFollower, safe_follower
from tenyson.cloud.watch.grace import grace_of
from tenyson.cloud.watch.interrupts import Interrupts
from tenyson.cloud.watch.watch import JobWatch, is_mistake, out_of_reach
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec, resumed

POLL_SECONDS = 0.2
DETACH_SECONDS = 5.0
"""In which a second Ctrl-C still reaches a job that is about to be left to itself."""


class SpecifiedJob(Protocol):
    """Anything that can say what it is: SFTJob, RLJob, EvalJob. It needs no torch on the controller."""

    def spec(self) -> JobSpec:
        """What a machine needs to run it."""


class CloudManager:
    """Runs jobs on a backend: `manager.run(job) -> JobResult`. AWSManager, ModalManager and LocalManager are this.

    Args:
        backend: where jobs run.
        follower: what shows a job's progress; plain lines on stderr by default.
        grace_seconds: how long an interrupted job may take to save before it is ended; by default twice as long as its steps take, at
            least two minutes.
        max_preemptions: further attempts, each from the latest checkpoint, after a spot instance was preempted.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        follower: Follower | None = None,
        grace_seconds: float | None = None,
        max_preemptions: int = 0,
    ) -> None:
        self.backend = adapted(backend)
        self.follower = safe_follower(follower or PlainFollower())
        self.grace_seconds = grace_seconds
        self.max_preemptions = max_preemptions
        self.backend.say = self.follower.say
        self.interrupted = False
        """Whether Ctrl-C (or SIGTERM) came while a job ran; a pipeline starts nothing more then."""

    def run(self, job: SpecifiedJob) -> JobResult:
        """Run a job to its end and return its result.

        A job that crashes, is killed, runs out of memory or loses its machine gives a result with status
        "failed", a `failure_reason`, and red lines on stderr. Ctrl-C once asks a job on this machine to save and end
        (status "stopped"), twice ends it now. A job on a rented machine keeps running after the first Ctrl-C (status
        "stopped", and how to reattach), and is ended by the second. Once a job has ended, its outputs are still fetched and its
        machine is released; a third Ctrl-C raises KeyboardInterrupt.

        Raises:
            TenysonError: an argument or a setting is wrong, or something is not installed; nothing was started. What a provider
                refuses, or does not answer, is a failed result like any other.
        """
        spec = job.spec()
        try:
            self.backend.validate(spec)
            estimate = self.backend.estimate(spec)
        except Exception as error:
            if is_mistake(error):
                raise
            return self._not_launched(spec, error)
        if estimate.per_hour:
            cost = cost_in_words(estimate, attempts=1 + self.max_preemptions, budget=self.backend.budget_usd)
            self.follower.say(f"{cost} ({estimate.note})")
        result = self._attempt(spec)
        for again in range(1, self.max_preemptions + 1):
            if not result.spot_interruption or self.interrupted:
                break
            self.follower.say(
                f"{result.failure_reason}\ninstance preempted; resuming from the latest checkpoint on a new one "
                f"({again} of {self.max_preemptions})"
            )
            before, result = result, self._attempt(resumed(spec))
            if (
                result.local_output_dir is None
            ):  # not launched: what the one before it has saved is still there
                result = replace(result, local_output_dir=before.local_output_dir)
        if result.status == "failed":
            print_failure(result)
        return result

    def attach(self, spec: JobSpec, handle: Handle) -> JobResult:
        """Watch a job to its end that another process submitted. Returns and prints as `run` does."""
        result = self._watch(lambda: JobWatch(self.backend, spec, handle, self.follower, adopted=True), spec)
        if result.status == "failed":
            print_failure(result)
        return result

    def _attempt(self, spec: JobSpec) -> JobResult:
        return self._watch(
            lambda: JobWatch(self.backend, spec, self.backend.submit(spec), self.follower), spec
        )

    def _watch(self, begin: Callable[[], JobWatch], spec: JobSpec) -> JobResult:
        watch: JobWatch | None = None
        seen: Observation | None
        # Interrupts are counted from before the launch until the machine is back: torn, either could leave one behind.
        with Interrupts() as interrupts:
            try:
                watch = begin()
                seen = self._follow(watch, interrupts)
            except Exception as error:
                seen = out_of_reach(self.backend, error)
            if watch is not None and seen is not None:
                interrupts.concluding(lambda left: self._answer_late(spec.run_id, left))
                concluded = watch.conclude(seen, interrupted=self.interrupted)
                self.interrupted = self.interrupted or interrupts.count > 0
                return concluded
        if watch is not None:
            return self._detach(watch)
        assert seen is not None
        result = not_launched(spec, seen)
        self.follower.ended(result)
        return result

    def _not_launched(self, spec: JobSpec, error: Exception) -> JobResult:
        result = not_launched(spec, out_of_reach(self.backend, error))
        print_failure(result)
        return result

    def _follow(self, watch: JobWatch, interrupts: Interrupts) -> Observation | None:
        """The job's exit status; None if it keeps running without us."""
        answered = 0
        leave_at: float | None = None
        while (seen := watch.poll()).phase != "ended":
            if interrupts.count > answered:
                answered = interrupts.count
                leave_at = self._interrupt(watch, answered)
            if leave_at is not None and time.monotonic() > leave_at:
                return None
            time.sleep(POLL_SECONDS)
        return seen

    def _interrupt(self, watch: JobWatch, count: int) -> float | None:
        """Returns when to leave the job to itself, if it is to be."""
        handle = watch.handle
        rented = self.backend.rented
        if not self.interrupted:
            self.interrupted = True
            if rented and count == 1:
                self.follower.say(
                    f"interrupted: detaching in {DETACH_SECONDS:.0f} s; the job keeps running. Reattach with: "
                    f"tenyson attach {handle.run_id} (Ctrl-C again ends the job now and releases its machine)"
                )
                return time.monotonic() + DETACH_SECONDS
            grace = grace_of(watch, self.grace_seconds)
            self.follower.say(
                f"interrupted: the job saves and ends, within {grace:.0f} s (Ctrl-C again ends it now)"
            )
            self.backend.cancel(handle, grace)
        if count > 1:
            self.follower.say("interrupted again: the job is ended now, without saving")
            self.backend.terminate(handle)
        return None

    def _answer_late(self, run_id: str, left: int) -> None:
        """To a Ctrl-C while a job that has ended is concluded."""
        rented = self.backend.rented
        what = "its outputs are fetched and its machine is released" if rented else "its outputs are read"
        back = f"; come back with: tenyson attach {run_id}" if rented else ""
        how = f"Ctrl-C {left} more time{'s' * (left > 1)} leaves now{back}" if left else f"left{back}"
        self.follower.say(f"interrupted: the job has ended; {what} ({how})")

    def _detach(self, watch: JobWatch) -> JobResult:
        result = JobResult(
            watch.spec.run_id,
            "stopped",
            watch.seconds,
            local_output_dir=str(watch.spec.folder),
            failure_reason=f"detached: the job keeps running; reattach with `tenyson attach {watch.spec.run_id}`",
            instance_id=watch.handle.data.get("instance_id"),
        )
        self.follower.ended(result)
        return result
