"""Sub-commands that plugins add to the command line, through the entry-point group `tenyson.commands`."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from tenyson.errors import BrokenPluginError, DuplicatePluginError
from tenyson.plugins.discovery import allow_list, describe, distribution, installed
from tenyson.plugins.failure import one_line

GROUP = "tenyson.commands"


def command_points() -> list[metadata.EntryPoint]:
    """The entry points of all commands, by name.

    With an allow-list, those of distributions that provide an allowed plugin, and those named in it.
    """
    points = sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name)
    names = allow_list()
    if names is None:
        return points
    trusted = {distribution(point) for point in installed()}
    return [point for point in points if point.name in names or distribution(point) in trusted]


def load_command(name: str) -> Any | None:
    """The click command called `name`; None where no plugin adds one.

    Raises: BrokenPluginError, DuplicatePluginError.
    """
    points = [point for point in command_points() if point.name == name]
    if not points:
        return None
    if len(points) > 1:
        owners = " and ".join(describe(point) for point in points)
        raise DuplicatePluginError(
            f"the command {name!r} is provided by {owners}",
            next_step="Uninstall one of them, or name the other one's plugins in TENYSON_PLUGINS.",
        )
    try:
        return points[0].load()
    except Exception as error:
        raise BrokenPluginError(
            f"the command {name!r} of {describe(points[0])} ({points[0].value}) cannot be loaded: {one_line(error)}"
        ) from error
