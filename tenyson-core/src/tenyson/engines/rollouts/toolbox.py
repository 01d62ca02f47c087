"""The tools of one rollout: what a reply asks of them, and what the model is told."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tenyson.engines.renderers.parsed import Parsed
from tenyson.engines.rollouts.side_by_side import Call, Ended
from tenyson.errors import TaskError
from tenyson.tasks.checks import LONGEST
from tenyson.tasks.rollout import CalledTool, CallOutcome
from tenyson.tasks.sample import Message, Sample
from tenyson.tasks.tools.error import ToolError
from tenyson.tasks.tools.tool import Tool
from tenyson.tasks.usercode import text_fault

UNREADABLE = "this call of a tool cannot be read; write it again as the tools' description says"


@dataclass(frozen=True)
class _Told:
    """What a call is answered with where it is the model's own fault."""

    text: str
    outcome: CallOutcome


class _Watch:
    """Adds up the time within it."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = (self.seconds or 0.0) + time.monotonic() - self._begun


class Toolbox:
    """The tools that the model may call in one rollout.

    A call of an unknown tool, or with arguments that do not fit, is data: its answer says so, and the rollout continues.
    """

    def __init__(self, tools: Sequence[Tool], sample: Sample, limit: Callable[[], float | None]) -> None:
        """`limit` says how many seconds a call may take."""
        self._tools = {one.name: one for one in tools}
        self._sample = sample
        self._limit = limit
        self._asked: list[tuple[Call, _Watch]] = []
        """Of the reply that was asked last."""
        self.called: list[CalledTool] = []
        """Calls that the model has made, and that have ended."""

    @property
    def refused(self) -> int:
        """Those among them that could not be read, named no tool, did not fit, or were refused by the tool."""
        return sum(one.refused for one in self.called)

    def ask(self, said: Parsed) -> list[Call]:
        """The calls of a reply, to be run side by side; empty where it makes none."""
        self._asked = [self._call(number, one["function"]) for number, one in enumerate(said.tool_calls)]
        if said.unreadable and not self._asked:
            unreadable = Call((id(self), 0), lambda: _Told(UNREADABLE, "unreadable"))
            self._asked = [(unreadable, _Watch())]
        return [call for call, _ in self._asked]

    def answers(self, reply: Message, ended: Sequence[Ended], turn: int) -> list[Message]:
        """What the model is told of each call, in order.

        Raises:
            TaskError: a tool raised, took too long, or returned what cannot be shown.
        """
        messages, calls = [], reply.get("tool_calls")
        failed: TaskError | None = None
        for number, one in enumerate(ended):
            call = calls[number] if calls else None
            name = call["function"]["name"] if call else "unknown"
            what, where = f"the tool {name}", f" on sample {self._sample.id}, turn {turn}"
            outcome: CallOutcome = "answered"
            cause = ""
            try:
                value = one.result(what, where)
                if isinstance(value, _Told):
                    outcome, cause = value.outcome, value.text
                    content = json.dumps({"error": cause}, ensure_ascii=False)
                else:
                    content = _content(value, f"{what}{where}")
            except TaskError as error:
                outcome, cause, content = "failed", error.cause, ""
                failed = failed or error
            seconds = self._seconds(number, one)
            self.called.append(CalledTool(turn, name if call else "", outcome, cause, seconds))
            message: Message = {"role": "tool", "name": name, "content": content}
            if call:
                message["tool_call_id"] = call.get("id", f"call_{number}")
            messages.append(message)
        if failed:
            raise failed
        return messages

    def _seconds(self, number: int, ended: Ended) -> float | None:
        call, watch = self._asked[number]
        late = ended.fault is not None and ended.fault.error is None
        seconds = call.seconds if late else watch.seconds
        return None if seconds is None else round(seconds, 6)

    def _call(self, number: int, function: Mapping[str, Any]) -> tuple[Call, _Watch]:
        name, arguments = function["name"], function["arguments"]
        found, watch = self._tools.get(name), _Watch()
        if found is None:
            text = f"there is no tool {name!r}; the tools are {', '.join(self._tools)}"
            return Call((id(self), number), lambda: _Told(text, "unknown")), watch
        return Call((id(self), number), _guarded(found, arguments, watch), self._limit()), watch


def _guarded(tool: Tool, arguments: Mapping[str, Any], watch: _Watch) -> Callable[[], Any]:
    def call() -> Any:
        try:
            bound = tool.bind(arguments)
            tool.require_accepted(bound)
        except ToolError as error:
            return _Told(str(error), "arguments")
        try:
            with watch:
                value = tool.function(**bound)
        except ToolError as error:
            return _Told(str(error), "refused")
        return _awaited(value, watch) if inspect.isawaitable(value) else value

    return call


async def _awaited(value: Awaitable[Any], watch: _Watch) -> Any:
    try:
        with watch:
            return await value
    except ToolError as error:
        return _Told(str(error), "refused")


def _content(value: Any, where: str) -> str:
    """A result as the model reads it. Raises: TaskError."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False, default=str)
        except Exception as error:  # values that refer to themselves, or whose own methods raise
            raise TaskError(
                f"{where}: its result is neither text nor JSON: {error}", next_step="Return text."
            ) from None
    if len(value) > LONGEST:
        raise TaskError(
            f"{where}: its result has {len(value):,} characters; the limit is {LONGEST:,}",
            next_step="Cut it where it is made, and say to the model that it was cut.",
        )
    if fault := text_fault(value):
        raise TaskError(f"{where}: its result {fault}")
    return str(value)
