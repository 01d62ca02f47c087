"""Checks of what a task's hooks hand over besides numbers: samples, environments, observations."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.tasks.environment import Environment, Observation
from tenyson.tasks.sample import Message, Sample
from tenyson.tasks.tools.tool import Tool, tools_of
from tenyson.tasks.usercode import refuse_coroutine, shown, task_name, text_fault, user_code

if TYPE_CHECKING:
    from tenyson.tasks.plugin import TaskPlugin

ENVIRONMENTS = 32
"""Samples, about, that are asked for an environment."""
CLOSE_SECONDS = 10.0
"""Limit of an environment's close where `rollouts` has none: nothing of it is needed."""
LONGEST = 200_000
"""Characters of an observation, or of a tool's result. One that is longer fits no context, and tokenising it takes minutes."""


def overrides(task: TaskPlugin, hook: str) -> bool:
    """Whether a task has a hook of its own, in its class or set on the object."""
    from tenyson.tasks.plugin import TaskPlugin

    return getattr(getattr(task, hook), "__func__", None) is not getattr(TaskPlugin, hook)


def check_sample(sample: Any, hook: str, number: int) -> Sample:
    """The sample that `hook` yields as its `number`-th, from 0. Raises: TaskError, which names sample and message."""
    if not isinstance(sample, Sample):
        raise TaskError(f"{hook}: item {number} is {shown(sample)}, which is no Sample")
    if (fault := text_fault(sample.id)) or not sample.id:
        raise TaskError(f"{hook}: the id of sample {number} {fault or 'is empty'}")
    if not isinstance(sample.data, Mapping):
        raise TaskError(f"{hook}: the data of sample {sample.id} is {shown(sample.data)}, not a mapping")
    check_messages(sample.prompt, f"{hook}: the prompt of sample {sample.id}")
    check_messages(sample.completion, f"{hook}: the completion of sample {sample.id}")
    if not sample.prompt:
        raise TaskError(f"{hook}: the prompt of sample {sample.id} has no message")
    return sample


def make_environment(task: TaskPlugin, sample: Sample) -> Environment | None:
    """A fresh environment for one rollout; None for a single turn. Raises: TaskError."""
    hook, where = f"environment() of the task {task_name(task)}", f" on sample {sample.id}"
    with user_code(hook, where):
        environment = task.environment(sample)
    return check_environment(environment, f"{hook}{where}")


def check_environment(environment: Any, what: str) -> Environment | None:
    """What a task's `environment` returned. Raises: TaskError: it is none."""
    refuse_coroutine(environment, what)
    if environment is not None and not callable(getattr(environment, "step", None)):
        raise TaskError(f"{what} returned {shown(environment)}, which is no Environment")
    found: Environment | None = environment
    return found


def current_samples(
    task: TaskPlugin, samples: Sequence[Sample], agree: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> list[Sample]:
    """The samples of a batch as the task has them played now; those of one group are the same object.

    Args:
        agree: gives the first process's value to all of them, so that a group has one level.

    Raises: TaskError.
    """
    if not overrides(task, "current_sample"):
        return list(samples)
    hook = f"current_sample() of the task {task_name(task)}"
    task.restore(agree(dict(task.state())))
    found: dict[str, Sample] = {}
    for sample in samples:
        if sample.id not in found:
            where = f" on sample {sample.id}"
            with user_code(hook, where):
                current = task.current_sample(sample)
            refuse_coroutine(current, f"{hook}{where}")
            found[sample.id] = with_tools(task, check_sample(current, hook, len(found)))
    return [found[sample.id] for sample in samples]


def offered(task: TaskPlugin, sample: Sample) -> list[Tool]:
    """The tools of one rollout. Raises: TaskError."""
    if not overrides(task, "tools"):
        return []
    hook, where = f"tools() of the task {task_name(task)}", f" on sample {sample.id}"
    with user_code(hook, where):
        found = task.tools(sample)
    refuse_coroutine(found, f"{hook}{where}")
    return tools_of(found, f"{hook}{where}")


def with_tools(task: TaskPlugin, sample: Sample) -> Sample:
    """The sample, and what its prompt says of the task's tools. Raises: TaskError."""
    tools = offered(task, sample)
    return replace(sample, tools=tuple(one.schema for one in tools)) if tools else sample


def has_agent(task: TaskPlugin) -> bool:
    """Whether an agent of the task's own plays its rollouts."""
    return overrides(task, "agent")


def plays_on(task: TaskPlugin, samples: Sequence[Sample]) -> bool:
    """Whether an agent plays, or any of some samples from all over the list has an environment or tools: a task may mix both kinds.

    An environment that cannot be made counts too: it may be there when it is needed.
    """
    if has_agent(task):
        return True
    some = samples[:: max(1, len(samples) // ENVIRONMENTS)]
    return any(sample.tools or _has_environment(task, sample) for sample in some)


def _has_environment(task: TaskPlugin, sample: Sample) -> bool:
    """In a thread, as rollouts do it: a `close` that hangs costs some seconds."""
    if not overrides(task, "environment"):
        return False
    made: list[Environment | None] = []
    known = Event()

    def make() -> None:
        try:
            made.append(make_environment(task, sample))
        finally:
            known.set()
        if (close := getattr(made[0], "close", None)) is not None:
            awaited(close())

    def quietly() -> None:
        with suppress(BaseException):  # what is raised is told where it costs a rollout
            make()

    thread = Thread(target=quietly, name="tenyson-world", daemon=True)
    thread.start()
    known.wait()
    thread.join(CLOSE_SECONDS)
    return made != [None]


def respond(environment: Environment, reply: Message) -> Any:
    """What the environment answers; an awaitable, where it is async."""
    # Where nothing derives from Environment, `step` is all that was asked for.
    return (
        environment.respond(reply)
        if isinstance(environment, Environment)
        else environment.step(reply["content"])
    )


def take_step(environment: Environment, reply: Message, sample: Sample, turn: int) -> Observation:
    """The environment's answer to the reply of a turn, from 1, waited for. Raises: TaskError, which names the sample."""
    what, where = f"the environment {type(environment).__name__}", f" on sample {sample.id}, turn {turn}"
    with user_code(what, where):
        answer = awaited(respond(environment, reply))
    return check_observation(answer, f"{what}{where}")


def awaited(value: Any) -> Any:
    """A value, or what an `async def` returns, where no event loop runs yet."""
    if not inspect.iscoroutine(value):
        return value
    import asyncio

    return asyncio.run(value)


def check_observation(answer: Any, what: str) -> Observation:
    """An environment's answer. Raises: TaskError: it is none, or cannot be shown to a model."""
    if not isinstance(answer, Observation):
        raise TaskError(f"{what} returned {shown(answer)}, which is no Observation")
    if answer.reward is not None:
        reward = answer.reward
        if isinstance(reward, bool) or not isinstance(reward, (int, float)) or not math.isfinite(reward):
            raise TaskError(f"{what}: the reward of its observation is {shown(reward)}, no finite number")
    if answer.done:
        return answer
    for message in answer.messages:
        if isinstance(message, Mapping) and (fault := text_fault(message.get("content"))):
            raise TaskError(f"{what}: the content of its observation {fault}")
    check_messages(answer.messages, f"{what}: its observation")
    for message in answer.messages:
        if message["role"] not in ("user", "tool"):
            raise TaskError(
                f"{what}: a message of its observation has the role {message['role']!r}",
                next_step="Answer with the roles user and tool.",
            )
        if len(message["content"]) > LONGEST:
            raise TaskError(
                f"{what}: its observation has {len(message['content']):,} characters; the limit is {LONGEST:,}"
            )
    return answer


def check_info(info: Any, what: str) -> Mapping[str, Any]:
    """What an environment knows at the end. Raises: TaskError: it is no mapping."""
    if not isinstance(info, Mapping):
        raise TaskError(f"{what} returned {shown(info)}, not a mapping")
    return info


def check_messages(messages: Any, what: str) -> None:
    """Refuse what is no list of messages; `what` names it. Raises: TaskError."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise TaskError(
            f"{what} is {shown(messages)}, not a list of messages",
            next_step='Write [{"role": "user", "content": "..."}].',
        )
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TaskError(f"{what}: message {number} is {shown(message)}, not a role and a content")
        for key in ("role", "content", *(key for key in _REASONING if key in message)):
            if fault := text_fault(message.get(key)):
                raise TaskError(f"{what}: the {key} of message {number} {fault}")
        _check_calls(message.get("tool_calls"), f"{what}: the tool_calls of message {number}")


_REASONING = ("reasoning", "reasoning_content", "thinking")


def _check_calls(calls: Any, what: str) -> None:
    """Raises: TaskError: they are no list of calls with a name and arguments."""
    if calls is None:
        return
    listed = isinstance(calls, Sequence) and not isinstance(calls, (str, bytes))
    for call in calls if listed else [calls]:
        function = call.get("function") if isinstance(call, Mapping) else None
        if (
            not isinstance(function, Mapping)
            or not isinstance(function.get("name"), str)
            or not isinstance(function.get("arguments"), Mapping)
        ):
            raise TaskError(
                f"{what} are {shown(calls)}, not a list of calls",
                next_step='Write [{"type": "function", "function": {"name": "...", "arguments": {...}}}].',
            )
