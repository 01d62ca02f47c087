"""A rollout that an agent plays: the requests of its session, one by one, as a `Game` asks for replies."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Any

from tenyson.engines.endpoint.agents.record import Record
from tenyson.engines.endpoint.agents.run import AgentRun
from tenyson.engines.endpoint.answer import Answer
from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.choice import Choice, choose
from tenyson.engines.endpoint.conversations import Conversation, Conversations, Prompt
from tenyson.engines.endpoint.request import ChatRequest, Request
from tenyson.engines.endpoint.server import EndpointServer
from tenyson.engines.endpoint.session import Pending, Session
from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.deadline import Deadline
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.rollout import RETRY_SECONDS, Trajectory
from tenyson.engines.rollouts.side_by_side import Call, Ended
from tenyson.errors import TaskError
from tenyson.tasks.agent import Endpoint
from tenyson.tasks.checks import CLOSE_SECONDS, LONGEST
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.rollout import FinishReason, RolloutError
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import rollout_error, task_name

CONTEXT = "context_length_exceeded"


class AgentGame:
    """A rollout under way, with the face of `Game`.

    Its work is to wait for the agent's next request; a request that can be answered makes it wait for a reply. How tokens are
    drawn is the run's to decide: the temperature that an agent asks for is noted.

    An agent that fails is run again, `limits.retries` times. What it asks again is answered with the replies of before.
    """

    def __init__(
        self,
        task: TaskPlugin,
        sample: Sample,
        renderer: Renderer,
        max_turns: int,
        limits: Limits,
        server: EndpointServer,
    ) -> None:
        self.sample = sample
        self.work: list[Call] = []
        self.waits = False
        """Whether it waits for a reply to `asks`."""
        self.turns = 0
        """Replies so far."""
        self._task, self._renderer, self._max_turns = task, renderer, max_turns
        self._limits, self._server, self._deadline = limits, server, Deadline(limits)
        self._what, self._where = f"agent() of the task {task_name(task)}", f" on sample {sample.id}"
        self._replies: dict[tuple[int, ...], list[Reply]] = {}
        """The model's replies to each prompt."""
        self._error: RolloutError | None = None
        self._retried: list[RolloutError] = []
        self._begin()

    @property
    def over(self) -> bool:
        """Whether nothing is wanted any more: there is a trajectory."""
        return not self.work and not self.waits

    @property
    def closing(self) -> bool:
        """Whether its work, if there is any, is to end the agent."""
        return self._closing

    @property
    def asks(self) -> list[int]:
        """The ids that a reply is to follow."""
        return self._todo[0].ids

    def take(self, reply: Reply) -> None:
        """Continue with the reply that it waits for."""
        self._replies.setdefault(tuple(self.asks), []).append(reply)
        try:
            self._deadline.require(self.sample.id, self.turns)
        except TaskError as error:
            self._break(error)
            return
        self._continue()

    def settle(self, ended: Sequence[Ended]) -> None:
        """Continue with what its work came to."""
        [one] = ended
        if self._closing and self._again:
            self._begin()
        elif self._closing:
            self.work = []
        elif not self._began:  # the wait before a retry is over
            self._await_agent()
        elif one.fault is not None:
            self._fail(one)
        elif isinstance(one.value, Pending):
            self._take_request(one.value)
        else:
            self._end()

    def give_up(self) -> list[Call]:
        """What is left to run where the rollout is not wanted any more."""
        self.waits = self._again = False
        if not self._closing:
            self._close()
        return self.work

    def trajectory(self) -> Trajectory:
        """The rollout that is over."""
        found = self._conversations.all()
        if not any(one.trained for one in found):  # nothing was asked of the model in the part that it plays
            found.insert(0, Conversation(self._renderer.prompt_ids(self.sample), [], [], []))
        return self._record.trajectory(
            self.sample, found, self._renderer, self._finish, self._error, self._retried
        )

    def _begin(self) -> None:
        """Run the agent, from its beginning."""
        self._session, self._path = Session("policy"), token_hex(16)
        endpoint = Endpoint(self._server.add(self._path, self._session), self._session.key)
        self._run = AgentRun(self._task, self.sample, endpoint, self._session.end)
        self._conversations, self._record = Conversations(self._renderer), Record()
        self._answered: Counter[tuple[int, ...]] = Counter()
        """Replies to each prompt that this agent has got."""
        self._finish: FinishReason = "stop"
        self._began = self._closing = self._again = self._too_long = False
        self._pending: Pending | None = None
        self._prompts: list[list[int]] = []
        self._todo: list[Prompt] = []
        self._choices: list[tuple[Prompt, Choice]] = []
        self.turns = 0
        if self._retried:
            seconds = RETRY_SECONDS * 2 ** (len(self._retried) - 1)
            self.work = [Call((id(self), "wait"), lambda: asyncio.sleep(seconds))]
        else:
            self._await_agent()

    def _await_agent(self) -> None:
        self.waits = False
        # Within the call, so that no more agents start at once than calls may run.
        function = self._session.next if self._began else partial(_started, self._run, self._session)
        self._began = True
        self.work = [Call((id(self), "agent"), function, self._deadline.of_call())]

    def _take_request(self, pending: Pending) -> None:
        request = pending.request
        self._pending, self._choices, self._too_long = pending, [], False
        self._record.note(request.options)
        if self.turns == self._max_turns:
            self._cut_off()
            return
        try:
            prompts = [self._prompt(request, text) for text in _texts(request)]
        except ApiError as error:
            self._refuse(error)
            self._await_agent()
            return
        self._record.history_changed += [
            f"request {self._record.requests}: {one.changed}" for one in prompts if one.changed
        ]
        self._todo = [one for one in prompts for _ in range(request.options.n)]
        self._prompts = [one.ids for one in prompts]
        self._continue()

    def _continue(self) -> None:
        """Use the replies that there are, until one is to be waited for."""
        assert self._pending is not None
        request = self._pending.request
        while self._todo:
            if self.turns == self._max_turns:
                self._cut_off()
                return
            prompt = self._todo[0]
            key = tuple(prompt.ids)
            known = self._replies.get(key, [])
            if self._answered[key] == len(known):
                self.work, self.waits = [], True
                return
            reply = known[self._answered[key]]
            self._answered[key] += 1
            del self._todo[0]
            self.turns += 1
            most = self._most(request.options.max_tokens, len(prompt.ids))
            choice = choose(reply, request, self._renderer, most=most, name=f"call{self.turns:03}")
            self._choices.append((prompt, choice))
        if self._pending.withdrawn:
            self._give_back()
            self._await_agent()
            return
        for prompt, choice in self._choices:
            self._conversations.add(prompt, choice)
        choices = [choice for _, choice in self._choices]
        if request.options.logprobs and any(one.logprobs is None for one in choices):
            self._refuse(ApiError("this engine reports no log-probabilities", param="logprobs"))
        else:
            self._pending.answer.set_result(Answer(request, self._prompts, choices))
        self._await_agent()

    def _give_back(self) -> None:
        """The client has left, as clients do whose patience is short: it gets these replies where it asks again."""
        for prompt, _ in self._choices:
            self._answered[tuple(prompt.ids)] -= 1
        self.turns -= len(self._choices)

    def _prompt(self, request: Request, text: str | tuple[int, ...]) -> Prompt:
        prompt = self._conversations.prompt_of(request, text)
        context = self._limits.context
        if context is not None and len(prompt.ids) >= context:
            raise ApiError(
                f"This model's maximum context length is {context} tokens; the messages have {len(prompt.ids)}",
                param="messages",
                code=CONTEXT,
            )
        return prompt

    def _most(self, asked: int | None, prompt: int) -> int | None:
        """Tokens of a reply at most, besides the engine's own limit."""
        left = None if self._limits.context is None else self._limits.context - prompt
        return min((one for one in (asked, left) if one is not None), default=None)

    def _refuse(self, error: ApiError) -> None:
        assert self._pending is not None
        self._too_long = error.code == CONTEXT
        self._record.requests_refused[error.code or error.param or "invalid"] += 1
        self._pending.refuse(error)

    def _cut_off(self) -> None:
        """The agent wants more replies than a rollout may have."""
        self._finish = "turns"
        self._close()

    def _end(self) -> None:
        """The agent has ended by itself."""
        fault = self._run.fault
        if fault is not None and self._too_long:
            self._finish = "length"  # the model wrote too much for its own context
        elif fault is not None:
            self._fail(Ended("agent", fault=fault))
            return
        else:
            try:
                self._record.result = self._checked(self._run.value)
            except TaskError as error:
                self._break(error)
                return
        self._close()

    def _fail(self, ended: Ended) -> None:
        try:
            ended.result(self._what, self._where)
        except TaskError as error:
            self._break(error)

    def _break(self, error: TaskError) -> None:
        """Run the agent again, or end with this error."""
        found = rollout_error("agent", error)
        found = replace(
            found, message=self._without_key(found.message), traceback=self._without_key(found.traceback)
        )
        if len(self._retried) < self._limits.retries and self._deadline.left() != 0:
            self._retried.append(found)
            self._again = True
        else:
            self._error = found
        self._close()

    def _close(self) -> None:
        self._closing, self.waits = True, False
        self._session.close()
        self._server.remove(self._path)
        self._run.cancel()
        leave = partial(self._run.leave, self._limits.step_seconds or CLOSE_SECONDS)
        self.work = [Call((id(self), "close"), leave)]

    def _checked(self, value: Any) -> Any:
        """The agent's result as the record may have it. Raises: TaskError: it is too long, or no JSON."""
        what = f"{self._what}{self._where}"
        try:
            text = json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskError(
                f"{what}: its result is no JSON: {error}",
                next_step="Return text, numbers, lists or mappings.",
            ) from None
        if len(text) > 6 * LONGEST:
            raise TaskError(f"{what}: its result has {len(text):,} characters; the limit is {LONGEST:,}")
        return json.loads(self._without_key(text))

    def _without_key(self, text: str) -> str:
        return text.replace(self._session.key, "***")


def _started(run: AgentRun, session: Session) -> Any:
    run.start()
    return session.next()


def _texts(request: Request) -> Sequence[str | tuple[int, ...]]:
    return ("",) if isinstance(request, ChatRequest) else request.prompts
