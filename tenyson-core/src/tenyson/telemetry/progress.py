"""The progress protocol: events as marked lines among a job's log, for the controller that follows it.

A job started with TENYSON_PROGRESS=json prints `@tenyson {json}` lines on stdout; whatever carries the log
(a pipe, a cloud's log stream) carries them too.
"""

from __future__ import annotations

import json
from typing import Any

from tenyson.telemetry.events import EpochEnded, Event, MetricsLogged, Notice, RunFinished, RunStarted
from tenyson.telemetry.jsontext import event_text

MARK = "@tenyson "
VARIABLE = "TENYSON_PROGRESS"
SENT = (RunStarted, MetricsLogged, EpochEnded, Notice, RunFinished)
"""Events that travel this way; rollouts stay in the job's folder and database."""

_START = MARK + '{"event":'


def encode(event: Event) -> str:
    """One line, without its newline. Configuration and provenance are left out: a controller needs neither."""
    return MARK + event_text(event, without=frozenset({"config", "provenance"}))


def decode(line: str) -> dict[str, Any] | None:
    """The event's fields, its class name under "event"; None for an ordinary or a torn line.

    The mark may stand behind other text: a progress bar on stderr leaves its line open.
    """
    _, mark, rest = line.partition(_START)
    if not mark:
        return None
    try:
        event: dict[str, Any] = json.loads('{"event":' + rest)
    except ValueError:
        return None
    return event
