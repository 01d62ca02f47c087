"""Play: carries many conversations forward together, turn by turn, until each one ends.

Shape legend: B conversations; P prompt tokens; C tokens after the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.engines.renderers.parsed import Parsed
from tenyson.engines.rollouts.limits import USUAL, Limits
from tenyson.engines.rollouts.side_by_side import Call, Ended, SideBySide
from tenyson.engines.rollouts.toolbox import Toolbox
from tenyson.errors import TaskError
from tenyson.tasks.checks import final_info, make_environment, offered, take_step
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
    toolbox: Toolbox | None
    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] | None = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    finish: FinishReason | None = None
    turns: int = 0
    _called: tuple[Parsed, Reply, bool] | None = None
    """The reply whose calls are under way, and whether it is the last."""

    def take(self, reply: Reply, renderer: Renderer, last_turn: bool) -> list[Call]:
        """Add a reply, and the environment's answer to it. Raises: TaskError.

        Returns calls of tools, if the reply makes any: run them, and give what they came to to `answer`.
        """
        self.ids += reply.ids
        self.mask += [1] * len(reply.ids)
        self._score(reply.logprobs)
        said = renderer.parse(reply.ids, tools=self.toolbox is not None)
        message = said.message
        self.messages.append(message)
        self.turns += 1
        # A call that the limit of tokens has cut off was not meant to end there.
        whole = bool(said.tool_calls) or reply.finish_reason == "stop"
        if self.toolbox is not None and whole and (calls := self.toolbox.ask(said)):
            self._called = (said, reply, last_turn)
            return calls
        if self.environment is None:
            self.finish = reply.finish_reason
        else:
            self._step(self.environment, message, reply, renderer, last_turn)
        return []

    def answer(self, ended: Sequence[Ended], renderer: Renderer) -> None:
        """Add what the calls of the last reply came to. Raises: TaskError."""
        assert self.toolbox is not None
        assert self._called is not None
        said, reply, last_turn = self._called
        self._called = None
        answers = self.toolbox.answers(said, ended, self.turns)
        if last_turn:
            self.messages += answers
            self.finish = "turns"
            return
        self._go_on(said.message, answers, reply, renderer)

    def _step(
        self, environment: Environment, message: Message, reply: Reply, renderer: Renderer, last_turn: bool
    ) -> None:
        answer = take_step(environment, message, self.sample, self.turns)
        if answer.done:
            self.finish = reply.finish_reason
            return
        if last_turn:
            self.finish = "turns"
            return
        self._go_on(message, answer.messages, reply, renderer)

    def _go_on(self, message: Message, answers: Sequence[Message], reply: Reply, renderer: Renderer) -> None:
        self.messages += answers
        bridge = renderer.between(message, answers, ended=reply.finish_reason == "stop")
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
        info = final_info(self.environment, self.sample) if self.environment else {}
        if self.toolbox is not None:
            info = {**info, "tool_calls": self.toolbox.calls, "tool_calls_refused": self.toolbox.refused}
        rollout = Rollout(
            sample=self.sample,
            messages=tuple(self.messages),
            finish_reason=self.finish or "turns",
            info=info,
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
    limits: Limits = USUAL,
) -> list[Trajectory]:
    """Play one conversation on each sample (B of them), all of them together, turn by turn.

    Args:
        failures: takes the conversations that an environment or a tool broke off; the others are played to their ends.

    Raises:
        TaskError: an environment broke a conversation off, and there is no list for it.
    """
    broken: list[Failure] = []
    games = list(begin(task, samples, renderer, broken, limits))
    with closing(SideBySide(limits.concurrency)) as side:
        for turn in range(max_turns):
            active = [game for game in games if game.finish is None]
            if not active:
                break
            replies = generate([game.prompt_ids + game.ids for game in active], turn)
            calling: list[tuple[Game, list[Call]]] = []
            for game, reply in zip(active, replies, strict=True):
                try:
                    if calls := game.take(reply, renderer, last_turn=turn == max_turns - 1):
                        calling.append((game, calls))
                except TaskError as error:
                    broken.append(Failure(game.sample, error.cause))
                    games.remove(game)
            ended = iter(side.run([call for _, calls in calling for call in calls]))
            for game, calls in calling:
                own = list(islice(ended, len(calls)))
                try:
                    game.answer(own, renderer)
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
    task: TaskPlugin,
    samples: Sequence[Sample],
    renderer: Renderer,
    broken: list[Failure],
    limits: Limits = USUAL,
) -> Iterator[Game]:
    """Open a conversation on each sample; those whose environment cannot be made go to `broken`."""
    for sample in samples:
        try:
            environment = make_environment(task, sample)
            toolbox = Toolbox(offered(task, sample), sample, limits.step_seconds) if sample.tools else None
        except TaskError as error:
            broken.append(Failure(sample, error.cause))
            continue
        yield Game(sample, environment, toolbox, renderer.prompt_ids(sample))
