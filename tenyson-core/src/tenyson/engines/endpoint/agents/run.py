"""The agent of one rollout, in a thread of its own: whatever it blocks, others are not held up."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

from tenyson.engines.endpoint.agents.command import run_command
from tenyson.engines.rollouts.abandoned import ABANDONED
from tenyson.engines.rollouts.fault import Fault
from tenyson.engines.rollouts.process_state import ProcessState
from tenyson.tasks.agent import AgentCommand, Endpoint
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample


class AgentRun:
    """Runs `TaskPlugin.agent` once.

    Args:
        ended: called in the agent's thread when it has ended, however it did.
    """

    def __init__(
        self, task: TaskPlugin, sample: Sample, endpoint: Endpoint, ended: Callable[[], None]
    ) -> None:
        self.value: Any = None
        """What the agent returned, or its command printed."""
        self.fault: Fault | None = None
        """Why there is no value."""
        self._task, self._sample, self._endpoint, self._told = task, sample, endpoint, ended
        self._cancelled = threading.Event()
        self._process = ProcessState()
        self._lock = threading.Lock()
        self._abandoned = self._ended = False
        self._stop: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="tenyson-agent", daemon=True)

    def start(self) -> None:
        """Start it, unless it was cancelled."""
        with self._lock:
            if not self._cancelled.is_set():
                self._thread.start()

    def cancel(self) -> None:
        """Have it end: an `async def` is cancelled, a command's processes are ended, a plain function cannot be."""
        with self._lock:
            self._cancelled.set()
            if self._stop is not None:
                self._stop()

    def leave(self, seconds: float) -> None:
        """Wait for its end, and abandon it if it does not come."""
        if self._thread.ident is None:
            return
        self._thread.join(seconds)
        with self._lock:
            if not self._ended:
                self._abandoned = True
                ABANDONED.add(1)

    def _run(self) -> None:
        try:
            self.value = self._result()
        except BaseException as error:  # an agent may raise SystemExit or KeyboardInterrupt
            self.fault = Fault.of(error)
        self._process.end_if_forked()
        with self._lock:
            self._ended = True
            if self._abandoned:
                ABANDONED.add(-1)
        self._told()

    def _result(self) -> Any:
        found = self._task.agent(self._sample, self._endpoint)
        if inspect.isawaitable(found):
            found = asyncio.run(self._awaited(found))
        if isinstance(found, AgentCommand):
            return run_command(found, self._sample, self._endpoint, self._cancelled)
        return found

    async def _awaited(self, awaitable: Any) -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(awaitable)

        def stop() -> None:
            loop.call_soon_threadsafe(task.cancel)

        with self._lock:
            if self._cancelled.is_set():
                task.cancel()
            self._stop = stop
        try:
            return await task
        finally:
            with self._lock:
                self._stop = None
