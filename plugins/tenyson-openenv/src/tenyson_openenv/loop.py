"""Loop: the event loop of this process's connections, in a thread of its own.

A connection belongs to one event loop, and those that call an environment may have another for each call.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

Value = TypeVar("Value")


async def on_loop(work: Coroutine[Any, Any, Value]) -> Value:
    """Run `work` there and wait for it. Cancelling the wait cancels the work."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _loop(os.getpid())))


@cache
def _loop(process: int) -> asyncio.AbstractEventLoop:  # noqa: ARG001  a fork has no threads of its parent
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="openenv").start()
    return loop
