"""Extraction: where the answer is in a reply. Each way takes the reply and returns the answer, or None where there is none.

All of them are linear in the length of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tenyson.errors import TaskError
from tenyson.rewards.helper.pool import EXCEEDED, Helper
from tenyson.rewards.reading.patterns import compiled
from tenyson.tasks.rollout import Rollout

Extract = Callable[[str], str | None]
"""From a reply to the answer in it."""

LONGEST = 1_000_000
"""Characters of a reply that are read. Answers come last, so of a longer one its end."""

_THOUGHT = ("<think>", "</think>")


def reply_of(rollout: Rollout) -> str:
    """The last reply without its reasoning; empty where a thought was never closed."""
    text = rollout.text[-LONGEST:]
    begin, end = _THOUGHT
    answer = text.rpartition(end)[2]
    # What follows a thought that begins after the last one ended is all thought.
    return answer.partition(begin)[0]


def whole(text: str) -> str | None:
    """The whole reply, without blanks at its ends."""
    return text.strip() or None


def last_line(text: str) -> str | None:
    """The last line that is not blank."""
    return (text.rstrip().rpartition("\n")[2]).strip() or None


def after(marker: str) -> Extract:
    """What follows the last `marker` on its line, or on the next line that is not blank. Upper and lower case are alike.

    Raises: TaskError: the marker is empty.
    """
    if not marker.strip():
        raise TaskError("after(): the marker is empty", next_step='Write after("####") or after("Answer:").')
    found = re.compile(re.escape(marker), re.IGNORECASE)

    def extract(text: str) -> str | None:
        end = None
        for match in found.finditer(text):
            end = match.end()
        return None if end is None else _first_line(text[end:])

    return extract


def tag(name: str) -> Extract:
    """The content of the last `<name>...</name>`. Without the closing tag there is no answer.

    Raises: TaskError: this is no name of a tag.
    """
    name = name.strip("<>/ ")
    if not name or any(sign.isspace() or sign in "<>" for sign in name):
        raise TaskError(f"tag(): {name!r} is no name of a tag", next_step='Write tag("answer").')
    begin, end = f"<{name}>", f"</{name}>"

    def extract(text: str) -> str | None:
        before, closed, _ = text.rpartition(end)
        _, opened, content = before.rpartition(begin)
        return (content.strip() or None) if closed and opened else None

    return extract


_BOX = re.compile(r"\\(?:fbox|f?boxed)\s{0,9}\{|\\[\\{}]|[{}]")
_BARE_BOX = re.compile(r"\\boxed\s{1,9}([^\s{}$\\]{1,99})")


def boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` (or `\fbox{...}`) whose braces balance; `\boxed 5` counts too."""
    answer: str | None = None
    opened: list[int | None] = []
    for match in _BOX.finditer(text):
        sign = match[0]
        if sign == "}":
            if opened and (start := opened.pop()) is not None:
                answer = text[start : match.start()]
        elif sign[-1] == "{" and sign != "\\{":
            opened.append(None if sign == "{" else match.end())
    if answer is None:
        bare = _BARE_BOX.findall(text)
        return bare[-1] if bare else None
    inner = boxed(answer) if answer.lstrip().startswith(("\\boxed", "\\fbox")) else None
    return inner or answer.strip() or None


def fenced(language: str = "") -> Extract:
    """The last block between fences (```), of the language if one is named or of none; without any fence the whole reply.

    A block that the end of the reply cuts off counts.
    """
    names = {"", *language.lower().split("|")} if language else None

    def extract(text: str) -> str | None:
        blocks: list[str] = []
        current: list[str] | None = None
        others = wanted = False
        for line in text.splitlines(keepends=True):
            bare = line.strip()
            if not bare.startswith("```"):
                if current is not None:
                    current.append(line)
            elif current is None:
                name = bare.strip("`").strip().lower()
                wanted = names is None or name in names
                others, current = others or not wanted, []
            else:
                if wanted:
                    blocks.append("".join(current))
                current = None
        if current is not None and wanted:
            blocks.append("".join(current))
        if blocks:
            return blocks[-1].strip("\n") or None
        return None if others else whole(text)

    return extract


def matching(
    pattern: str, *, group: int | str | None = None, flags: int = 0, seconds: float = 1.0
) -> Extract:
    """The last match of a regular expression: its first group, or `group`; all of it where there are no groups.

    The search runs in a helper process that may compute for `seconds`; one that takes longer finds nothing.

    Raises: TaskError: the pattern cannot be compiled, or has no such group.
    """
    expression = compiled(pattern, flags, "matching()")
    chosen = group if group is not None else int(expression.groups > 0)
    known = expression.groupindex if isinstance(chosen, str) else range(expression.groups + 1)
    if chosen not in known:
        raise TaskError(f"matching(): the pattern {pattern!r} has no group {chosen!r}")
    helper = Helper("matching()", seconds)

    def extract(text: str) -> str | None:
        found = helper.call("search", pattern=pattern, flags=int(flags), text=text, group=chosen)
        return None if found is EXCEEDED or found is None else str(found)

    return extract


def first_of(*ways: Extract) -> Extract:
    """The first way that finds something."""

    def extract(text: str) -> str | None:
        return next((found for way in ways if (found := way(text)) is not None), None)

    return extract


def _first_line(text: str) -> str | None:
    return (text.lstrip().partition("\n")[0]).strip() or None
