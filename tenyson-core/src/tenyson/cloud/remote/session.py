"""The session: the thread that supervises one attempt on one rented machine, until its outputs are here.

Every stage may be repeated, so a session that died with its process is simply restarted from the attempt's record.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tenyson.cloud.backend import Observation
from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.outputs import OddAnswerError
from tenyson.cloud.remote.record import Record
from tenyson.cloud.remote.resolution import loss, resolve
from tenyson.cloud.watch.diagnosis import EXIT_INTERRUPTED
from tenyson.cloud.watch.watch import reason_of
from tenyson.core.run_folder import RunFolder
from tenyson.errors import BackendError, TenysonError
from tenyson.jobs.spec import JobSpec

if TYPE_CHECKING:
    from tenyson.telemetry.relay.relay import Relay

FINAL_POLLS = 5
"""How often the outputs are fetched again before sums that do not fit are a failure."""
LONGEST_PAUSE_SECONDS = 20.0
STUCK_POLLS = 20
"""So many in a row may bring nothing of what an ended job's machine lists."""
ODD_ANSWERS = 5
"""So many answers in a row that cannot be used are a failure."""

R = TypeVar("R", bound=Record)


class Session(ABC, Generic[R]):
    """Supervises one attempt. `begin` starts the thread; `observation` is its current knowledge.

    Args:
        relays: whether the job's telemetry is brought into the database from here.
        poll_seconds: between two polls of a running job.
    """

    taken_back = "the machine was preempted"
    """What the provider did when it announced the machine's end, for a failure reason."""

    def __init__(
        self,
        record: R,
        folder: Path,
        mirror: Mirror,
        say: Callable[[str], None],
        *,
        relays: bool = True,
        poll_seconds: float = 2.0,
    ) -> None:
        self.record = record
        self.folder = folder
        self.spec = JobSpec(**record.spec)
        self._mirror = mirror
        self._say = say
        self._relays = relays
        self._poll_seconds = poll_seconds
        self._relay: Relay | None = None
        self._grace: float | None = None
        self._ending = False
        """Whether the machine is given back without waiting for the job."""
        self._wake = threading.Event()
        self._closing = False
        self._trouble = ""
        self._ended: Observation | None = None
        self._told: set[str] = set()
        self._thread = threading.Thread(
            target=self._work, name=f"{record.backend} {self.spec.run_id}", daemon=True
        )

    def begin(self) -> None:
        """Start to supervise it."""
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
        """Give the machine back now. Raises: BackendError: the provider does not confirm it."""
        self._ending = True
        self._wake.set()
        self._give_back()
        self._thread.join(30)

    def close(self) -> None:
        """Stop supervising; the job keeps running."""
        self._closing = True
        self._wake.set()
        self._thread.join(10)

    # What a backend adds

    @abstractmethod
    def _supervise(self) -> Observation | None:
        """From where it stands to its end; None when nobody waits for it any more."""

    @abstractmethod
    def _poll(self, control: list[str], *, final: bool) -> Seen:
        """Hand over requests for the job, and fetch what is new."""

    @abstractmethod
    def _give_back(self) -> None:
        """End the machine, whatever is on it, and see that it is gone. Raises: BackendError."""

    def _let_go(self) -> None:
        """Connections and the like are closed; the thread ends."""

    def _attend(self) -> None:
        """Before each poll: what else is to be done."""

    def _settled(self, seen: Seen) -> bool:  # noqa: ARG002  most machines do nothing more
        """Of a job that has ended and is here so far: whether its machine has nothing more to do with its outputs."""
        return True

    def _kept(self) -> str:
        """What becomes of outputs that could not be fetched, as further words of a failure; empty where there are none."""
        return ""

    # The thread

    def _work(self) -> None:
        try:
            if self.record.lost is not None:
                self._ended = loss(self.record, self.folder)
            elif self.record.fetched:
                self._ended = resolve(self.record, self.folder, self.taken_back)
            else:
                self._ended = self._supervise()
        except (TenysonError, OSError) as error:
            self._ended = self._failed(error)
        except Exception as error:  # whatever it is, the machine must not be forgotten
            self._ended = self._failed(error)
        finally:
            self._let_go()
            if self._relay is not None:
                self._relay.close()

    def _follow(self) -> Observation | None:
        """Poll until the job has ended and all of it is here; None when nobody waits for it any more."""
        relay = self._make_relay()
        tries = unusable = stuck = moved = 0
        control: list[str] = []
        while not self._closing:
            self._attend()
            try:
                seen = self._poll(control, final=False)
                over = seen.state == "ended" and seen.whole and self._settled(seen)
                last = self._poll([], final=True) if over else None
            except OddAnswerError as error:
                unusable += 1
                if unusable >= ODD_ANSWERS:
                    raise
                self._say_once(f"{self.record.machine}: {error.cause}; it is asked again")
                self._pause(self._poll_seconds)
                continue
            finally:
                self._tell_odd()
            unusable = 0
            self._trouble = ""
            if relay is not None:
                relay.delivered(control)
                control = relay.carry()
                self._tell_relayed()
                if relay.trouble:
                    self._say_once(
                        f"the database takes no events, they wait in {RunFolder(self.folder).spool}: {relay.trouble}"
                    )
            if last is not None:
                faults = self._mirror.faults(last)
                if not faults:
                    return self._fetched(last)
                tries += 1
                if tries >= FINAL_POLLS:
                    raise BackendError(
                        f"outputs have other content here than on the machine after {tries} tries: {', '.join(faults[:5])}"
                    )
                self._mirror.forget(faults)
                continue
            # A machine that lists what it does not send is waited for like one that has nothing new, but not for ever.
            stuck = (
                stuck + 1 if seen.state == "ended" and not seen.whole and moved == self._mirror.moved else 0
            )
            if stuck >= STUCK_POLLS:
                wanting = [path for path, _ in self._mirror.missing(seen.files)]
                raise BackendError(f"the machine lists files that it does not send: {', '.join(wanting[:5])}")
            if seen.whole or moved == self._mirror.moved:
                self._pause(self._poll_seconds)
            moved = self._mirror.moved
        return None

    def _make_relay(self) -> Relay | None:
        if not self._relays or not (self.spec.config.get("telemetry") or {}).get("db_url"):
            return None
        if self._relay is None:
            from tenyson.telemetry.relay.relay import Relay

            self._relay = Relay(self.spec.config, self.folder, self.spec.run_id)
        return self._relay

    def _tell_relayed(self) -> None:
        for line in self._relay.news() if self._relay is not None else ():
            self._say(f"{self.record.machine}: telemetry that is left out: {line}")

    def _tell_odd(self) -> None:
        for line in self._mirror.odd.news():
            self._say(f"{self.record.machine}: its machine sends what outputs are not: {line}")

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
                f"telemetry waits in {RunFolder(self.folder).spool}: {self._relay.trouble} (tenyson telemetry recover)"
            )
        self._tell_relayed()
        self.record.fetched = True
        self._mark("fetched")
        return resolve(self.record, self.folder, self.taken_back)

    def _lost(self, reason: str, detail: str, *, preempted: bool = False, **more: Any) -> Observation:
        """The machine ended before its job's outputs were here; what telemetry is here is stored."""
        self.record.lost = {"reason": reason, "detail": detail, "preempted": preempted, **more}
        self.record.save(self.folder)
        relay = self._make_relay()
        if relay is not None:
            relay.finish()
            self._tell_relayed()
        return loss(self.record, self.folder)

    def _failed(self, error: Exception) -> Observation:
        """It cannot continue."""
        expected = isinstance(error, (TenysonError, OSError))
        words = str(error) if expected else f"{type(error).__name__}: {error}"
        return Observation("ended", observed=True, reason=reason_of(error), detail=words + self._kept())

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
