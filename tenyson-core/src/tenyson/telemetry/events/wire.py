"""The progress protocol: events as marked lines among a job's log, for the controller that follows it.

A job started with TENYSON_PROGRESS=json prints `@tenyson {json}` lines on stdout; whatever carries the log
(a pipe, a cloud's log stream) carries them too.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tenyson.telemetry.events import EpochEnded, Event, MetricsLogged, Notice, RunFinished, RunStarted
from tenyson.telemetry.events.checked import fault
from tenyson.telemetry.events.json_text import event_text

MARK = "@tenyson "
VARIABLE = "TENYSON_PROGRESS"
SENT = (RunStarted, MetricsLogged, EpochEnded, Notice, RunFinished)
"""Events that travel this way; rollouts stay in the job's folder and database."""

_START = MARK + '{"event":'
_CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MOST_TEXT = 10_000
"""Letters of one text; what is longer is for the log."""


def encode(event: Event) -> str:
    """One line, without its newline. Configuration and provenance are left out: a controller needs neither."""
    return MARK + event_text(event, without=frozenset({"config", "provenance"}))


def decode(line: str) -> dict[str, Any] | None:
    """The event's fields, its class name under "event"; None for an ordinary or a torn line, and for one that only looks like an
    event: anybody's code may print it, so each field is what its kind should have, and no text moves a terminal's cursor.

    The mark may stand behind other text: a progress bar on stderr leaves its line open.
    """
    _, mark, rest = line.partition(_START)
    if not mark:
        return None
    try:
        event: dict[str, Any] = json.loads('{"event":' + rest)
    except (ValueError, RecursionError):
        return None
    return None if fault(event, whole=False) else {key: _plain(value) for key, value in event.items()}


def is_marked(line: str) -> bool:
    """Whether a line claims to be an event."""
    return _START in line


def _plain(value: Any) -> Any:
    """Texts without control characters, also those within values; `fault` has seen to it that nothing is deep."""
    if isinstance(value, str):
        return _CONTROLS.sub("", value[:MOST_TEXT]).encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
