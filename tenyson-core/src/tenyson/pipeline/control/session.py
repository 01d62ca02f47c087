"""Session: what one process brings to a pipeline that it drives. It ends with the process, and the journal knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tenyson.pipeline.journal.decision import Ask, ask_terminal
from tenyson.pipeline.notify.notifier import Notifier

if TYPE_CHECKING:
    from tenyson.pipeline.cache.inputs import Reuse


@dataclass(frozen=True)
class Session:
    """How people are told and asked, and what is known of earlier results and of lost machines."""

    notifier: Notifier = field(default_factory=Notifier)
    ask: Ask = ask_terminal
    reuse: Reuse | None = None
    """Finds earlier results for steps whose inputs did not change; None: every step runs."""
    on_tick: Callable[[], None] = lambda: None
    """Is called after every round of polls."""
    grace_seconds: float | None = None
    """How long a job has to save and end; None: as long as its backend says."""
    gone: Collection[str] = ()
    """Labels of steps whose machine is gone for good, as somebody said."""
