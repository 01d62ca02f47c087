"""A check of what a launch needs, and how a doctor prints it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What was tried, and what came of it."""

    level: Literal["ok", "warning", "error"]
    what: str
    said: str


def print_checks(checks: Iterable[Check], *, as_json: bool = False) -> int:
    """Print them as they come; returns the exit status: 1 if a launch would fail."""
    import click

    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    done = []
    for one in checks:
        done.append(one)
        if not as_json:
            click.echo(f"{click.style(one.level.ljust(7), fg=colours[one.level])}  {one.what}: {one.said}")
    if as_json:
        click.echo(json.dumps([vars(one) for one in done], indent=2))
    return 1 if any(one.level == "error" for one in done) else 0
