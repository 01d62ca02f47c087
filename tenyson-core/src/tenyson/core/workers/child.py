"""What runs in a worker's process: calls methods of one object, one JSON message a line on the pipes it began with.

It is executed by its path, also by a Python that has nothing of Tenyson, so it imports nothing of it. Its first argument is
JSON: what it `serves` ("module:name" or "/path/file.py:name", called without arguments), `side_by_side`, `memory`, `largest`
and `grace`, as `Worker` has them. The process ends, with all that it has started in its group, when its standard input does.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST = 2000
"""Characters of an exception's message, and of its traceback, that are told."""


class Channel:
    """The way back. A copy of the process that a method has forked has none: it ends where it would answer."""

    def __init__(self, descriptor: int, largest: int) -> None:
        self._descriptor, self._largest, self._owner = descriptor, largest, os.getpid()

    def answer(self, number: int, result: Any) -> None:
        """Send what was asked for, or why it cannot be sent."""
        try:
            line = json.dumps({"number": number, "result": result})
        except (TypeError, ValueError, RecursionError) as error:
            return self.fail(number, error)
        if len(line) >= self._largest:
            size = f"the answer has {len(line):,} bytes; the limit is {self._largest:,}"
            return self.fail(number, ValueError(size))
        return self.send(line)

    def fail(self, number: int, error: BaseException) -> None:
        """Send what was raised."""
        told = {
            "kind": type(error).__name__,
            "message": str(error)[:LONGEST],
            "traceback": "".join(traceback.format_exception(error))[-LONGEST:],
        }
        self.send(json.dumps({"number": number, "error": told}))

    def send(self, line: str) -> None:
        """Send one message."""
        if os.getpid() != self._owner:
            os._exit(0)
        left = memoryview(f"{line}\n".encode("ascii"))
        while left:
            left = left[os.write(self._descriptor, left) :]


def load(serves: str) -> Any:
    """The object whose methods are called."""
    place, _, name = serves.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    return getattr(module, name)()


def one_by_one(served: Any, requests: int, channel: Channel) -> None:
    """Answer requests in order, on the main thread: signals interrupt there."""
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    # Read aside, so that the process also ends with its parent while it is busy.
    threading.Thread(target=read, args=(requests, waiting.put, end), daemon=True).start()
    while True:
        request = waiting.get()
        try:
            result = getattr(served, request["verb"])(**request["arguments"])
        except BaseException as error:
            channel.fail(request["number"], error)
        else:
            channel.answer(request["number"], result)


def side_by_side(served: Any, requests: int, channel: Channel, grace: float) -> None:
    """Answer requests as they come, in tasks of one event loop; a message may cancel one."""
    import asyncio

    tasks: dict[int, asyncio.Task[None]] = {}

    async def answer(request: dict[str, Any]) -> None:
        try:
            result = await getattr(served, request["verb"])(**request["arguments"])
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            channel.fail(request["number"], error)
        else:
            channel.answer(request["number"], result)

    def take(message: dict[str, Any]) -> None:
        if "cancel" in message:
            if task := tasks.get(message["cancel"]):
                task.cancel()
            return
        number = message["number"]
        tasks[number] = asyncio.ensure_future(answer(message))
        tasks[number].add_done_callback(lambda task: forget(number, task))

    def forget(number: int, task: asyncio.Task[None]) -> None:
        del tasks[number]
        if task.cancelled():  # perhaps before it had begun
            channel.fail(number, asyncio.CancelledError())

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        later = loop.call_soon_threadsafe
        arguments = requests, lambda message: later(take, message), lambda: later(over.set)
        threading.Thread(target=read, args=arguments, daemon=True).start()
        await over.wait()
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values(), timeout=grace)
        end()  # asyncio.run would wait for tasks and threads that do not end

    asyncio.run(serve())


def read(requests: int, take: Callable[[dict[str, Any]], object], over: Callable[[], object]) -> None:
    """Hand each message over until the parent closes the pipe, or ends in the midst of a message."""
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                take(json.loads(line))
    over()


def end() -> None:
    """End this process, and what it has started in its group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def limit(memory: int | None) -> None:
    """At most so many bytes of address space, and no core file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main() -> None:
    """Serve until standard input ends."""
    options = json.loads(sys.argv[1])
    del sys.argv[1:]
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what it prints must not stand between answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    limit(options["memory"])
    channel = Channel(answers, options["largest"])
    served = load(options["serves"])
    channel.send(json.dumps({"ready": True}))
    if options["side_by_side"]:
        side_by_side(served, requests, channel, options["grace"])
    else:
        one_by_one(served, requests, channel)


if __name__ == "__main__":
    main()
