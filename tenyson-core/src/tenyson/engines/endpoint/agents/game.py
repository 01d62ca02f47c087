"""A rollout that an agent plays: the requests of its session, one by one, as a `Game` asks for replies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Any

from tenyson.engines.endpoint.agents.run import AgentRun
from tenyson.engines.endpoint.answer import Answer
from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.choice import Choice, choose
from tenyson.engines.endpoint.conversations import Conversation, Conversations, Prompt
from tenyson.engines.endpoint.request import ChatRequest, CompletionRequest
from tenyson.engines.endpoint.server import EndpointServer
from tenyson.engines.endpoint.session import Pending, Session
from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.rollout import CLOSE_SECONDS, Trajectory
from tenyson.engines.rollouts.side_by_side import Call, Ended
from tenyson.engines.rollouts.tokens import Tokens
from tenyson.errors import TaskError
from tenyson.tasks.agent import Endpoint
from tenyson.tasks.checks import LONGEST
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.rollout import FinishReason, Rollout, RolloutError
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import rollout_error, task_name

CONTEXT = "context_length_exceeded"


class AgentGame:
    """A rollout under way, with the face of `Game`.

    Its work is to wait for the agent's next request; a request that can be answered makes it wait for a reply. Where the job
    draws tokens decides how: the temperature that an agent asks for is noted, and the run's own is used.
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
        self._renderer, self._max_turns, self._limits, self._server = renderer, max_turns, limits, server
        self._what, self._where = f"agent() of the task {task_name(task)}", f" on sample {sample.id}"
        self._session, self._path = Session("policy"), token_hex(16)
        endpoint = Endpoint(server.add(self._path, self._session), self._session.key)
        self._run = AgentRun(task, sample, endpoint, self._session.end)
        self._conversations = Conversations(renderer)
        self._finish: FinishReason = "stop"
        self._error: RolloutError | None = None
        self._closing = self._began = False
        self._pending: Pending | None = None
        self._todo: list[Prompt] = []
        self._choices: list[Choice] = []
        self._asked: dict[str, Any] = {}
        self._refused: Counter[str] = Counter()
        self._changes: list[str] = []
        self._requests = 0
        self._result: Any = None
        self._await_agent()

    @property
    def over(self) -> bool:
        """Whether nothing is wanted any more: there is a trajectory."""
        return not self.work and not self.waits

    @property
    def asks(self) -> list[int]:
        """The ids that a reply is to follow."""
        return self._todo[0].ids

    def take(self, reply: Reply) -> None:
        """Continue with the reply that it waits for."""
        assert self._pending is not None
        request, prompt = self._pending.request, self._todo.pop(0)
        self.turns += 1
        most = self._most(request.options.max_tokens, len(prompt.ids))
        choice = choose(reply, request, self._renderer, most=most, name=f"call_{self.turns}")
        self._conversations.add(prompt, choice)
        self._choices.append(choice)
        if self._todo and self.turns < self._max_turns:
            return
        self.waits = False
        if self._todo:
            self._cut_off()
            return
        self._answer(request)
        self._await_agent()

    def settle(self, ended: Sequence[Ended]) -> None:
        """Continue with what its work came to."""
        [one] = ended
        if self._closing:
            self.work = []
        elif one.fault is not None:
            self._fail(one)
        elif one.value is None:
            self._end()
        else:
            self._begin(one.value)

    def give_up(self) -> list[Call]:
        """What is left to run where the rollout is not wanted any more."""
        self.waits = False
        if not self._closing:
            self._close()
        return self.work

    def trajectory(self) -> Trajectory:
        """The rollout that is over: the conversation in which the model wrote most, and the others."""
        found = self._conversations.all() or [Conversation(self._no_prompt(), [], [], [])]
        first = max(found, key=lambda one: one.written)  # the first of those that are as long
        rollout = Rollout(
            sample=self.sample,
            messages=tuple(first.messages),
            finish_reason="error" if self._error else self._finish,
            info=self._info(found, first),
            error=self._error,
            tokens=sum(one.written for one in found),
        )
        further = [
            Tokens(one.prompt_ids, one.completion_ids, one.mask, one.logprobs)
            for one in found
            if one is not first
        ]
        return Trajectory(
            rollout, first.prompt_ids, first.completion_ids, first.mask, first.logprobs, further
        )

    def _await_agent(self) -> None:
        self.work = [Call((id(self), "agent"), self._next, self._limits.step_seconds)]

    def _next(self) -> Any:
        if not self._began and not self._closing:
            self._began = True
            self._run.start()
        return self._session.next()

    def _begin(self, pending: Pending) -> None:
        """Take a request."""
        self._requests += 1
        request = pending.request
        self._pending, self._choices = pending, []
        self._note(request.options.drawn)
        if request.options.seed is not None:
            self._note({"seed": request.options.seed})
        if self.turns == self._max_turns:
            self._cut_off()
            return
        try:
            prompts = [self._prompt(request, text) for text in self._texts(request)]
        except ApiError as error:
            self._refuse(error)
            self._await_agent()
            return
        self._changes += [f"request {self._requests}: {one.changed}" for one in prompts if one.changed]
        self._todo = [one for one in prompts for _ in range(request.options.n)]
        self._prompts = [one.ids for one in prompts]
        self.work, self.waits = [], True

    def _texts(self, request: ChatRequest | CompletionRequest) -> Sequence[str | tuple[int, ...]]:
        return ("",) if isinstance(request, ChatRequest) else request.prompts

    def _prompt(self, request: ChatRequest | CompletionRequest, text: str | tuple[int, ...]) -> Prompt:
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

    def _answer(self, request: ChatRequest | CompletionRequest) -> None:
        assert self._pending is not None
        if request.options.logprobs and any(one.logprobs is None for one in self._choices):
            self._refuse(ApiError("this engine reports no log-probabilities", param="logprobs"))
        else:
            self._pending.answer.set_result(Answer(request, self._prompts, self._choices))

    def _refuse(self, error: ApiError) -> None:
        assert self._pending is not None
        self._refused[error.code or error.param or "invalid"] += 1
        self._pending.refuse(error)

    def _note(self, parameters: Any) -> None:
        for name, value in parameters.items():
            known = self._asked.setdefault(name, [])
            if value not in known:
                known.append(value)

    def _cut_off(self) -> None:
        """The agent wants more replies than a rollout may have."""
        self._finish = "turns"
        self._close()

    def _end(self) -> None:
        """The agent has ended by itself."""
        fault = self._run.fault
        if fault is not None and self._refused[CONTEXT]:
            self._finish = "length"  # the model wrote too much for its own context
        elif fault is not None:
            self._fail(Ended("agent", fault=fault))
            return
        else:
            try:
                self._result = _checked(self._run.value, f"{self._what}{self._where}")
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
        found = rollout_error("agent", error)
        self._error = replace(
            found,
            message=found.message.replace(self._session.key, "***"),
            traceback=found.traceback.replace(self._session.key, "***"),
        )
        self._close()

    def _close(self) -> None:
        self._closing, self.waits = True, False
        self._session.close()
        self._server.remove(self._path)
        self._run.cancel()
        self.work = [Call((id(self), "close"), self._leave, None)]

    def _leave(self) -> None:
        if not self._run.join(self._limits.step_seconds or CLOSE_SECONDS):
            self._server.left_behind += 1

    def _info(self, found: Sequence[Conversation], main: Conversation) -> dict[str, Any]:
        info: dict[str, Any] = {
            "result": self._result,
            "requests": self._requests,
            "conversations": len(found),
            "calls_unreadable": sum(choice.unreadable for one in found for choice in one.choices),
        }
        further = {
            "requests_refused": dict(self._refused),
            "sampling_asked": self._asked,
            "history_changed": self._changes,
            "further": [
                {
                    "prompt": self._renderer.raw(one.prompt_ids),
                    "completion": self._renderer.raw(one.completion_ids),
                    "tokens": one.written,
                }
                for one in found
                if one is not main
            ],
        }
        return info | {name: value for name, value in further.items() if value}

    def _no_prompt(self) -> list[int]:
        """The agent has asked nothing."""
        return self._renderer.prompt_ids(self.sample)


def _checked(value: Any, what: str) -> Any:
    """An agent's result. Raises: TaskError: it is too long, or no JSON."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(
            f"{what}: its result is no JSON: {error}", next_step="Return text, numbers, lists or mappings."
        ) from None
    if len(text) > 6 * LONGEST:
        raise TaskError(f"{what}: its result has {len(text):,} characters; the limit is {LONGEST:,}")
    return value
