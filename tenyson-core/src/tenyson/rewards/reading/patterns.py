"""Regular expressions of a task's author, compiled before anything is generated."""

from __future__ import annotations

import re

from tenyson.errors import TaskError


def compiled(pattern: str, flags: int, what: str) -> re.Pattern[str]:
    """The pattern. Raises: TaskError: it is no regular expression; `what` says whose."""
    try:
        return re.compile(pattern, flags)
    except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TaskError(
            f"{what}: {pattern!r:.200} is no regular expression: {error}",
            next_step="Correct the pattern; write it as a raw string, r'...'.",
        ) from None
