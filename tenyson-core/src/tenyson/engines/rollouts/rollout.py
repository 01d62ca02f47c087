"""One rollout under way: what is wanted next, a reply of the model or calls into the task's code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.deadline import Deadline
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.replay import Replay
from tenyson.engines.rollouts.side_by_side import Call, Ended
from tenyson.engines.rollouts.tokens import Tokens
from tenyson.engines.rollouts.toolbox import Toolbox
from tenyson.errors import TaskError
from tenyson.tasks.checks import (
    CLOSE_SECONDS,
    awaited,
    check_environment,
    check_info,
    check_observation,
    offered,
    overrides,
    respond,
)
from tenyson.tasks.environment import Environment, Observation
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.rollout import CalledTool, FinishReason, Rollout, RolloutError
from tenyson.tasks.sample import Message, Sample
from tenyson.tasks.usercode import rollout_error, task_name

RETRY_SECONDS = 0.5
"""Wait before the first retry; it doubles with each further one."""

Wanted = list[Call] | None
"""Calls to run, or None: the next reply."""


@dataclass
class Trajectory:
    """A rollout as tokens.

    Shape legend: P prompt tokens; C tokens after the prompt.
    """

    rollout: Rollout
    prompt_ids: list[int]
    """P ids."""
    completion_ids: list[int]
    """C ids: replies, and the answers to them."""
    mask: list[int]
    """C flags: 1 where the model wrote the token."""
    logprobs: list[float] | None
    """C log-probabilities in nats, 0 where the model wrote nothing; None where the engine reports none."""
    further: list[Tokens] = field(default_factory=list)
    """Other conversations of the same rollout, which share its reward: an agent may have several."""


class Game:
    """A rollout under way. Run its `work` and hand over what came of it; without work, it waits for a reply or is over.

    What the task's environment or a tool breaks is tried again with fresh ones, `limits.retries` times; then the rollout is over,
    and its trajectory, up to where it broke, says why. Each environment is closed exactly once, whatever happens, as long as the
    work is run to its end.
    """

    def __init__(
        self, task: TaskPlugin, sample: Sample, renderer: Renderer, max_turns: int, limits: Limits
    ) -> None:
        self.sample = sample
        self.prompt_ids: list[int] = []
        self.ids: list[int] = []
        self.work: list[Call] = []
        self.waits = False
        """Whether it waits for a reply."""
        self.turns = 0
        self._task, self._renderer, self._max_turns, self._limits = task, renderer, max_turns, limits
        self._asked = sample
        """The sample as it was before an environment's reset."""
        self._deadline = Deadline(limits)
        self._replay = Replay()
        self._error: RolloutError | None = None
        self._retried: list[RolloutError] = []
        self._begin()

    @property
    def over(self) -> bool:
        """Whether nothing is wanted any more: there is a trajectory."""
        return not self.work and not self.waits

    @property
    def environment(self) -> Environment | None:
        """The one that was made last; None for a single turn."""
        return self._environment

    @property
    def closing(self) -> bool:
        """Whether its work, if there is any, is to close the environment."""
        return self._closing

    @property
    def asks(self) -> list[int]:
        """The ids that a reply is to follow."""
        return self.prompt_ids + self.ids

    def take(self, reply: Reply) -> None:
        """Continue with the reply that it waits for."""
        self._advance(reply)

    def settle(self, ended: Sequence[Ended]) -> None:
        """Continue with what its work came to, in order."""
        if not self._closing:
            self._advance(ended)
        elif self._again:
            self._begin()
        else:
            self.work = []

    def give_up(self) -> list[Call]:
        """What is left to run where the rollout is not wanted any more."""
        self.waits = self._again = False
        if not self._closing:
            self._close()
        return self.work

    def trajectory(self) -> Trajectory:
        """The rollout that is over."""
        rollout = Rollout(
            sample=self.sample,
            messages=tuple(self._messages),
            finish_reason="error" if self._error else self._finish,
            info=self._info,
            tokens=sum(self._mask),
            step_rewards=tuple(self._rewards),
            error=self._error,
            retried=tuple(self._retried),
            tool_calls=self._tool_calls(),
        )
        if self._error and not self.prompt_ids:
            with suppress(Exception):  # of what may have broken it
                self.prompt_ids = self._renderer.prompt_ids(self._asked)
        return Trajectory(rollout, self.prompt_ids, self.ids, self._mask, self._logprobs)

    def _begin(self) -> None:
        """Play it, from its beginning."""
        self.sample = self._asked
        self.prompt_ids, self.ids = [], []
        self._mask: list[int] = []
        self._logprobs: list[float] | None = []
        self._messages: list[Message] = []
        self._rewards: list[float] = []
        self._info: dict[str, Any] = {}
        self._finish: FinishReason = "turns"
        self.turns = 0
        self._environment: Environment | None = None
        self._toolbox: Toolbox | None = None
        self._calls: Literal["environment", "tool"] = "environment"
        """What is called, and so what failed where a call does."""
        self._closing = self._again = False
        self._steps = self._played()
        self._advance(None)

    def _advance(self, value: Any) -> None:
        try:
            wanted = self._steps.send(value)
        except StopIteration:
            self.waits = False
            self._close()
        except TaskError as error:
            self._break(rollout_error(self._calls, error))
        else:
            self.work, self.waits = wanted or [], wanted is None

    def _break(self, error: RolloutError) -> None:
        """Try again, or end with this error."""
        self.waits = False
        if len(self._retried) < self._limits.retries and self._deadline.left() != 0:
            self._retried.append(error)
            self._again = True
        else:
            self._error = error
        self._close()
        if self._again and not self.work:
            self._begin()

    def _close(self) -> None:
        self._closing = True
        environment = self._environment
        close = getattr(environment, "close", None)
        # Nothing to do where the class leaves it to Environment.
        if close is None or getattr(type(environment), "close", None) is Environment.close:
            self.work = []
        else:
            seconds = self._limits.step_seconds or CLOSE_SECONDS
            self.work = [Call((id(self), "close"), close, seconds)]

    def _played(self) -> Generator[Wanted, Any, None]:
        """The rollout from its beginning to its end. Raises: TaskError."""
        if self._retried:
            seconds = RETRY_SECONDS * 2 ** (len(self._retried) - 1)
            yield [Call((id(self), "wait"), lambda: asyncio.sleep(seconds))]
        environment = yield from self._opened()
        toolbox = self._toolbox = self._tools()
        self.prompt_ids = self._renderer.prompt_ids(self.sample)
        self._replay.heard(0, self.prompt_ids)
        if self._is_full():
            added = "" if environment is None else " with what reset() adds to it"
            raise TaskError(
                f"the prompt of sample {self.sample.id} has {len(self.prompt_ids):,} tokens{added}, and the model reads "
                f"{self._limits.context:,}"
            )
        while True:
            reply = self._replay.reply(self.turns)
            if reply is None:
                reply = yield None
                self._replay.said(reply)
                self._deadline.require(self.sample.id, self.turns)
            message, calls = self._read(reply, toolbox)
            last = self.turns == self._max_turns
            if toolbox is not None and calls:
                self._calls = "tool"
                ended = yield calls
                answers = toolbox.answers(message, ended, self.turns)
                self._calls = "environment"
                done = False
            elif environment is not None:
                observation = yield from self._stepped(environment, message)
                if not observation.trained:
                    self._leave_out(len(reply.ids))
                answers, done = list(observation.messages), observation.done
            else:
                self._finish = reply.finish_reason
                break
            if done:
                self._finish = reply.finish_reason
                break
            if last:
                self._messages += answers if calls else []
                break
            self._add_answers(message, answers, ended=reply.finish_reason == "stop")
            if self._is_full():
                self._finish = "length"
                break
        if environment is not None:
            what = f"info() of the environment {type(environment).__name__}"
            where = f" on sample {self.sample.id}"
            found = yield from self._called(environment.info, what, where)
            self._info = dict(check_info(found, f"{what}{where}"))
        if toolbox is not None:
            self._info |= {"tool_calls": len(toolbox.called), "tool_calls_refused": toolbox.refused}

    def _opened(self) -> Generator[Wanted, Any, Environment | None]:
        """The environment, made and reset; None for a single turn."""
        task, sample = self._task, self.sample
        if not overrides(task, "environment"):
            return None
        hook, where = f"environment() of the task {task_name(task)}", f" on sample {sample.id}"
        found = yield from self._called(lambda: task.environment(self.sample), hook, where, _close_late)
        self._environment = environment = check_environment(found, f"{hook}{where}")
        if environment is None or getattr(type(environment), "reset", None) in (None, Environment.reset):
            return environment
        what = f"reset() of the environment {type(environment).__name__}"
        begins = yield from self._called(environment.reset, what, where)
        if begins is not None:
            observation = check_observation(begins, f"{what}{where}")
            self.sample = replace(sample, prompt=[*sample.prompt, *observation.messages])
        return environment

    def _stepped(self, environment: Environment, message: Message) -> Generator[Wanted, Any, Observation]:
        what = f"the environment {type(environment).__name__}"
        where = f" on sample {self.sample.id}, turn {self.turns}"
        found = yield from self._called(lambda: respond(environment, message), what, where)
        observation = check_observation(found, f"{what}{where}")
        if observation.reward is not None:
            self._rewards.append(observation.reward)
        return observation

    def _called(
        self, function: Any, what: str, where: str, discard: Callable[[Any], None] | None = None
    ) -> Generator[Wanted, Any, Any]:
        """What a call into the environment returns. Raises: TaskError, which says `what` failed and `where`.

        Args:
            discard: gets what is returned after the limit.
        """
        self._deadline.require(self.sample.id, self.turns)
        [ended] = yield [Call((id(self), what), function, self._deadline.of_call(), discard)]
        return ended.result(what, where)

    def _tools(self) -> Toolbox | None:
        if not self.sample.tools:
            return None
        return Toolbox(offered(self._task, self.sample), self.sample, self._deadline.of_call)

    def _tool_calls(self) -> tuple[CalledTool, ...] | None:
        """The calls of tools, in order; None where there are no tools."""
        if self._toolbox is not None:
            return tuple(self._toolbox.called)
        return () if self.sample.tools else None

    def _read(self, reply: Reply, toolbox: Toolbox | None) -> tuple[Message, list[Call]]:
        """Add a reply: as a message, and the calls of tools that it makes."""
        self._add(reply.ids, 1, reply.logprobs)
        said = self._renderer.parse(reply.ids, tools=toolbox is not None)
        self._messages.append(said.message)
        self.turns += 1
        # A call that the limit of tokens has cut off was not meant to end there.
        whole = bool(said.tool_calls) or reply.finish_reason == "stop"
        return said.message, toolbox.ask(said) if toolbox is not None and whole else []

    def _is_full(self) -> bool:
        """Whether the model cannot read what it is to answer."""
        context = self._limits.context
        return context is not None and len(self.prompt_ids) + len(self.ids) >= context

    def _add_answers(self, reply: Message, answers: Sequence[Message], *, ended: bool) -> None:
        self._messages += answers
        bridge = self._renderer.between(reply, answers, ended=ended)
        self._replay.heard(self.turns, bridge)
        self._add(bridge, 0, [0.0] * len(bridge))

    def _leave_out(self, number: int) -> None:
        """Learn nothing from so many tokens at the end, as if the model had not written them."""
        begin = len(self.ids) - number
        self._mask[begin:] = [0] * number
        if self._logprobs is not None:
            self._logprobs[begin:] = [0.0] * number

    def _add(self, ids: list[int], mask: int, logprobs: list[float] | None) -> None:
        self.ids += ids
        self._mask += [mask] * len(ids)
        if self._logprobs is None or logprobs is None:
            self._logprobs = None
        else:
            self._logprobs += logprobs


def _close_late(environment: Any) -> None:
    """Close an environment whose time was over before it was there."""
    if (close := getattr(environment, "close", None)) is not None:
        with suppress(Exception, SystemExit):
            awaited(close())
