"""An environment: what answers the model between its turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
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
    reward: float | None = None
    """What the step was worth, for `tenyson.rewards.environment`; None where the environment gives no rewards."""
    messages: Sequence[Message] = ()
    """Several messages, of the roles user and tool, in place of `content`."""
    trained: bool = True
    """Whether training learns from the reply that this answers; False where the model has played another part, as an opponent."""

    def __post_init__(self) -> None:
        if not self.messages:
            object.__setattr__(self, "messages", ({"role": "user", "content": self.content},))


class Environment(ABC):
    """One episode of a multi-turn task: made fresh for each rollout by `TaskPlugin.environment`.

    Any of its methods may be `async`. Those of different rollouts run side by side, so draw random numbers from a generator of
    your own; with `rollouts.concurrency: 1` they run one after the other, in the order of the rollouts.
    """

    def reset(self) -> Observation | Awaitable[Observation | None] | None:
        """Called once, before the first reply. The messages of what it returns are put after the sample's prompt."""
        return None

    @abstractmethod
    def step(self, reply: str) -> Observation | Awaitable[Observation]:
        """Take one reply of the model. Must not raise on any text: a malformed reply is data."""

    def close(self) -> Awaitable[None] | None:  # noqa: B027  most have nothing to close
        """Called exactly once, when the rollout is over or was broken off. What it raises is ignored."""

    def respond(self, reply: Message) -> Observation | Awaitable[Observation]:
        """Take one reply whole; override it to read the model's reasoning too. By default its text goes to `step`."""
        return self.step(reply["content"])

    def info(self) -> Mapping[str, Any]:
        """What rewards and metrics need to know at the end. JSON-safe."""
        return {}
