"""The run of this process, for code that a task calls without saying for whom, such as a judge with a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

_current: list[tuple[str, ExitStack]] = []


@contextmanager
def running(run_id: str) -> Iterator[None]:
    """In here, `run_id` is the run of this process."""
    with ExitStack() as ends:
        one = run_id, ends
        _current.append(one)
        ends.callback(_current.remove, one)
        yield


def current_run() -> str:
    """The run's name; empty where no job runs."""
    return _current[-1][0] if _current else ""


def at_end_of_run(close: Callable[[], object]) -> None:
    """Call `close` when the present run ends, however it does; never, where no job runs."""
    if _current:
        _current[-1][1].callback(close)
