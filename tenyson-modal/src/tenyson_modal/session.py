"""The session of an attempt at Modal: from the queue, through however many containers, until its outputs are here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import Observation
from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.outputs import OddAnswerError
from tenyson.cloud.remote.session import LONGEST_PAUSE_SECONDS, ODD_ANSWERS, Session
from tenyson.core.run_folder import CHECKPOINTS
from tenyson.errors import BackendError
from tenyson_modal.api.failures import ModalError, explained, modal_errors
from tenyson_modal.api.naming import attempt_key
from tenyson_modal.app.apps import stop
from tenyson_modal.app.call import Call, CallStatus
from tenyson_modal.app.launch import RECORD, control
from tenyson_modal.exchange.requests import Requests
from tenyson_modal.exchange.store import Store
from tenyson_modal.record import CallRecord
from tenyson_modal.settings import ModalSettings

CALL_SECONDS = 5.0
"""How often Modal is asked about the call of a job that runs: the volume says more."""
RECORD_SECONDS = 5.0
"""Until the record is tried again to be left in the volume."""
SILENT_SECONDS = 180.0
"""A container that has written nothing for so long is likely none any more; said once."""
WAITED_FOR = {"away": "cannot be reached", "quota": "is at a limit", "auth": "refuses us"}
"""Failures that say nothing of a job that was called, which costs the same meanwhile; and how Modal is then."""


class OverError(BackendError):
    """The call is over, and the volume holds no end of the job."""

    def __init__(self, status: CallStatus) -> None:
        super().__init__(status.detail)
        self.status = status


class CallSession(Session[CallRecord]):
    """Supervises one attempt."""

    taken_back = "Modal preempted the container"

    def __init__(
        self, record: CallRecord, folder: Path, settings: ModalSettings, say: Callable[[str], None]
    ) -> None:
        assert record.call_id is not None
        mirror = Mirror(
            folder,
            log_start=record.log_start,
            bases=record.bases,
            without=[] if settings.sync_checkpoints else [CHECKPOINTS],
            follows_removals=True,
        )
        super().__init__(
            record,
            folder,
            mirror,
            say,
            relays=not settings.direct_database,
            poll_seconds=settings.poll_seconds,
        )
        self._settings = settings
        self._call = Call(record.follows or record.call_id)
        self._store = Store(record.volume, record.environment, self.spec.run_id, attempt_key(record.token))
        self._entries = control(settings)
        self._key = attempt_key(record.token)
        self._requests: Requests | None = None
        self._state: dict[str, Any] = {}
        self._next_call_poll = 0.0
        self._next_record = 0.0
        self._lives = 0
        self._odd_answers = 0

    def _give_back(self) -> None:
        if self.record.app_id is not None:  # None: attached to from elsewhere, when it was over
            stop(self.record.app_id, self._say)

    def _supervise(self) -> Observation | None:
        pause = 1.0
        while not self._closing:
            try:
                if self.record.job is None and not self._wait_for_container():
                    return self._cancelled_early()
                return self._follow()
            except OverError as error:
                return self._over(error.status)
            except OddAnswerError as error:
                # While it begins; `_follow` counts those that come later.
                self._odd_answers += 1
                if self._odd_answers > ODD_ANSWERS:
                    raise
                self._say_once(f"{self.record.call_id}: {error.cause}; it is read again")
                self._pause(pause)
            except ModalError as error:
                if error.kind not in WAITED_FOR:
                    raise
                self._trouble = error.cause
                # Nobody waits for what only a person mends without being told how.
                how = "" if error.kind == "away" else f"\n{error.next_step}"
                self._say_once(
                    f"Modal {WAITED_FOR[error.kind]} now; the job keeps running: {error.cause}{how}"
                )
                self._pause(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        return None

    # Before it begins

    def _wait_for_container(self) -> bool:
        """False: nobody waits for it any more. Raises: OverError, ModalError."""
        while not self._closing:
            if self._ending:
                raise OverError(CallStatus("over", "killed", "the job was ended from here"))
            self._leave_record()
            state = self._store.state()
            if state is not None and state.get("job") is not None:
                self._begin(state)
                return True
            if self._grace is not None:
                self._give_back()
                # It may have begun, and even ended, in that very moment.
                return self._begun_after_all()
            status = self._call.poll()
            self._trouble = ""
            if status.life == "over":
                self._refuse_or_read_again(status)
            waited = time.time() - (self.record.launched_at or 0)
            if status.life == "waiting" and waited > self._settings.queue_minutes * 60:
                self._give_back()
                wanted = " or ".join(self._settings.gpus) or "container"
                raise ModalError(
                    f"Modal had no {wanted} for {self._settings.queue_minutes:g} minutes (queue_minutes); the job is withdrawn",
                    "capacity",
                )
            if status.life == "waiting" and waited > 60:
                self._say_once(f"{self.record.call_id}: waiting for a container; Modal has no free one yet")
            self._pause(min(1.0, self._settings.poll_seconds))
        return False

    def _begin(self, state: dict[str, Any]) -> None:
        self.record.job = state["job"]
        self._mark("job started")

    def _begun_after_all(self) -> bool:
        state = self._store.state()
        if state is None or state["state"] != "ended":
            return False
        self._begin(state)
        return True

    def _refuse_or_read_again(self, status: CallStatus) -> None:
        if self._follow_owner(status):
            return
        state = self._store.state()
        if state is None or state.get("job") is None:
            raise OverError(status)

    def _follow_owner(self, status: CallStatus) -> bool:
        """Whether another call works on the attempt: that one is polled from now on."""
        owner = status.owner
        if owner is None or owner in (self.record.call_id, self.record.follows):
            return False
        self._say(f"{self.record.call_id}: {status.detail}; that one is followed")
        self.record.follows = owner
        self.record.save(self.folder)
        self._call = Call(owner)
        return True

    def _leave_record(self) -> None:
        """In the volume, for whoever attaches from another machine. The job needs it not: a volume that is away is tried again."""
        if "recorded" in self.record.times or time.monotonic() < self._next_record:
            return
        try:
            self._store.write(RECORD, json.dumps(asdict(self.record)))
        except ModalError as error:
            self._next_record = time.monotonic() + RECORD_SECONDS
            self._say_once(f"the job cannot be attached to from another machine yet: {error.cause}")
        else:
            self._mark("recorded")

    # Following it

    def _attend(self) -> None:
        if self._ending:
            raise OverError(CallStatus("over", "killed", "the job was ended from here"))
        if self._grace is not None:
            self._ask([], cancel=self._grace)
            self._grace = None
        self._leave_record()

    def _poll(self, control: list[str], *, final: bool) -> Seen:  # noqa: ARG002  sums come with the state
        if control:
            self._ask(control)
        # Asked before the volume is read: what the container left until its end is then surely read.
        status = self._status()
        state = self._store.state()
        if state is None:
            raise OverError(CallStatus("over", "lost", "the run's folder is no longer in the volume"))
        self._state = state
        self._tell_of_containers(state)
        seen = self._store.fetch(self._mirror, state)
        if (
            status is not None
            and status.life == "over"
            and seen.state != "ended"
            and not self._follow_owner(status)
        ):
            raise OverError(status)
        return seen

    def _status(self) -> CallStatus | None:
        if time.monotonic() < self._next_call_poll:
            return None
        status = self._call.poll()
        self._next_call_poll = time.monotonic() + CALL_SECONDS
        return status

    def _tell_of_containers(self, state: dict[str, Any]) -> None:
        life = int(state.get("life") or 0)
        if state["state"] in ("preempted", "continued"):
            words = (
                "Modal preempted the container"
                if state["state"] == "preempted"
                else "the container's time was over"
            )
            self._say_once(f"{words}; another one resumes from the checkpoint (container {life + 1})")
        elif life > 1 and life != self._lives:
            self._say_once(f"container {life} of this attempt has begun")
        self._lives = life
        silent = time.time() - float(state.get("time") or time.time())
        if state["state"] == "running" and silent > SILENT_SECONDS:
            self._say_once(
                f"the container has said nothing for {silent:.0f} s; Modal replaces one that is dead"
            )

    def _ask(self, lines: list[str], *, cancel: float | None = None) -> None:
        """Add to what is asked of the job. Raises: ModalError: it did not get there."""
        try:
            if self._requests is None:
                self._requests = Requests.read(self._entries, self._key)
            self._requests.lines += [line for line in lines if line not in self._requests.lines]
            self._requests.cancel = cancel if cancel is not None else self._requests.cancel
            self._requests.write(self._entries, self._key)
        except modal_errors() as error:
            self._requests = None
            raise explained(error, "a request did not reach the job") from error

    # How it ended

    def _fetched(self, seen: Seen) -> Observation:
        ended = super()._fetched(seen)
        lost = self._state.get("lost")
        return (
            ended if lost is None else self._lost(lost["reason"], lost["detail"], preempted=lost["preempted"])
        )

    def _ended_from_here(self) -> Observation:
        return self._lost("killed", "the job was ended from here, and its container with it")

    def _over(self, status: CallStatus) -> Observation:
        """The call is over without an end of the job; what is in the volume is here."""
        if self._ending:
            return self._ended_from_here()
        return self._lost(
            status.reason or "lost",
            status.detail or "the call is over, and the volume holds no end of the job",
        )

    def _kept(self) -> str:
        if not self.record.unfetched:
            return ""
        return (
            f"\nthe job was not ended from here; what it has saved is in the volume {self.record.volume}, folder {self.spec.run_id}. "
            f"Come back with: tenyson attach {self.spec.run_id} (or end it: tenyson modal cleanup --run {self.spec.run_id})"
        )
