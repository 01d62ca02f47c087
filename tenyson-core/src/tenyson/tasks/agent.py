"""An agent: a program that plays a rollout by itself and asks the model over an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenyson.errors import TaskError


@dataclass(frozen=True)
class Endpoint:
    """Where an agent's model answers, for one rollout: `openai.OpenAI(base_url=..., api_key=...)` needs no more."""

    base_url: str
    """Its address on this machine, which ends in /v1."""
    api_key: str = field(repr=False)
    """Random, and for this rollout alone."""
    model: str = "policy"
    """The name under which the model is listed; any other name reaches it too."""


@dataclass(frozen=True)
class AgentCommand:
    """A program that is the agent of one rollout.

    It reads the sample as JSON from its standard input and finds the endpoint in OPENAI_BASE_URL and OPENAI_API_KEY. What it
    prints is its result.

    Raises: TaskError: `arguments` is one text, which only a shell could take apart.
    """

    arguments: Sequence[str]
    """The program and its arguments."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of this process."""
    cwd: str | None = None
    """Its working directory; None for this process's."""

    def __post_init__(self) -> None:
        if isinstance(self.arguments, (str, bytes)) or not self.arguments:
            raise TaskError(
                f"the command of an agent is {self.arguments!r}, not a list of arguments",
                next_step='Write AgentCommand(["python", "agent.py"]).',
            )
