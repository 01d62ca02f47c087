"""JobWatch: one job that was submitted, watched from outside until its JobResult is known."""

from __future__ import annotations

import time
from collections import deque
from typing import cast, get_args

from tenyson.cloud.backend import Backend, Handle, Observation, Reason
from tenyson.cloud.watch.exit_status import conclude
from tenyson.cloud.watch.follow import Follower, safe_follower
from tenyson.cloud.watch.grace import StepClock
from tenyson.cloud.watch.log import LineReader
from tenyson.core.run_folder import RunFolder
from tenyson.errors import DisplacedError, TenysonError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.events.wire import decode, is_marked

TAIL_LINES = 20


class JobWatch:
    """Polls a job and shows what it logs.

    Args:
        begun: `time.time()` of its launch.
        adopted: another controller has shown its log so far; of that, only how far the job is is shown again.
    """

    def __init__(
        self,
        backend: Backend,
        spec: JobSpec,
        handle: Handle,
        follower: Follower,
        *,
        begun: float | None = None,
        adopted: bool = False,
    ) -> None:
        self.spec = spec
        self.handle = handle
        self.follower = safe_follower(follower)
        self._backend = backend
        self._begun = time.time() if begun is None else begun
        self._folder = spec.folder
        self._cursor = 0
        self._reader = LineReader()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.steps = StepClock()
        self._odd = 0
        """Lines that claim to be events of ours and are none."""
        self.follower.started(spec, str(RunFolder(self._folder).log))
        if adopted:
            self._catch_up()

    @property
    def seconds(self) -> float:
        """Since its launch."""
        return max(0.0, time.time() - self._begun)

    @property
    def grace(self) -> float:
        """Seconds in which the job can surely save, if it is asked to end now."""
        return self.steps.grace()

    def poll(self) -> Observation:
        """Poll once, and show what was logged since. Raises: TenysonError, OSError: the job is out of reach for good."""
        # Looked at before the log is read: what was written until the end is then surely read.
        seen = self._backend.poll(self.handle)
        for line in self._lines():
            self._take(line)
        if seen.phase == "ended":
            for line in self._reader.finish():
                self._take(line)
        return seen

    def conclude(self, seen: Observation, *, interrupted: bool = False) -> JobResult:
        """Bring the outputs here, give the machine back, and say how the job ended."""
        own = True
        try:
            if seen.phase == "ended":
                self._backend.fetch_outputs(self.handle, self._folder)
                self._backend.release(self.handle)
        except (TenysonError, OSError) as error:
            own = not isinstance(error, DisplacedError)
            seen = out_of_reach(self._backend, error)
        result = conclude(
            self.spec,
            self.handle,
            seen,
            self._folder,
            list(self._tail),
            self.seconds,
            interrupted=interrupted,
            own=own,
        )
        if self._odd:
            self.follower.say(f"{self._odd} lines of the log looked like events of Tenyson and were left out")
        self.follower.ended(result)
        return result

    def _lines(self) -> list[str]:
        lines: list[str] = []
        for reached, chunk in self._backend.stream_logs(self.handle, self._cursor):
            self._cursor = reached
            lines += self._reader.feed(chunk)
        return lines

    def _take(self, line: str) -> None:
        event = decode(line)
        if event is not None:
            self.steps.take(event)
        elif is_marked(line):
            self._take_odd()
            return
        elif line.strip():
            self._tail.append(line)
        self.follower.line(line)

    def _take_odd(self) -> None:
        self._odd += 1
        if self._odd == 1:
            self.follower.say(
                "a line of the log looks like an event of Tenyson and is none; such lines stay in the log, and are counted"
            )

    def _catch_up(self) -> None:
        last: dict[str, str] = {}
        try:
            lines = self._lines()
        except (TenysonError, OSError):
            return  # the next poll meets it again
        for line in lines:
            event = decode(line)
            if event is None:
                if is_marked(line):
                    self._odd += 1
                elif line.strip():
                    self._tail.append(line)
                continue
            self.steps.take(event)
            if event["event"] in ("RunStarted", "MetricsLogged"):
                last[event["event"]] = line
        for line in last.values():
            self.follower.line(line)


def is_mistake(error: Exception) -> bool:
    """Whether an error before a launch is about an argument, a setting or this machine, and not the provider's."""
    return isinstance(error, TenysonError) and error.reason in (None, "user_error")


def out_of_reach(backend: Backend, error: Exception) -> Observation:
    """What is known of a job whose backend gave up on it."""
    expected = isinstance(error, (TenysonError, OSError))
    words = str(error) if expected else f"{type(error).__name__}: {error}"
    return Observation(
        phase="unknown", observed=False, reason=reason_of(error), detail=f"{backend.name}: {words}"
    )


def reason_of(error: Exception) -> Reason:
    """The class of a failure: the error's own, where the backend gave it one."""
    # An error of a provider's own library may have a `reason` that means something else.
    given = getattr(error, "reason", None)
    return cast("Reason", given) if given in get_args(Reason) else "infrastructure"
