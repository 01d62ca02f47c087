"""The record of an agent's rollout: what its requests asked for, and what they come to as a trajectory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenyson.engines.endpoint.conversations import Conversation
from tenyson.engines.endpoint.request import Options
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.rollout import Trajectory
from tenyson.engines.rollouts.tokens import Tokens
from tenyson.tasks.rollout import FinishReason, Rollout, RolloutError
from tenyson.tasks.sample import Sample


@dataclass
class Record:
    """Of one rollout; each field with something in it is in the rollout's `info`."""

    requests: int = 0
    """Those that reached the model or were refused in its name."""
    requests_refused: Counter[str] = field(default_factory=Counter)
    """By code."""
    sampling_asked: dict[str, list[Any]] = field(default_factory=dict)
    """Parameters that the run decides itself, and what the agent asked for."""
    history_changed: list[str] = field(default_factory=list)
    result: Any = None

    def note(self, options: Options) -> None:
        """Note a request."""
        self.requests += 1
        seed = {} if options.seed is None else {"seed": options.seed}
        for name, value in {**options.drawn, **seed}.items():
            known = self.sampling_asked.setdefault(name, [])
            if value not in known:
                known.append(value)

    def trajectory(
        self,
        sample: Sample,
        conversations: Sequence[Conversation],
        renderer: Renderer,
        finish: FinishReason,
        error: RolloutError | None,
        retried: Sequence[RolloutError],
    ) -> Trajectory:
        """The conversation in which most is trained, the first of those that are as long, and the others that are trained.

        `conversations`: one at least; the first is an empty one where none is trained.
        """
        main = max(conversations, key=lambda one: one.written)
        others = [one for one in conversations if one is not main]
        rollout = Rollout(
            sample=sample,
            messages=tuple(main.messages),
            finish_reason="error" if error else finish,
            info=self._info(conversations, others, renderer),
            error=error,
            retried=tuple(retried),
            tokens=sum(one.written for one in conversations),
        )
        further = [
            Tokens(one.prompt_ids, one.completion_ids, one.mask, one.logprobs)
            for one in others
            if one.trained
        ]
        return Trajectory(rollout, main.prompt_ids, main.completion_ids, main.mask, main.logprobs, further)

    def _info(
        self, conversations: Sequence[Conversation], others: Sequence[Conversation], renderer: Renderer
    ) -> Mapping[str, Any]:
        info: dict[str, Any] = {
            "result": self.result,
            "requests": self.requests,
            "conversations": sum(bool(one.choices) for one in conversations),
            "calls_unreadable": sum(reply.unreadable for one in conversations for reply in one.choices),
        }
        further = {
            "requests_refused": dict(self.requests_refused),
            "sampling_asked": self.sampling_asked,
            "history_changed": self.history_changed,
            "further": [
                {
                    "prompt": renderer.raw(one.prompt_ids),
                    "completion": renderer.raw(one.completion_ids),
                    "tokens": sum(len(choice.ids) for choice in one.choices),
                }
                | ({} if one.trained else {"trained": False})
                for one in others
            ],
        }
        return info | {name: value for name, value in further.items() if value}
