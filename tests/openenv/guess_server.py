"""A real OpenEnv server whose environment misbehaves on request; run by tests in an environment that has OpenEnv."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from openenv.core.env_server import Action, Environment, Observation, State, create_app


class Guess(Action):
    message: str


class Hint(Observation):
    hint: str
    tries: int | None = None


class GuessEnvironment(Environment):
    """Guess a digit that the seed decides. `again` makes the reset return two fields, so that it is shown as JSON."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._digit, self._tries = 0, 0
        note("open")

    def reset(self, seed: int = 0, episode_id: str | None = None, digit: int | None = None, **_: Any) -> Hint:
        if digit == 99:
            raise RuntimeError("no such digit")
        self._digit, self._tries = (seed % 10 if digit is None else digit), 0
        return Hint(hint="guess a digit")

    def step(self, action: Guess, timeout_s: float | None = None, **_: Any) -> Hint:
        self._tries += 1
        match action.message:
            case "hang":
                time.sleep(30)
            case "die":
                os._exit(3)
            case "raise":
                raise RuntimeError("planted")
            case "huge":
                return Hint(hint="x" * 20_000_000)
            case "random":
                return Hint(hint=os.urandom(8).hex())
            case "long":
                return Hint(hint="x" * 300_000)
        right = action.message == str(self._digit)
        return Hint(
            hint="right" if right else "wrong",
            done=right,
            reward=1.0 if right else 0.0,
            metadata={"distance": 0 if right else 3},
        )

    @property
    def state(self) -> State:
        return State(step_count=self._tries)

    def close(self) -> None:
        note("close")


def note(event: str) -> None:
    if path := os.environ.get("EVENTS"):
        with Path(path).open("a") as file:
            file.write(event + "\n")


if __name__ == "__main__":
    app = create_app(
        GuessEnvironment,
        Guess,
        Hint,
        env_name="guess",
        max_concurrent_envs=int(os.environ.get("SLOTS", "64")),
    )
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
