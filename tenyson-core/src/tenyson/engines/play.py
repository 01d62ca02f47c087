"""Play: carries many conversations forward together, turn by turn, until each one ends.

Shape legend: B conversations; P prompt tokens; C tokens after the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.errors import TaskError
from tenyson.tasks.checks import final_info, make_environment, take_step
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


@dataclass(frozen=True)
class Failure:
    """A conversation that the task's environment broke off."""

    sample: Sample
    cause: str


@dataclass(eq=False)
class Game:
    """A conversation under way."""

    sample: Sample
    environment: Environment | None
    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] | None = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    finish: FinishReason | None = None
    turns: int = 0

    def take(self, reply: Reply, renderer: Renderer, last_turn: bool) -> None:
        """Add a reply, and the environment's answer to it. Raises: TaskError."""
        self.ids += reply.ids
        self.mask += [1] * len(reply.ids)
        self._score(reply.logprobs)
        message = renderer.message(reply.ids)
        self.messages.append(message)
        if self.environment is None:
            self.finish = reply.finish_reason
            return
        self.turns += 1
        answer = take_step(self.environment, message, self.sample, self.turns)
        if answer.done:
            self.finish = reply.finish_reason
            return
        if last_turn:
            self.finish = "turns"
            return
        self.messages += answer.messages
        bridge = renderer.between(message, answer.messages, ended=reply.finish_reason == "stop")
        self.ids += bridge
        self.mask += [0] * len(bridge)
        self._score([0.0] * len(bridge))

    def _score(self, logprobs: list[float] | None) -> None:
        if self.logprobs is None or logprobs is None:
            self.logprobs = None
        else:
            self.logprobs += logprobs

    def trajectory(self) -> Trajectory:
        """The conversation that has ended. Raises: TaskError."""
        rollout = Rollout(
            sample=self.sample,
            messages=tuple(self.messages),
            finish_reason=self.finish or "turns",
            info=final_info(self.environment, self.sample) if self.environment else {},
            tokens=sum(self.mask),
        )
        return Trajectory(rollout, self.prompt_ids, self.ids, self.mask, self.logprobs)


def play(
    task: TaskPlugin,
    samples: Sequence[Sample],
    renderer: Renderer,
    generate: Generate,
    *,
    max_turns: int,
    failures: list[Failure] | None = None,
) -> list[Trajectory]:
    """Play one conversation on each sample (B of them), all of them together, turn by turn.

    Args:
        failures: takes the conversations that an environment broke off; the others are played to their ends.

    Raises:
        TaskError: an environment broke a conversation off, and there is no list for it.
    """
    broken: list[Failure] = []
    games = list(begin(task, samples, renderer, broken))
    for turn in range(max_turns):
        active = [game for game in games if game.finish is None]
        if not active:
            break
        replies = generate([game.prompt_ids + game.ids for game in active], turn)
        for game, reply in zip(active, replies, strict=True):
            try:
                game.take(reply, renderer, last_turn=turn == max_turns - 1)
            except TaskError as error:
                broken.append(Failure(game.sample, error.cause))
                games.remove(game)
    trajectories = []
    for game in games:
        try:
            trajectories.append(game.trajectory())
        except TaskError as error:
            broken.append(Failure(game.sample, error.cause))
    if failures is None and broken:
        raise TaskError(broken[0].cause)
    if failures is not None:
        failures += broken
    return trajectories


def begin(
    task: TaskPlugin, samples: Sequence[Sample], renderer: Renderer, broken: list[Failure]
) -> Iterator[Game]:
    """Open a conversation on each sample; those whose environment cannot be made go to `broken`."""
    for sample in samples:
        try:
            environment = make_environment(task, sample)
        except TaskError as error:
            broken.append(Failure(sample, error.cause))
            continue
        yield Game(sample, environment, renderer.prompt_ids(sample))
