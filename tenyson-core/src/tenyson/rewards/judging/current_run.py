"""The run of this process, for code that a task calls without saying for whom, such as a judge with a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tenyson.core.run_folder import RunFolder

_current: list[tuple[RunFolder, ExitStack]] = []


@contextmanager
def running(folder: RunFolder) -> Iterator[None]:
    """In here, the run of this process is the one in `folder`."""
    with ExitStack() as ends:
        one = folder, ends
        _current.append(one)
        ends.callback(_current.remove, one)
        yield


def current_run() -> RunFolder | None:
    """The run's folder; None where no job runs."""
    return _current[-1][0] if _current else None


def at_end_of_run(close: Callable[[], object]) -> None:
    """Call `close` when the present run ends, however it does; never, where no job runs."""
    if _current:
        _current[-1][1].callback(close)
