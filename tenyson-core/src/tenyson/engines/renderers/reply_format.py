"""How a family writes a reply: what stands before its text, and where its reasoning goes.

Found out by rendering probes, so that a fine-tune is read like the model that it was made from, whatever its name is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenyson.engines.renderers.template import ChatTemplate, reasoning_of, shared
from tenyson.errors import ModelError
from tenyson.tasks.sample import Message

# Stand in for what a message says. Plain letters, so that no template rewrites them.
REPLY, THOUGHT = "TENYSONREPLY", "TENYSONTHOUGHT"
QUESTION: Message = {"role": "user", "content": "?"}
_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class ReplyFormat:
    """The parts of a reply, from its opening on: `before` REASONING `between` CONTENT, or `plain` CONTENT."""

    plain: str | None
    """What the template writes before a content without reasoning. None: what it writes does not follow its own opening."""
    before: str | None
    """What stands before reasoning; None where the template has no place for it."""
    between: str = ""
    """What stands between reasoning and content."""
    closer: str = ""
    """What ends reasoning, whatever follows it."""
    excess: int = 0
    """Characters at the end of the opening that a reply without reasoning does not begin with."""
    closed: bool = False
    """Whether the opening itself holds a closed, empty thought, so that a reply has none."""

    @property
    def ordinary(self) -> bool:
        """Whether a reply is its content and nothing else."""
        return self.before is None and not self.plain

    def message(self, message: Message) -> Message:
        """A reply with its reasoning apart from its content, where the family keeps them apart."""
        content = message["content"]
        if self.before is None and not self.closed:
            return message
        if reasoning_of(message) is None and _CLOSE in content:
            thought, _, content = content.partition(_CLOSE)
            rest: Message = {**message, "content": content.lstrip("\n")}
            thought = thought.partition(_OPEN)[2] if _OPEN in thought else thought
            return {**rest, "reasoning": thought.strip("\n")} if thought.strip() else rest
        return message

    def split(self, text: str) -> tuple[str | None, str]:
        """Reasoning and the rest of a reply that a model wrote. Where reasoning does not end, it is all of the reply."""
        if self.before is None:
            return None, _without(text, self.plain or "")
        start, closer, body = self.before.strip(), self.closer.strip(), text.lstrip()
        if not body.startswith(start):
            return None, _without(text, self.plain or "")
        thought, _, rest = body.removeprefix(start).partition(closer)
        return thought.strip() or None, _without(rest, self.between.strip().removeprefix(closer) + "\n")


def _without(text: str, header: str) -> str:
    """What follows the markers of a header and the blank lines after them."""
    if not header:
        return text
    marker, body = header.strip(), text.lstrip()
    if not body.startswith(marker):
        return text
    return body.removeprefix(marker).lstrip("\n") if header.endswith("\n") else body.removeprefix(marker)


def probe(reasoning: str | None = None, *, calls: bool = False) -> Message:
    """An assistant message that says REPLY, in its text or as the argument of a call."""
    message: dict[str, Any] = {"role": "assistant", "content": "" if calls else REPLY}
    if reasoning:
        message["reasoning"] = reasoning
    if calls:
        message["tool_calls"] = [{"function": {"name": "find", "arguments": {"city": REPLY}}}]
    return message  # type: ignore[return-value]


def find_format(template: ChatTemplate) -> ReplyFormat:
    """The reply format of a template. Raises: ModelError: the template refuses a question and its reply."""
    opening = template.render([QUESTION])
    plain = template.render([QUESTION, probe()], opening=False)
    thought = template.render([QUESTION, probe(THOUGHT)], opening=False)
    excess = len(opening) - shared(opening, plain)
    header = plain[len(opening) :].partition(REPLY)[0] if not excess else None
    last = opening[opening.rfind(_OPEN) :] if _OPEN in opening[-40:] else ""
    closed = bool(last) and _CLOSE in last
    before, between = _around(opening, thought)
    call = _call_after_thought(template, opening)
    if before is None and call is not None and not closed:
        before, between = call[:2]
    if before is None and last and not closed:
        before, between = "", f"\n{_CLOSE}\n\n"
    closer = between
    if before is not None and call is not None:
        closer = between[: shared(between, call[2])] or between
    return ReplyFormat(header, before, between, closer, excess, closed)


def _around(opening: str, whole: str) -> tuple[str | None, str]:
    """What stands before a thought, from the opening on, and between it and the content."""
    if not whole.startswith(opening) or THOUGHT not in whole:
        return None, ""
    before, _, rest = whole[len(opening) :].partition(THOUGHT)
    return before, rest.partition(REPLY)[0]


def _call_after_thought(template: ChatTemplate, opening: str) -> tuple[str, str, str] | None:
    """What stands before a thought and between it and a call, and the text from the thought on; None without either."""
    try:
        plain = template.render([QUESTION, probe(calls=True)], opening=False)
        whole = template.render([QUESTION, probe(THOUGHT, calls=True)], opening=False)
    except ModelError:
        return None
    if not whole.startswith(opening) or THOUGHT not in whole:
        return None
    before, _, rest = whole[len(opening) :].partition(THOUGHT)
    same = shared(rest[::-1], plain[len(opening) :][::-1])
    return before, rest[: len(rest) - same], rest
