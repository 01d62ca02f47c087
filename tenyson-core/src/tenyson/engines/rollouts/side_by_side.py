"""Calls into user code side by side: sync ones in threads, async ones on one event loop, each with a time limit.

A quick call needs no thread of its own: one thread takes call after call, in order, and others join while it is held up.

A thread cannot be ended. One whose call outlives its limit is left to itself: its result is thrown away, and it ends with the call.
Such threads are counted, and too many of them are an error, since each may hold memory and connections.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from tenyson.engines.rollouts.abandoned import ABANDONED
from tenyson.engines.rollouts.fault import Fault
from tenyson.engines.rollouts.process_state import ProcessState
from tenyson.errors import TaskError
from tenyson.tasks.usercode import user_code

STALLED_SECONDS = 0.002
"""How long every thread may be in one call before further ones take the calls that wait."""
LEFT_BEHIND = 64
"""Threads of this process in calls beyond their limits; with more of them, the task's code does not come back."""


@dataclass(eq=False)
class Call:
    """One call into user code."""

    key: Hashable
    function: Callable[[], Any]
    """Sync, or async, or one that returns an awaitable."""
    seconds: float | None = None
    """Its limit, from when it begins; None for none."""
    discard: Callable[[Any], None] | None = None
    """Gets the value that nobody takes any more, where the call ends after its limit."""
    begun: float = field(default=0.0, init=False)
    over: bool = field(default=False, init=False)
    """Whether its outcome is known: what comes later is thrown away."""
    task: asyncio.Task[Any] | None = field(default=None, init=False)


@dataclass(frozen=True)
class Ended:
    """What a call came to."""

    key: Hashable
    value: Any = None
    fault: Fault | None = None
    """Why there is no value."""

    def result(self, what: str, where: str) -> Any:
        """The value. Raises: TaskError: there is none; it says that `what` raises `where`, or has not answered."""
        if self.fault is None:
            return self.value
        if self.fault.error is None:
            raise TaskError(f"{what}{where}: {self.fault.message}") from TimeoutError(self.fault.message)
        with user_code(what, where):
            raise self.fault.error


class SideBySide:
    """Runs calls, `concurrency` of them at once. One thread starts them and takes what they come to.

    Close it: calls that have not ended then are left behind, or cancelled where they are async.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._process = ProcessState()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._news = threading.Condition(self._lock)
        self._waiting: deque[Call] = deque()
        self._running: set[Call] = set()
        """In a thread."""
        self._awaited: set[Call] = set()
        """On the event loop."""
        self._followed: dict[Hashable, Future[Any]] = {}
        """Futures of others."""
        self._ended: list[Ended] = []
        self._wanted = 1
        """How many ended calls are waited for."""
        self._idle = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def start(self, *calls: Call) -> None:
        """Queue calls."""
        with self._lock:
            self._waiting.extend(calls)
            if calls and not self._running:
                self._wake_one()

    def follow(self, key: Hashable, future: Future[Any]) -> None:
        """Take what a future comes to as a call's outcome. It runs elsewhere, and does not count for `concurrency`."""
        with self._lock:
            self._followed[key] = future
        future.add_done_callback(lambda _: self._came(key, future))

    def take(self, *, wait_for: int = 0, seconds: float | None = None) -> list[Ended]:
        """What has ended since the last time, once it is `wait_for` calls, none is pending, or `seconds` are over.

        Raises:
            TaskError: too many calls have not come back.
        """
        until = None if seconds is None else time.monotonic() + seconds
        with self._lock:
            self._wanted = max(1, wait_for)
            while True:
                self._end_late()
                if len(self._ended) >= wait_for or not self._pending():
                    break
                if until is not None and time.monotonic() >= until:
                    break
                self._join_the_stalled()
                self._news.wait(self._patience(until))
            found, self._ended = self._ended, []
        behind = ABANDONED.count
        self._process.put_right()
        if behind > LEFT_BEHIND:
            raise TaskError(
                f"{behind} calls into the task's code have not come back since their time was over",
                next_step="Give whatever they wait for a time limit of its own, shorter than those of `rollouts`.",
            )
        return found

    def run(self, calls: Sequence[Call]) -> list[Ended]:
        """Start calls, wait for all of them, and return what each came to, in order."""
        found: dict[Hashable, Ended] = {}
        self.start(*calls)
        while len(found) < len(calls):
            found |= {one.key: one for one in self.take(wait_for=len(calls) - len(found))}
        return [found[call.key] for call in calls]

    def drop(self) -> None:
        """Give up all calls: those that have not begun never do, and what the others come to is thrown away."""
        with self._lock:
            self._waiting.clear()
            for call in (*self._running, *self._awaited):
                call.over = True
            ABANDONED.add(len(self._running))
            self._running.clear()
            tasks = [call.task for call in self._awaited if call.task is not None]
            self._awaited.clear()
            followed = list(self._followed.values())
            self._followed.clear()
            self._ended.clear()
            loop = self._loop
        for future in followed:
            future.cancel()
        for task in tasks:
            if loop is not None:
                loop.call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """Give up all calls and end idle threads."""
        self.drop()
        self._process.put_right()
        with self._lock:
            self._closed = True
            self._work.notify_all()
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(_stop, loop)

    def _pending(self) -> int:
        return len(self._waiting) + len(self._running) + len(self._awaited) + len(self._followed)

    def _room(self) -> int:
        return self._concurrency - len(self._running) - len(self._awaited)

    def _wake_one(self) -> None:
        if self._idle:
            self._idle -= 1
            self._work.notify()
        else:
            threading.Thread(target=self._serve, name="tenyson-world", daemon=True).start()

    def _join_the_stalled(self) -> None:
        """Twice as many threads, where every one of them is held up in a call and others wait."""
        if not self._waiting or self._room() <= 0:
            return
        now = time.monotonic()
        if all(now - call.begun > STALLED_SECONDS for call in self._running):
            for _ in range(min(max(1, len(self._running)), self._room(), len(self._waiting))):
                self._wake_one()

    def _end_late(self) -> None:
        now = time.monotonic()
        for group in (self._running, self._awaited):
            late = [one for one in group if one.seconds is not None and now - one.begun >= one.seconds]
            for call in late:
                call.over = True
                group.discard(call)
                if group is self._running:
                    ABANDONED.add(1)
                elif call.task is not None and self._loop is not None:
                    self._loop.call_soon_threadsafe(call.task.cancel)
                self._ended.append(Ended(call.key, fault=Fault.timeout(call.seconds or 0.0)))

    def _patience(self, until: float | None) -> float | None:
        """Seconds until a limit is reached, until stalled threads are looked for, or `until` then."""
        now = time.monotonic()
        ends = [
            one.begun + one.seconds - now
            for one in (*self._running, *self._awaited)
            if one.seconds is not None
        ]
        if self._waiting:
            ends.append(STALLED_SECONDS)
        if until is not None:
            ends.append(until - now)
        return max(0.0, min(ends)) if ends else None

    def _serve(self) -> None:
        """A thread's life: call after call, until one outlives its limit or all is closed."""
        while (call := self._next()) is not None and self._run(call):
            pass

    def _next(self) -> Call | None:
        with self._lock:
            while not self._closed:
                if self._waiting and self._room() > 0:
                    call = self._waiting.popleft()
                    call.begun = time.monotonic()
                    self._running.add(call)
                    return call
                self._idle += 1
                self._work.wait()
            return None

    def _run(self, call: Call) -> bool:
        """Run a call to its outcome, or to where it is awaited; False: its time was over before that."""
        value, fault = None, None
        try:
            value = call.function()
        except BaseException as error:  # a task may raise SystemExit or KeyboardInterrupt
            fault = Fault.of(error)
        self._process.end_if_forked()
        awaitable = inspect.isawaitable(value)
        with self._lock:
            if not call.over:
                self._running.discard(call)
                if awaitable:
                    self._awaited.add(call)
                    loop = self._event_loop()
                    # Under the lock: `close` stops the loop only after what is queued here.
                    loop.call_soon_threadsafe(self._await, loop, call, value)
                else:
                    self._note(Ended(call.key, value, fault))
                return True
        _forget(value)
        if call.discard is not None and fault is None:
            call.discard(value)
        ABANDONED.add(-1)
        return False

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=_run_loop, args=(self._loop,), name="tenyson-world-loop", daemon=True
            ).start()
        return self._loop

    def _await(self, loop: asyncio.AbstractEventLoop, call: Call, value: Any) -> None:
        async def whole() -> None:
            try:
                ended = Ended(call.key, await value)
            except BaseException as error:
                ended = Ended(call.key, fault=Fault.of(error))
            self._process.end_if_forked()
            with self._lock:
                if not call.over:
                    call.over = True
                    self._awaited.discard(call)
                    self._note(ended)

        call.task = loop.create_task(whole())
        # One that is cancelled before it begins has awaited nothing.
        call.task.add_done_callback(lambda _: _forget(value))
        with self._lock:
            if call.over:  # its limit came first
                call.task.cancel()

    def _came(self, key: Hashable, future: Future[Any]) -> None:
        with self._lock:
            if self._followed.pop(key, None) is None:
                return  # given up
            error = CancelledError() if future.cancelled() else future.exception()
            self._note(Ended(key, None if error else future.result(), Fault.of(error) if error else None))

    def _note(self, ended: Ended) -> None:
        self._ended.append(ended)
        if self._waiting and self._idle and not self._running:
            self._wake_one()
        if len(self._ended) >= self._wanted or not self._pending():
            self._news.notify()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    """On the loop: cancel, and stop once what was cancelled has ended, or has had a second to."""

    async def end() -> None:
        others = [one for one in asyncio.all_tasks(loop) if one is not asyncio.current_task()]
        for one in others:
            one.cancel()
        await asyncio.wait([loop.create_task(asyncio.sleep(0)), *others], timeout=1)
        loop.stop()

    loop.create_task(end())


def _forget(value: Any) -> None:
    if inspect.iscoroutine(value):
        value.close()
