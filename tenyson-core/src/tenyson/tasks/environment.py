"""An environment: what answers the model between its turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenyson.tasks.sample import Message


@dataclass(frozen=True)
class Observation:
    """The environment's answer to one reply."""

    content: str = ""
    """The next user message; not shown once `done`."""
    done: bool = False
    """Whether the episode is over."""

    @property
    def messages(self) -> list[Message]:
        """The answer as the model reads it."""
        return [{"role": "user", "content": self.content}]


class Environment(ABC):
    """One episode of a multi-turn task: made fresh for each rollout by `TaskPlugin.environment`."""

    @abstractmethod
    def step(self, reply: str) -> Observation:
        """Take one reply of the model. Must not raise on any text: a malformed reply is data."""

    def respond(self, reply: Message) -> Observation:
        """Take one reply whole; override it to read the model's reasoning too. By default its text goes to `step`."""
        return self.step(reply["content"])

    def info(self) -> Mapping[str, Any]:
        """What rewards and metrics need to know at the end. JSON-safe."""
        return {}
