"""Blank values of options and arguments, such as those of a shell variable that is not set, are refused by name.

`--only "$STEP"` without a STEP would run every step, as if it had not been given.
"""

from __future__ import annotations

from typing import Any

import click


def refuse_blanks(command: click.Command) -> None:
    """Have `command`, and the commands below it, refuse blank text."""
    for one in getattr(command, "commands", {}).values():
        refuse_blanks(one)
    for parameter in command.params:
        if parameter.callback is None and isinstance(
            parameter.type, click.types.StringParamType | click.Path
        ):
            parameter.callback = _given


def _given(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    if not context.resilient_parsing and any(isinstance(one, str) and not one.strip() for one in values):
        raise click.BadParameter("it is empty", context, parameter)
    return value
