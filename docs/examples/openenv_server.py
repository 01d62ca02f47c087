"""A small OpenEnv server, for docs/examples/openenv_tiny.yaml: guess a digit in two tries.

    python -m venv /opt/openenv && /opt/openenv/bin/pip install 'openenv==0.10.*'
    /opt/openenv/bin/python docs/examples/openenv_server.py 8000

It knows nothing of Tenyson.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import uvicorn
from openenv.core.env_server import Action, Environment, Observation, State, create_app

DIGITS = tuple("0123456789")
TRIES = 2


class Guess(Action):
    guess: str


class Hint(Observation):
    hint: str


class Digit(Environment):
    """The nearer the last guess, the better: 1 for the digit itself, half of it where more is said than a digit."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._digit, self._tries = 0, 0

    def reset(self, seed: int | None = None, **_: Any) -> Hint:
        self._digit, self._tries = random.Random(seed).randrange(10), 0
        return Hint(hint="0-9?")

    def step(self, action: Guess, **_: Any) -> Hint:
        self._tries += 1
        guess, rest = action.guess[:1], action.guess[1:]
        if guess not in DIGITS:
            hint, worth = "a digit!", 0.0
        else:
            missed = self._digit - DIGITS.index(guess)
            hint, worth = "right" if not missed else "more" if missed > 0 else "less", 1 - abs(missed) / 9
        if rest:  # the digit alone is wanted
            worth /= 2
        done = hint == "right" or self._tries == TRIES
        return Hint(hint=hint, done=done, reward=worth if done else 0.0)

    @property
    def state(self) -> State:
        return State(step_count=self._tries)


if __name__ == "__main__":
    app = create_app(Digit, Guess, Hint, env_name="digit", max_concurrent_envs=256)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
