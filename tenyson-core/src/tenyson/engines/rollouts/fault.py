"""A fault: what the world around the model did wrong, as it is recorded. Never what the model did."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from tenyson.errors import TenysonError
from tenyson.plugins.failure import one_line

LINES = 12
"""Last lines of a traceback that are kept."""
LONGEST = 2_000
"""Characters of a message, and of a traceback, that are kept."""


@dataclass(frozen=True)
class Fault:
    """Why a call into an environment, a tool, an agent or a reward has no result."""

    kind: str
    """Name of the exception's class; `TimeLimit` where the call took too long."""
    message: str
    traceback: str = ""
    """The last lines of it."""
    next_step: str | None = None
    final: bool = False
    """Whether trying again is of no use: the task's own code returned something of the wrong type."""

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        """What an exception says. It may be any, also one whose own methods raise."""
        kind = type(error).__name__
        try:
            lines = "".join(traceback.format_exception(error)).rstrip().splitlines()[-LINES:]
        except Exception:
            lines = []
        if isinstance(error, TenysonError):
            # The cause is what user code raised, or nothing where it is our own check that refuses.
            inner = error.__cause__
            kind = type(inner).__name__ if inner is not None else kind
            message, next_step = error.cause, error.next_step
        else:
            message, next_step = one_line(error), None
        return cls(kind, _kept(message), _kept("\n".join(lines), end=True), next_step)

    @classmethod
    def timeout(cls, seconds: float) -> Fault:
        """A call that took too long."""
        return cls("TimeLimit", f"no answer within {seconds:g} s")

    def at(self, what: str) -> Fault:
        """The same, and where it happened."""
        message = self.message if self.message.startswith(what) else f"{what}: {self.message}"
        return Fault(self.kind, _kept(message), self.traceback, self.next_step, self.final)


def _kept(text: str, *, end: bool = False) -> str:
    text = text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    if len(text) <= LONGEST:
        return text
    return f"[...]{text[-LONGEST:]}" if end else f"{text[:LONGEST]}[...]"
