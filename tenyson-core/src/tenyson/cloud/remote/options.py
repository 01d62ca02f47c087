"""Options that the commands of every backend share."""

from __future__ import annotations

import shlex
from typing import Any

import click

settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the backend, beside those of the project file (tenyson.yaml).",
)


def settings_values(backend: str, given: tuple[str, ...]) -> dict[str, Any]:
    """The project file's settings of a backend, with those of the command line over them. Raises: click.UsageError."""
    import yaml

    from tenyson.config.project import backend_settings

    values = backend_settings(backend)
    for text in given:
        key, separator, value = text.partition("=")
        if not separator:
            raise click.UsageError(f"--set takes KEY=VALUE, not {shlex.quote(text)}")
        values[key] = yaml.safe_load(value)
    return values
