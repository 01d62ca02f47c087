"""The controller: brings what the journal says and what the machines do together, until a pipeline is over.

It may be killed at any moment: every intent is in the journal before it is acted on, so the next controller adopts what
runs, submits again what may not have been submitted (with the same token), and asks nobody twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tenyson.cloud.backend import Observation, Reason
from tenyson.cloud.watch.exit_status import print_failure
from tenyson.cloud.watch.interrupts import Interrupts
from tenyson.cloud.watch.watch import reason_of
from tenyson.errors import JournalAwayError, PipelineError, TenysonError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.cache.identity import contents_of
from tenyson.pipeline.control.approvals import Approvals
from tenyson.pipeline.control.interruption import Interruption
from tenyson.pipeline.control.launcher import Launcher, Watch
from tenyson.pipeline.control.other_machines import note_gone
from tenyson.pipeline.control.state import Progress
from tenyson.pipeline.graph.definition import has_checkpoint
from tenyson.pipeline.graph.policy import PREEMPTIONS
from tenyson.pipeline.journal.consistency import require_whole
from tenyson.pipeline.journal.decision import Decision
from tenyson.pipeline.journal.records import IN_FLIGHT, OVER, PipelineStatus, StepRecord
from tenyson.pipeline.notify.notifier import failure_in_words
from tenyson.pipeline.result import PipelineResult
from tenyson.plugins.job_kinds import recorded_kind
from tenyson.telemetry.control import INTERRUPTIONS

if TYPE_CHECKING:
    from tenyson.pipeline.control.session import Session
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.lease import Lease
    from tenyson.pipeline.journal.transaction import Entry
    from tenyson.pipeline.notify.outbox import Dispatcher
    from tenyson.pipeline.request import PipelineRequest

POLL_SECONDS = 0.2
SECONDS_FOR_EACH_JOB = 0.004
"""A look at a job costs up to half a millisecond: with a thousand of them, one every four seconds keeps a core free."""
JOURNAL_SECONDS = 2.0
"""Between two looks at whether a journal that was away is back."""


class Controller:
    """Drives one pipeline under a lease. `run` returns once nothing more is to be done."""

    def __init__(
        self,
        journal: Journal,
        lease: Lease,
        launcher: Launcher,
        dispatcher: Dispatcher,
        request: PipelineRequest,
        session: Session,
    ) -> None:
        """`request` takes precedence over what the journal has of it."""
        self._journal = journal
        self._lease = lease
        self._id = lease.pipeline_id
        self._launcher = launcher
        self._dispatcher = dispatcher
        self._request = request
        self._session = session
        self._policy = replace(request.policy, rented=request.policy.rented or launcher.rented)
        self._watches: dict[str, Watch] = {}
        self._definitions = require_whole(journal, self._id)
        self._progress = Progress(journal, lease)
        self._approvals = Approvals(journal, self._id, self._progress, session.ask, launcher.say)
        self._interruption = Interruption(lease, launcher, self._watches, session.grace_seconds)
        record = journal.pipeline(self._id)
        assert record is not None
        self._created_at = record.created_at
        self._nonce = record.origin.nonce
        # A pipeline that was ended while jobs of it still ran is only tidied up.
        self._ending: PipelineStatus | None = "failed" if record.status == "failed" else None
        self._in_vain = False
        """Whether a step that may not run has no earlier result."""

    def run(self) -> PipelineResult:
        """Run until all steps are over, somebody ends the pipeline, or Ctrl-C.

        Raises: LeaseLostError: another controller has taken over; the jobs keep running.
        """
        if self._policy.rented and self._policy.on_failure in ("wait", "retry") and self._policy.preemptions:
            self._launcher.say(
                "if a machine is preempted or lost, its step resumes from the latest checkpoint on a new one: at most "
                f"{self._policy.preemptions} times per step (--preemptions)"
            )
        try:
            with Interrupts() as interrupts:
                while True:
                    try:
                        self._go_on(interrupts)
                        return self._conclude()
                    except JournalAwayError as error:
                        self._wait_for_journal(error, interrupts)
        finally:
            self._approvals.end()

    def _go_on(self, interrupts: Interrupts) -> None:
        if self._ending is None:
            with self._progress.entry() as entry:
                entry.status("running")
        self._adopt()
        while not self._is_over():
            self._lease.check()
            self._interruption.answer(interrupts)
            self._look()
            if self._ending is None and self._approvals.look():
                self._end_early()
            self._launch_ready()
            self._session.on_tick()
            if not self._is_over():
                time.sleep(max(POLL_SECONDS, SECONDS_FOR_EACH_JOB * len(self._watches)))

    def _wait_for_journal(self, error: JournalAwayError, interrupts: Interrupts) -> None:
        """The journal is unreachable, or was for a moment: read it again once it is back, and continue from there."""
        self._launcher.say(f"the journal cannot be reached; the jobs keep running: {error.cause}")
        while True:
            if self._interruption.is_new(interrupts):
                raise PipelineError(
                    "interrupted while the journal was unreachable", next_step="The jobs keep running."
                ) from error
            time.sleep(JOURNAL_SECONDS)
            try:
                self._progress.read()
            except JournalAwayError:
                continue
            self._watches.clear()
            self._launcher.say("the journal is back")
            return

    # What runs

    def _adopt(self) -> None:
        """Find again what an earlier controller has launched, or was about to."""
        for label in self._progress.in_flight():
            attempt = self._progress.attempts[label]
            if self._progress.steps[label].state == "INTENT":
                self._submit(label, attempt.spec, adopted=True)
                continue
            assert attempt.handle is not None
            if label in self._session.gone and note_gone(attempt):
                self._ended(label, _lost(attempt.spec, "its machine is gone, as --gone said"), "lost")
                continue
            try:
                self._watches[label] = self._launcher.watch(
                    attempt.spec, attempt.handle, begun=attempt.started_at, adopted=True
                )
                self._launcher.say(f"{attempt.run_id}: found again, attempt {attempt.attempt}")
            except TenysonError as error:
                self._ended(label, _lost(attempt.spec, str(error)), "lost")
        if self._ending is not None:
            self._interruption.cancel_all()

    def _launch_ready(self) -> None:
        free = self._request.max_parallel - len(self._progress.in_flight())
        for label, step in self._progress.steps.items():
            if free <= 0 or self._interruption.begun or self._ending is not None:
                return
            if step.state == "PENDING" and self._may_start(step):
                self._launch(label)
                free -= self._progress.steps[label].state in IN_FLIGHT

    def _may_start(self, step: StepRecord) -> bool:
        if any(self._progress.steps[name].state not in OVER for name in self._definitions[step.label].needs):
            return False
        return step.not_before is None or step.not_before <= self._journal.now()

    def _launch(self, label: str) -> None:
        step, definition = self._progress.steps[label], self._definitions[label]
        attempt = step.attempt + 1
        token = attempt_token(self._id, label, attempt, self._nonce)
        trouble: TenysonError | None = None
        spec = definition.spec
        try:
            self._progress.require_own(definition)
            spec = definition.launchable(self._progress.finished(), resume=step.resume)
        except TenysonError as error:
            # A failed step as well: what ran before it must not be lost.
            trouble = error
        spec = replace(spec, token=token)
        inputs: Mapping[str, Any] | None = None
        inputs_hash: str | None = None
        if self._session.reuse is not None and trouble is None:
            inputs, inputs_hash = self._session.reuse.inputs(spec)
            found = None
            try:
                found = None if step.resume or step.attempt else self._session.reuse.find(label, inputs_hash)
            except PipelineError as error:
                trouble, self._in_vain = error, True
            if found is not None:
                with self._progress.entry(label) as entry:
                    entry.reuse(label, attempt, token, spec, found)
                self._launcher.say(
                    f"{label}: nothing changed since {found.run_id}; reusing its result (--no-reuse runs it again)"
                )
                return

        def intend(entry: Entry) -> None:
            entry.intend(label, attempt, token, spec, inputs, inputs_hash)

        if trouble is not None:
            # In one transaction: what cannot be launched must not be found as an intent.
            self._ended(
                label, _failed(spec, str(trouble), self._progress.left(label)), "user_error", first=intend
            )
            return
        with self._progress.entry(label) as entry:
            intend(entry)
        self._submit(label, spec)

    def _submit(self, label: str, spec: JobSpec, *, adopted: bool = False) -> None:
        attempt = self._progress.attempts[label]
        self._lease.check()
        try:
            handle = self._launcher.submit(label, spec)
        except (TenysonError, OSError) as error:
            reason = reason_of(error)
            cause = f"{reason}: {self._launcher.name}: {error}"
            self._ended(label, _failed(spec, cause, self._progress.left(label, attempt.attempt)), reason)
            return
        with self._progress.entry(label) as entry:
            entry.launched(label, attempt.attempt, self._progress.kept(handle))
        self._watches[label] = self._launcher.watch(spec, handle, begun=attempt.started_at, adopted=adopted)

    def _look(self) -> None:
        for label, watch in list(self._watches.items()):
            try:
                seen = watch.poll()
            except (TenysonError, OSError) as error:
                seen = Observation("unknown", observed=False, reason="infrastructure", detail=str(error))
                self._ended(label, watch.conclude(seen), "infrastructure")
                continue
            if seen.phase == "ended":
                result = watch.conclude(
                    seen, interrupted=self._interruption.begun or self._ending is not None
                )
                self._ended(label, result, "preempted" if seen.preempted else seen.reason)
            elif seen.phase == "running" and self._progress.steps[label].state == "LAUNCHED":
                with self._progress.entry(label) as entry:
                    entry.running(label, self._progress.attempts[label].attempt)

    # What becomes of it

    def _ended(
        self,
        label: str,
        result: JobResult,
        reason: Reason | None,
        *,
        first: Callable[[Entry], None] = lambda _: None,
    ) -> None:
        """Record how an attempt ended and what follows; `first` writes in the same transaction, before."""
        step = self._progress.steps[label]
        attempt = step.attempt if step.state in IN_FLIGHT else step.attempt + 1
        contents = contents_of(result.local_output_dir)
        if self._interrupted(result):
            with self._progress.entry(label) as entry:
                entry.stopped(label, attempt, result, resume=has_checkpoint(result), contents=contents)
            self._watches.pop(label, None)
            return
        if result.status == "success":
            with self._progress.entry(label) as entry:
                entry.done(label, attempt, result, contents)
            self._watches.pop(label, None)
            return
        if result.status == "stopped" or result.spot_interruption:
            reason = "preempted"
        resume = has_checkpoint(result) and recorded_kind(self._definitions[label].spec.job_type).trains
        ending = self._ending is not None or self._in_vain
        pause = (
            None
            if ending
            else self._policy.retry_after(reason, failures=step.failures, preemptions=step.preemptions)
        )
        choices: tuple[Decision, ...] = ("resume",) if resume else ()
        choices += ("restart", "continue", "abort")
        with self._progress.entry(label) as entry:
            first(entry)
            if ending:
                next_step = "The pipeline is ending."
                entry.failed(label, attempt, result, reason, contents)
                entry.status("failed")
            elif pause is not None:
                how = "resumed from its latest checkpoint" if resume else "restarted"
                next_step = f"It is {how}{f' in {pause:.0f} s' if pause else ''}."
                entry.retry(
                    label,
                    attempt,
                    result,
                    reason,
                    resume=resume,
                    pause=pause,
                    preempted=reason in PREEMPTIONS,
                    contents=contents,
                )
            elif self._policy.on_failure in ("wait", "retry"):
                next_step = f"It waits: {self._approvals.how_to_decide(label, choices)}"
                entry.wait(label, attempt, result, reason, choices, contents=contents)
            else:
                next_step = (
                    "The pipeline ends." if self._policy.on_failure == "abort" else "The pipeline continues."
                )
                entry.failed(label, attempt, result, reason, contents)
                if self._policy.on_failure == "abort":
                    entry.status("failed")
            self._session.notifier.failed(entry, self._id, label, attempt, result, next_step)
        self._watches.pop(label, None)
        if result.status == "failed":
            print_failure(result)
        else:
            self._launcher.say(failure_in_words(label, result))
        if pause is not None:
            self._launcher.say(f"{label}: {next_step}")
        self._session.notifier.log(result, label)
        self._dispatcher.wake()
        if self._policy.on_failure == "abort" or self._in_vain:
            self._end_early()

    def _interrupted(self, result: JobResult) -> bool:
        """Whether a job ended because we asked it to."""
        return (self._interruption.begun or self._ending is not None) and (
            result.status == "stopped" or result.stop_reason in INTERRUPTIONS
        )

    # How it ends

    def _end_early(self) -> None:
        """End the pipeline: what still runs saves and ends, nothing more is started."""
        self._ending = "failed"
        if self._watches:
            self._launcher.say("the pipeline ends: what still runs saves and ends")
        self._interruption.cancel_all()

    def _is_over(self) -> bool:
        if self._watches:
            return self._interruption.leaves
        ending = self._interruption.begun or self._ending is not None
        return ending or all(step.state in OVER for step in self._progress.steps.values())

    def _conclude(self) -> PipelineResult:
        status: PipelineStatus
        if self._ending is not None:
            status = self._ending
        elif any(step.state not in OVER for step in self._progress.steps.values()):
            status = "stopped"
        else:
            status = (
                "success" if all(step.state == "DONE" for step in self._progress.steps.values()) else "failed"
            )
        with self._progress.entry() as entry:
            entry.status(status)
            if status != "stopped":
                self._session.notifier.finished(entry, self._id, status, self._lease.fence)
            seconds = entry.now - self._created_at
        self._dispatcher.wake()
        results = {
            label: result
            for label in self._progress.steps
            if label in self._progress.attempts
            and (result := self._progress.attempts[label].result) is not None
        }
        assert status != "running"
        return PipelineResult(status, results, max(0.0, seconds), self._id)


def attempt_token(pipeline_id: str, label: str, attempt: int, nonce: str = "") -> str:
    """Names one attempt of one step for ever; `nonce` tells its pipeline from others of the same name."""
    parts = (pipeline_id, label, str(attempt), *([nonce] if nonce else []))
    return sha256("\0".join(parts).encode()).hexdigest()


def _failed(spec: JobSpec, why: str, left: str | None) -> JobResult:
    return JobResult(spec.run_id, "failed", 0.0, failure_reason=why, local_output_dir=left)


def _lost(spec: JobSpec, why: str) -> JobResult:
    return JobResult(
        spec.run_id, "failed", 0.0, failure_reason=f"lost: {why}", local_output_dir=str(spec.folder)
    )
