"""A real OpenEnv server that breaks at seeded moments and writes down what it broke; run by break_openenv.py.

`python breaking_server.py PORT`; BREAKS is a JSON object with the seed, rates by kind of fault, slots, and the paths of its log and
of a file that says when to begin.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from openenv.core.env_server import Action, Environment, Observation, State, create_app
from uvicorn.protocols.websockets.websockets_impl import WebSocketProtocol

ASKED = json.loads(os.environ["BREAKS"])
LOG, BEGUN = Path(ASKED["log"]), Path(ASKED["begun"])
HANG_SECONDS = ASKED["hang_seconds"]
MOST_OF_SERVER = 2
"""Faults of the whole server in one run: each costs seconds."""
OF_SERVER = ("kill", "stop", "freeze")
OF_WIRE = {
    "garbage": b'{"type": "observation", "da',
    "wrong": b'{"type": "observation", "data": [1, 2]}',
    "utf8": b'{"type": "observ\xff\xfe',
}
"""Whole messages that are no answer."""
HALF = bytes([0x81, 126, 0x10, 0x00]) + b'{"type": "observation", "data": {"obs'
"""The head of a frame of 4,096 bytes, and a few of them."""


class Guess(Action):
    message: str


class Hint(Observation):
    hint: str


class Echo(Environment):
    """Answers the same to the same seed and replies, and is over after two or three."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._seed = self._tries = 0
        if FAULTS.draws("make"):
            FAULTS.note("make")
            raise RuntimeError("injected")

    def reset(self, seed: int = 0, episode_id: str | None = None, fault: str = "", **_: Any) -> Hint:
        broken(fault)
        self._seed, self._tries = seed, 0
        return Hint(hint=f"{seed % 10}")

    def step(self, action: Guess, timeout_s: float | None = None, **_: Any) -> Hint:
        broken(action.message.removeprefix("\0") if action.message.startswith("\0") else "")
        self._tries += 1
        done = self._tries == 2 + self._seed % 2
        return Hint(hint=f"{len(action.message)}", done=done, reward=float(len(action.message) % 3))

    @property
    def state(self) -> State:
        return State(step_count=self._tries)


def broken(fault: str) -> None:
    if fault == "raise":
        raise RuntimeError("injected")
    if fault == "hang":
        time.sleep(HANG_SECONDS)


class Faults:
    """Draws what breaks, and writes it down."""

    def __init__(self) -> None:
        past = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []
        starts = sum(one["kind"] == "start" for one in past)
        self.random = random.Random(f"{ASKED['seed']}/{starts}")
        self.left = MOST_OF_SERVER - sum(one["kind"] in OF_SERVER for one in past)
        self.stopped = False
        self.note("start", pid=os.getpid())

    def draws(self, *kinds: str) -> str | None:
        """One of these kinds, or, as a rule, none."""
        if not BEGUN.exists():
            return None
        for kind in kinds:
            if kind in OF_SERVER and (self.left <= 0 or self.stopped):
                continue
            if self.random.random() < ASKED["rates"].get(kind, 0):
                return kind
        return None

    def note(self, kind: str, **more: Any) -> None:
        with LOG.open("a") as file:
            file.write(json.dumps({"kind": kind, **more}) + "\n")

    def break_server(self, kind: str) -> None:
        """Kill it, stop it for longer than the limit of an answer, or for good. It runs between two steps of the event loop."""
        live = [one for one in CONNECTIONS if not one.over]
        waiting = [one for one in live if one.waiting]
        self.note(kind, live=len(live), waiting=len(waiting))
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self.stopped = True
        for one in waiting:
            one.over = True
        if kind == "stop":
            subprocess.Popen(["sh", "-c", f"sleep {HANG_SECONDS}; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)


class Connection(WebSocketProtocol):
    """A session's connection, of which any answer may break."""

    over = False
    """Whether nothing that happens to the server now is an error of its episode."""
    waiting = False
    """Whether the client waits for an answer."""
    fault: str | None = None

    async def asgi_receive(self) -> Any:
        message: Any = await super().asgi_receive()
        if message["type"] == "websocket.connect":
            CONNECTIONS.add(self)
        elif message["type"] == "websocket.receive":
            asked = json.loads(message["text"])
            self.waiting = True
            if asked["type"] == "close":
                self.over = True
            elif asked["type"] in ("reset", "step"):
                self.fault = FAULTS.draws(
                    *OF_SERVER, "raise", "hang", "cut", "half", "silent", "huge", *OF_WIRE
                )
                if self.fault in OF_SERVER:
                    FAULTS.break_server(self.fault)
                elif self.fault in ("raise", "hang"):
                    asked["data"] |= (
                        {"message": f"\0{self.fault}"} if asked["type"] == "step" else {"fault": self.fault}
                    )
                    message = message | {"text": json.dumps(asked)}
                if self.fault == "hang":
                    self._broke()
        else:
            self.over = True
        return message

    async def asgi_send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            answer = json.loads(message["text"])
            if self.fault in OF_SERVER or self.fault == "hang":
                self.fault = None
            elif self.fault:
                self._broke()
                if self.fault != "raise":
                    return self._break_answer(self.fault)
            elif answer["type"] == "error" or answer["data"].get("done"):
                self.over = True
            self.waiting = False
        return await super().asgi_send(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        CONNECTIONS.discard(self)
        super().connection_lost(exc)

    def _broke(self) -> None:
        self.over = True
        assert self.fault
        FAULTS.note(self.fault)

    def _break_answer(self, kind: str) -> None:
        if kind in OF_WIRE:
            self.transport.write(bytes([0x81, len(OF_WIRE[kind])]) + OF_WIRE[kind])
        elif kind == "huge":
            size = 17 << 20
            self.transport.write(bytes([0x81, 127]) + size.to_bytes(8, "big") + b"x" * size)
        else:
            self.transport.write(HALF)
            if kind == "cut":
                self.transport.abort()
            elif kind == "half":
                self.transport.write_eof()


CONNECTIONS: set[Connection] = set()
FAULTS = Faults()

if __name__ == "__main__":
    app = create_app(Echo, Guess, Hint, env_name="echo", max_concurrent_envs=ASKED["slots"])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", ws=Connection)
