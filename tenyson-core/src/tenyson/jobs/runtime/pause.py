"""A pause between two batches of rollouts."""

from __future__ import annotations

import time
from collections.abc import Callable

from tenyson.telemetry.control import Controls

PAUSE_SECONDS = 0.2


def hold_while_paused(
    controls: Controls, done: int, say: Callable[[str], None], *, unit: str = "rollouts"
) -> float:
    """Wait until the job is resumed or stopped, after `done` rollouts or steps; returns the seconds."""
    if not controls.paused or controls.stop.requested:
        return 0.0
    begun = time.monotonic()
    controls.applied("pause", done)
    say(f"paused after {done} {unit}")
    while controls.paused and not controls.stop.requested:
        time.sleep(PAUSE_SECONDS)
    controls.applied("resume", done)
    say(f"resumed after {done} {unit}")
    return time.monotonic() - begun
