"""How times, durations and JSON look on the command line."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from datetime import datetime
from typing import Any

from tenyson.core.stdio import is_terminal, print_result


def moment(seconds: float | None, *, exact: bool = True) -> str:
    """A local time with its zone, such as "2026-11-26 15:38:31 CET"; to the minute where it is not `exact`."""
    if seconds is None:
        return ""
    try:
        when = datetime.fromtimestamp(seconds).astimezone()
    except (OSError, OverflowError, ValueError):  # no calendar has it
        return f"{seconds:g} s after 1970"
    return when.strftime(f"%Y-%m-%d %H:%M{':%S' if exact else ''} %Z")


def number(value: float | str | None) -> str:
    """Four digits; nothing for None. JSON has what is not finite as text: "NaN" is shown as nan, "Infinity" as inf."""
    return "" if value is None else f"{float(value):.4g}"


def as_float(value: Any) -> float | None:
    """The number that JSON holds, finite or not; None for anything else."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else None


def wrapped(text: str, indent: int = 0) -> str:
    """Prose as a terminal shows it without breaking words, further lines indented; as it is where there is no terminal."""
    if not is_terminal(sys.stdout):
        return text
    width = max(40, shutil.get_terminal_size().columns)
    lines = [
        textwrap.fill(
            line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False, drop_whitespace=True,
        )
        for line in text.split("\n")
    ]  # fmt: skip
    return "\n".join(lines)


def print_json(value: Any) -> None:
    """Indented strict JSON on stdout."""
    from tenyson.telemetry.events.json_text import dumps

    print_result(json.dumps(json.loads(dumps(value)), indent=2))
