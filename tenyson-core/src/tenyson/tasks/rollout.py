"""A rollout: one finished conversation of a model on a sample. A bad one is data, not an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tenyson.tasks.sample import Message, Sample
from tenyson.tasks.verdict import Verdict

FinishReason = Literal["stop", "length", "turns", "error"]
CallOutcome = Literal["answered", "unreadable", "unknown", "arguments", "refused", "failed"]
"""`unreadable`: it begins like a call and is none; `unknown`: no tool has this name; `arguments`: they do not fit the tool's
parameters; `refused`: the tool raised `ToolError`; `failed`: the tool raised something else, took too long, or returned what cannot be
shown."""
REFUSED: tuple[CallOutcome, ...] = ("unreadable", "unknown", "arguments", "refused")
"""The model's own doing: the answer told it, and the rollout continued."""


@dataclass(frozen=True)
class RolloutError:
    """Why a rollout has no true reward: something of the task's that raised, or did not answer in time."""

    source: Literal["environment", "tool", "reward", "agent", "endpoint"]
    """What failed."""
    kind: str
    """The exception's class, such as ConnectionError; TimeoutError where a limit of `rollouts` was reached."""
    message: str
    """One line: what failed, where, and what it said."""
    traceback: str = ""
    """The last lines of the traceback, of the task's own code where it has any."""


@dataclass(frozen=True)
class CalledTool:
    """One call of a rollout."""

    turn: int
    """The reply that made it, from 1."""
    name: str
    """As the model wrote it; empty where the call cannot be read."""
    outcome: CallOutcome
    """What came of it."""
    cause: str = ""
    """What the model was told, or why it failed; empty where it was answered."""
    seconds: float | None = None
    """How long the tool took, the limit where it was reached; None where nothing was run."""

    @property
    def refused(self) -> bool:
        """Whether the call was wrong, by the model's own doing."""
        return self.outcome in REFUSED


@dataclass(frozen=True)
class Rollout:
    """One finished conversation on `sample`."""

    sample: Sample
    """The sample it was played on."""
    messages: Sequence[Message]
    """Everything after the prompt: the model's replies and the environment's answers between them."""
    finish_reason: FinishReason = "stop"
    """`stop`: ended by itself; `length`: a reply hit its token limit; `turns`: the turn limit was hit; `error`: `error` says why."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """What the environment knows at the end (JSON-safe); empty for single-turn tasks."""
    tokens: int = 0
    """Number of tokens the model wrote, all turns together."""
    step_rewards: Sequence[float] = ()
    """What the environment gave for its steps, in order; `tenyson.rewards.environment` trains on their sum."""
    error: RolloutError | None = None
    """Why it was broken off or could not be scored; it is recorded, and nothing is learnt from it or measured on it."""
    retried: Sequence[RolloutError] = ()
    """What failed before, after which it was tried again."""
    rewards: Mapping[str, float | None] = field(default_factory=dict, compare=False)
    """What each reward said, by name, once they were asked. A reward that is called on this rollout again returns it."""
    verdicts: Sequence[Verdict] = field(default=(), compare=False)
    """What judges said, once they were asked."""
    tool_calls: Sequence[CalledTool] | None = field(default=None, compare=False)
    """The calls of tools that the model made, in order; None where it had none to call."""

    @property
    def replies(self) -> list[str]:
        """The model's replies, in order; without their reasoning where its family writes that apart."""
        return [message["content"] for message in self.messages if message["role"] == "assistant"]

    @property
    def text(self) -> str:
        """The model's last reply; of a single-turn task, the completion. Reasoning stands in the message, as `reasoning`."""
        replies = self.replies
        return replies[-1] if replies else ""

    @property
    def truncated(self) -> bool:
        """Whether a token limit cut the model off."""
        return self.finish_reason == "length"
