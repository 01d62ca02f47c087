"""A fault: why a call into a task's code has no result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What an environment, a tool or a reward did wrong."""

    message: str
    error: Exception | SystemExit | None = None
    """What was raised; None where the call took too long."""

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        """What an exception says."""
        if not isinstance(error, (Exception, SystemExit)):  # such as a KeyboardInterrupt that a task raises
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(type(error).__name__, error)

    @classmethod
    def timeout(cls, seconds: float) -> Fault:
        """A call that took too long."""
        return cls(f"no answer within {seconds:g} s")
