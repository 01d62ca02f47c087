"""Tool calls in a reply, as the families write them.

A format is chosen by what the template does with a known call, never by the model's name. A call that cannot be read is no call
and stays in the text.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tenyson.engines.renderers.reply_format import QUESTION, REPLY, ReplyFormat, probe
from tenyson.engines.renderers.template import ChatTemplate
from tenyson.errors import ModelError
from tenyson.tasks.sample import ToolCall

Read = Callable[[re.Match[str]], Iterator[tuple[str, dict[str, Any]]]]


@dataclass(frozen=True)
class ToolFormat:
    """One way to write calls."""

    name: str
    block: re.Pattern[str]
    """Finds a piece of text that holds calls."""
    read: Read
    """Names and arguments of the calls in it. Raises ValueError, KeyError, TypeError or SyntaxError where there are none."""
    opening: re.Pattern[str]
    """Finds what a call begins with."""

    def begins(self, text: str) -> bool:
        """Whether a text that `split` has left over holds the beginning of a call."""
        return self.opening.search(text) is not None

    def split(self, text: str) -> tuple[str, list[ToolCall]]:
        """The text without its calls, and the calls in order."""
        calls: list[ToolCall] = []

        def take(match: re.Match[str]) -> str:
            try:
                found = [_tool_call(*one) for one in self.read(match)]
            except (ValueError, KeyError, TypeError, SyntaxError):
                return match[0]
            calls.extend(found)
            return ""

        rest = self.block.sub(take, text)
        return (rest.rstrip("\n") if calls else rest), calls


def find_tool_format(template: ChatTemplate, reply_format: ReplyFormat) -> ToolFormat | None:
    """The format whose reading of the template's own call is that call; None where the template writes no calls."""
    try:
        written = template.render([QUESTION, probe(calls=True)], opening=False)
    except ModelError:
        return None
    tail = written[len(template.render([QUESTION])) - reply_format.excess :]
    if end := template.trailing(tail):
        tail = tail.rstrip().removesuffix(end)
    wanted = [_tool_call("find", {"city": REPLY})]
    return next((one for one in FORMATS if one.split(tail)[1] == wanted), None)


def _tool_call(name: str, arguments: dict[str, Any]) -> ToolCall:
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise TypeError
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _value(text: str) -> Any:
    """A value between tags: JSON where it is no text."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(found, str) else found


def _json(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    call = json.loads(match["call"])
    yield call["name"], call["arguments"] if "arguments" in call else call["parameters"]


def _named_json(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield match["name"], json.loads(match["call"])


def _functions(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    given = re.findall(r"<parameter=([^>]+)>\n?(.*?)\n?</parameter>", match["call"], re.DOTALL)
    yield match["name"], {name: _value(value) for name, value in given}


def _argument_pairs(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    pairs = r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>"
    yield match["name"], {name: _value(value) for name, value in re.findall(pairs, match["call"], re.DOTALL)}


def _python(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    tree = ast.parse(match["call"], mode="eval").body
    for call in tree.elts if isinstance(tree, ast.List) else [tree]:
        if not isinstance(call, ast.Call) or call.args:
            raise TypeError
        yield ast.unparse(call.func), {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}


def _deepseek(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    one = r"<｜tool▁call▁begin｜>function<｜tool▁sep｜>([^\n]+)\n```json\n(.*?)\n```<｜tool▁call▁end｜>"
    found = re.findall(one, match[0], re.DOTALL)
    if not found:
        raise ValueError
    for name, arguments in found:
        yield name, json.loads(arguments)


def _gemma(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys without quotes, and texts between markers of their own."""
    texts: list[str] = []

    def keep(text: re.Match[str]) -> str:
        texts.append(json.dumps(text[1]))
        return f'"@{len(texts) - 1}@"'

    plain = re.sub(r'<\|"\|>(.*?)<\|"\|>', keep, match["call"], flags=re.DOTALL)
    plain = re.sub(r"([{,]\s*)([A-Za-z_][\w.-]*)\s*:", r'\1"\2":', plain)
    yield match["name"], json.loads(re.sub(r'"@(\d+)@"', lambda at: texts[int(at[1])], plain))


def _atem(match: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    calls = re.findall(r'<atem:invoke name="([^"]+)">(.*?)</atem:invoke>', match[0], re.DOTALL)
    if not calls:
        raise ValueError
    for name, body in calls:
        given = re.findall(r'<atem:parameter name="([^"]+)"[^>]*>(.*?)</atem:parameter>', body, re.DOTALL)
        yield name, {key: _value(value) for key, value in given}


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


FORMATS = (
    ToolFormat(
        "functions",
        _compiled(r"\n*<tool_call>\s*<function=(?P<name>[^>]+)>(?P<call>.*?)</function>\s*</tool_call>"),
        _functions,
        _compiled(r"<tool_call>"),
    ),
    ToolFormat(
        "json",
        _compiled(r"\n*<tool_call>\s*(?P<call>\{.*?\})\s*</tool_call>"),
        _json,
        _compiled(r"<tool_call>"),
    ),
    ToolFormat(
        "pairs",
        _compiled(r"\n*<tool_call>(?P<name>[^\n<{]+)(?P<call>.*?)</tool_call>"),
        _argument_pairs,
        _compiled(r"<tool_call>"),
    ),
    ToolFormat(
        "python",
        _compiled(r"<\|tool_call_start\|>(?P<call>.*?)<\|tool_call_end\|>"),
        _python,
        _compiled(r"<\|tool_call_start\|>"),
    ),
    ToolFormat(
        "deepseek",
        _compiled(r"<｜tool▁calls▁begin｜>.*?(?:<｜tool▁calls▁end｜>|$)"),
        _deepseek,
        _compiled(r"<｜tool▁call"),
    ),
    ToolFormat(
        "harmony",
        _compiled(
            r"(?:<\|start\|>assistant)? ?to=functions\.(?P<name>[\w.-]+)<\|channel\|>commentary(?: json| ?<\|constrain\|>json)?"
            r"<\|message\|>(?P<call>\{.*?\})(?:<\|call\|>|$)"
        ),
        _named_json,
        _compiled(r"to=functions\."),
    ),
    ToolFormat(
        "gemma",
        _compiled(r"<\|tool_call>call:(?P<name>[\w.-]+)(?P<call>\{.*?\})<tool_call\|>"),
        _gemma,
        _compiled(r"<\|tool_call>"),
    ),
    ToolFormat(
        "atem",
        _compiled(
            r"(?:<\|eom\|>)?(?:<\|start\|>assistant)?(?: ?to=)?[\w.-]*(?:<\|message\|>)?<atem:function_calls>.*?</atem:function_calls>"
        ),
        _atem,
        _compiled(r"<atem:function_calls>"),
    ),
    ToolFormat(
        "bare json",
        _compiled(r"\A\s*(?:<\|python_tag\|>)?(?P<call>\{.*\})\s*\Z"),
        _json,
        _compiled(r"\A\s*(?:<\|python_tag\|>|\{\s*\"(?:name|type|function)\")"),
    ),
)
"""In the order in which they are tried."""
