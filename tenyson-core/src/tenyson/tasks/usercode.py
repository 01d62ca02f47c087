"""Calls into a task's own code: what it raises or returns wrongly becomes a TaskError that names hook and sample."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from tenyson.errors import TaskError, TenysonError
from tenyson.plugins.failure import last_lines, one_line
from tenyson.tasks.rollout import RolloutError

if TYPE_CHECKING:
    from tenyson.tasks.plugin import TaskPlugin

SHOWN = 60
"""Characters of a wrong value that a message shows."""


@contextmanager
def user_code(what: str, where: str = "") -> Iterator[None]:
    """An exception in here becomes a TaskError: `what` raises `where`, with the file and line of the user's code.

    A TenysonError of the task's own says what to do, and passes where no `where` is to be added.
    """
    try:
        yield
    except TenysonError as error:
        if not where:
            raise
        raise TaskError(f"{what} refuses{where}: {error.cause}", next_step=error.next_step) from error
    except (Exception, SystemExit) as error:
        raise TaskError(f"{what} raises{where}: {one_line(error)}") from error


def rollout_error(
    source: Literal["environment", "tool", "reward", "agent"], error: TaskError
) -> RolloutError:
    """What a TaskError of `user_code` leaves in the record of a rollout: the class and the last lines are those of its cause."""
    cause = error.__cause__
    return RolloutError(
        source=source,
        kind=type(error if cause is None else cause).__name__,
        message=error.cause,
        traceback="" if cause is None or cause.__traceback__ is None else last_lines(cause),
    )


def task_name(task: TaskPlugin) -> str:
    """What messages call a task."""
    return task.name or type(task).__name__


def iterate(hook: str, call: Callable[[], Any]) -> Iterator[Any]:
    """The items of what a hook returns, whose own exceptions name the hook.

    Raises: TaskError.
    """
    with user_code(hook):
        source = call()
    refuse_coroutine(source, hook)
    if not isinstance(source, Iterable) or isinstance(source, (str, bytes, Mapping)):
        raise TaskError(f"{hook} returned {shown(source)}, not samples")
    with user_code(hook):
        items = iter(source)
    for number in count():
        with user_code(hook, f" after {number} samples" if number else ""):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def refuse_coroutine(value: Any, what: str) -> None:
    """Raises: TaskError: `value` is what an `async def` returns."""
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that nobody has awaited it
        raise TaskError(f"{what} returned a coroutine; it must be a plain function, not `async def`")


def text_fault(text: Any) -> str | None:
    """Why `text` cannot be used as text, in words that follow the name of the thing; None where it can."""
    if not isinstance(text, str):
        return f"is {shown(text)}, not text"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return f"holds a lone surrogate, {text[error.start]!r} at character {error.start}, which UTF-8 cannot encode"
    return None


def shown(value: Any) -> str:
    """A wrong value in a message: its type, and the beginning of how it prints."""
    if value is None:
        return "None"
    kind = type(value).__name__
    try:
        text = repr(value)
    except Exception:  # of a number of more than 4,300 digits, or whatever the user's __repr__ does
        return f"a {kind}"
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return f"a {kind}: {text[:SHOWN]}{'...' if len(text) > SHOWN else ''}"
