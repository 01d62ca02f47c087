"""Objects for tests of workers: their methods do what code of others does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Plain:
    """Answers one request at a time."""

    def __init__(self) -> None:
        print("made")

    def add(self, one: int, other: int) -> int:
        return one + other

    def about(self, name: str) -> Any:
        return {
            "variable": os.environ.get(name),
            "leads_its_group": os.getpgrp() == os.getpid(),
            "input": sys.stdin.read(),
            "tenyson": sorted(one for one in sys.modules if one.startswith("tenyson")),
            "on_main_thread": threading.current_thread() is threading.main_thread(),
        }

    def raise_it(self, text: str) -> None:
        raise LookupError(text)

    def exit(self) -> None:
        sys.exit("bye")

    def die(self, code: int, says: str = "") -> None:
        print(says, file=sys.stderr, flush=True)
        os._exit(code)

    def die_once(self, mark: str) -> str:
        if not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "second"

    def hang(self, began: str = "") -> None:
        if began:
            Path(began).touch()
        time.sleep(600)

    def say(self, text: str, times: int) -> str:
        for _ in range(times):
            print(text)
            os.write(1, text.encode())
        return "said"

    def garbage(self) -> None:
        """Past stdout, into every pipe that is open."""
        for descriptor in range(3, 30):
            try:
                os.write(descriptor, b"\x1b[31mgarbage\n")
            except OSError:
                continue
        time.sleep(600)

    def endless(self) -> None:
        for descriptor in range(3, 30):
            try:
                while True:
                    os.write(descriptor, b"x" * 65536)
            except OSError:
                continue

    def long(self, characters: int) -> str:
        return "x" * characters

    def odd(self) -> object:
        return {1, 2}

    def echo(self, text: str) -> str:
        return text

    def fork(self) -> list[int]:
        """The copy returns too."""
        return [os.getpid(), os.fork()]

    def leave_behind(self, pid_file: str, apart: bool) -> None:
        """A copy holds the pipes open, and this process dies."""
        if os.fork() == 0:
            if apart:
                os.setsid()
            Path(pid_file).write_text(str(os.getpid()))
            time.sleep(30)
            os._exit(0)
        while not Path(pid_file).exists() or not Path(pid_file).read_text():
            time.sleep(0.01)
        os._exit(3)

    def limited(self, seconds: float) -> str:
        from tenyson.core.workers import TimeLimitError, time_limit

        try:
            with time_limit(seconds):
                time.sleep(60)
        except Exception:
            return "caught as an Exception"
        except TimeLimitError:
            return "interrupted"
        return "not limited"

    def limited_outside(self, seconds: float) -> None:
        from tenyson.core.workers import time_limit

        with time_limit(seconds):
            time.sleep(60)

    def allocate(self, size: int) -> int:
        return len(bytearray(size))


class Silent:
    """Never begins."""

    def __init__(self) -> None:
        time.sleep(600)


class Broken:
    """Cannot be made."""

    def __init__(self) -> None:
        raise ModuleNotFoundError("No module named 'world'")


class Together:
    """Answers side by side."""

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        self.begun = self.cancelled = 0

    async def waiting(self) -> int:
        return self.begun

    async def wait(self) -> str:
        self.begun += 1
        self.gate = self.gate or asyncio.Event()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "opened"

    async def open(self) -> int:
        while self.gate is None:
            await asyncio.sleep(0.01)
        self.gate.set()
        return self.cancelled

    async def count(self) -> int:
        return self.cancelled

    async def raise_it(self) -> None:
        raise ValueError("planted")

    async def die(self) -> None:
        os._exit(5)

    async def clean_up(self, mark: str) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            Path(mark).touch()

    async def stay(self) -> None:
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                continue
