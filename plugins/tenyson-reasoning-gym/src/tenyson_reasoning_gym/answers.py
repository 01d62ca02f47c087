"""The answer in a reply: in the last `<answer>` tags, as reasoning-gym's own `extract_answer` finds it, or the whole text."""

from __future__ import annotations

import re

OPEN, CLOSE = "<answer>", "</answer>"
_TAGS = re.compile(rf"{OPEN}\s?(.*?)\s?{CLOSE}", re.DOTALL)


def tagged(reply: str) -> str | None:
    """What stands in the last complete tags; None without any.

    The expression is reasoning-gym's. It is applied to the text up to the last closing tag, where it takes linear time.
    """
    end = reply.rfind(CLOSE)
    found = None
    for found in _TAGS.finditer(reply, 0, end + len(CLOSE) if end >= 0 else 0):  # noqa: B007
        pass
    return found.group(1).strip() if found else None


def written(answer: str, form: str) -> str:
    """A reply that gives `answer` in the form "tags" or "text"."""
    return f"{OPEN}{answer}{CLOSE}" if form == "tags" else answer
