"""Play: carries many conversations forward together, turn by turn, until each one ends.

Shape legend: B conversations; P prompt tokens; C tokens after the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tenyson.engines.engine import Reply
from tenyson.engines.renderer import Renderer
from tenyson.tasks.environment import Environment
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.rollout import FinishReason, Rollout
from tenyson.tasks.sample import Message, Sample

Generate = Callable[[list[list[int]], int], list[Reply]]
"""Takes B prompts of token ids and the number of the turn (from 0), gives B replies."""


@dataclass
class Trajectory:
    """A rollout as tokens."""

    rollout: Rollout
    prompt_ids: list[int]
    """P ids."""
    completion_ids: list[int]
    """C ids: replies, and the environment's answers between them."""
    mask: list[int]
    """C flags: 1 where the model wrote the token."""
    logprobs: list[float] | None
    """C log-probabilities in nats, 0 where the environment wrote; None where the engine reports none."""


@dataclass
class _Game:
    sample: Sample
    environment: Environment | None
    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] | None = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    finish: FinishReason | None = None

    def take(self, reply: Reply, renderer: Renderer, last_turn: bool) -> None:
        self.ids += reply.ids
        self.mask += [1] * len(reply.ids)
        self._score(reply.logprobs)
        text = renderer.text(reply.ids)
        self.messages.append({"role": "assistant", "content": text})
        if self.environment is None:
            self.finish = reply.finish_reason
            return
        answer = self.environment.step(text)
        if answer.done:
            self.finish = reply.finish_reason
            return
        if last_turn:
            self.finish = "turns"
            return
        self.messages.append({"role": "user", "content": answer.content})
        bridge = renderer.between(answer.content, ended=reply.finish_reason == "stop")
        self.ids += bridge
        self.mask += [0] * len(bridge)
        self._score([0.0] * len(bridge))

    def _score(self, logprobs: list[float] | None) -> None:
        if self.logprobs is None or logprobs is None:
            self.logprobs = None
        else:
            self.logprobs += logprobs

    def trajectory(self) -> Trajectory:
        rollout = Rollout(
            sample=self.sample,
            messages=tuple(self.messages),
            finish_reason=self.finish or "turns",
            info=self.environment.info() if self.environment else {},
            tokens=sum(self.mask),
        )
        return Trajectory(rollout, self.prompt_ids, self.ids, self.mask, self.logprobs)


def play(
    task: TaskPlugin, samples: Sequence[Sample], renderer: Renderer, generate: Generate, *, max_turns: int
) -> list[Trajectory]:
    """Play one conversation on each sample (B of them), all of them together, turn by turn."""
    games = [_Game(sample, task.environment(sample), renderer.prompt(sample.prompt)) for sample in samples]
    for turn in range(max_turns):
        active = [game for game in games if game.finish is None]
        if not active:
            break
        replies = generate([game.prompt_ids + game.ids for game in active], turn)
        for game, reply in zip(active, replies, strict=True):
            game.take(reply, renderer, last_turn=turn == max_turns - 1)
    return [game.trajectory() for game in games]
