"""Tools, tried once: their parameters against their functions, and a call where the author has given an example.

A tool may send a letter or delete a file, so that one without an example is never called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tenyson.engines.chat.chat_renderer import ChatRenderer
from tenyson.engines.renderers.parsed import Parsed
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.toolbox import Toolbox
from tenyson.errors import ModelError, TaskError
from tenyson.jobs.preflight.played.scripted import PATIENT_SECONDS, ScriptedRollout
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.checks import offered
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Message, Sample, ToolCall
from tenyson.tasks.tools.error import ToolError
from tenyson.tasks.tools.tool import Tool

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer

SHOWN = 200
"""Characters of arguments and results that a message shows."""


@dataclass
class ToolTrial:
    """The tools of a task, each tried on the first sample that offers it."""

    _called: dict[str, bool] = field(default_factory=dict)
    """Whether it was, by name."""

    def of(
        self, task: TaskPlugin, rollout: ScriptedRollout, renderer: Renderer, config: Config
    ) -> Iterator[Finding]:
        """Try those of a rollout. Raises: TaskError: `tools()` raises."""
        for tool in offered(task, rollout.sample):
            if tool.name in self._called:
                continue
            # Where the environment failed, there is nothing to call it in.
            calls = self._called[tool.name] = tool.example is not None and rollout.waits
            yield from _signature(tool)
            if tool.example is None:
                continue
            faults = [*_fitting(tool), *_reading(tool, rollout.sample, renderer)]
            yield from faults
            if calls and not faults:
                yield from _call(tool, rollout, Limits.from_config(config))

    def summary(self) -> Iterator[Finding]:
        """Which were called."""
        if called := [name for name, done in self._called.items() if done]:
            yield Finding("tools", "info", f"called with their examples: {', '.join(called)}")
        if silent := [name for name, done in self._called.items() if not done]:
            yield Finding(
                "tools",
                "info",
                f"not called: {', '.join(silent)}",
                "Give tool(function, example={...}) or Tool(..., example={...}) the arguments of a call that does no harm.",
            )


def _signature(tool: Tool) -> Iterator[Finding]:
    for severity, fault in tool.faults():
        yield Finding(
            "tools",
            severity,
            f"the function of the tool {tool.name}, {fault}",
            "Let the parameters name and require what the function takes, or return the plain function from tools().",
        )


def _fitting(tool: Tool) -> Iterator[Finding]:
    try:
        tool.bind(tool.example or {})
    except ToolError as error:
        yield Finding(
            "tools",
            "error",
            f"the example of the tool {tool.name} does not fit its parameters: {error}",
            "Correct the example: it is a call that the model might make.",
        )


def _reading(tool: Tool, sample: Sample, renderer: Renderer) -> Iterator[Finding]:
    """Whether a call, written as the model's family writes it, is read as it was meant."""
    if isinstance(renderer, ChatRenderer):
        return  # the endpoint reads it
    said: list[Message] = [
        {"role": "assistant", "content": "", "tool_calls": [_written(tool)]},
        {"role": "tool", "name": tool.name, "content": "?"},
        {"role": "assistant", "content": "?"},
    ]
    try:
        ids, mask = renderer.conversation(replace(sample, completion=said), "drop")
    except ModelError as error:
        cause = f"a call of the tool {tool.name} cannot be rendered: {error.cause}"
        yield Finding("tools", "warning", cause, error.next_step or "")
        return
    start = mask.index(1)
    calls = renderer.parse(ids[start : mask.index(0, start)], tools=True).tool_calls
    read = [one["function"]["arguments"] for one in calls]
    if len(read) != 1 or _bound(tool, read[0]) != _bound(tool, tool.example or {}):
        yield Finding(
            "tools",
            "warning",
            f"written as the chat template writes calls, the example of the tool {tool.name}, {_json(tool.example)}, is read as "
            f"{_json(read[0]) if len(read) == 1 else f'{len(read)} calls'}",
            "Take arguments of other types: the model's own calls are read in the same way.",
        )


def _call(tool: Tool, rollout: ScriptedRollout, limits: Limits) -> Iterator[Finding]:
    """Call it, and again where it fails, as often as rollouts are played again."""
    said = Parsed("", None, [_written(tool)])
    for left in reversed(range(limits.retries + 1)):
        toolbox = Toolbox([tool], rollout.sample, lambda: limits.step_seconds or PATIENT_SECONDS)
        try:
            [answer] = toolbox.answers(said.message, rollout.run(toolbox.ask(said)), 0)
        except TaskError as error:
            if left:
                continue
            times = f" {limits.retries + 1} times" if limits.retries else ""
            yield Finding(
                "tools",
                "error",
                f"{error.cause.replace(', turn 0', '', 1)} (called{times} with its example, {_json(tool.example)})",
                "Correct it. A tool says by ToolError what the model is to learn from; rollouts.step_seconds limits a call.",
            )
            return
        if toolbox.refused:
            cause = f"the tool {tool.name} refuses its example, {_json(tool.example)}: {answer['content'][:SHOWN]}"
            yield Finding("tools", "warning", cause, "Correct the example, or the tool.")
        return


def _written(tool: Tool) -> ToolCall:
    return {"type": "function", "function": {"name": tool.name, "arguments": dict(tool.example or {})}}


def _bound(tool: Tool, arguments: Any) -> Any:
    """What the function gets; why it gets nothing, where the arguments do not fit."""
    try:
        return tool.bind(arguments)
    except ToolError as error:
        return error


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
