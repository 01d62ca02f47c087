"""Sub-commands that plugins add to the command line, through the entry-point group `tenyson.commands`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tenyson.errors import BrokenPluginError, DuplicatePluginError, TenysonError
from tenyson.plugins.discovery import allow_list, describe, distribution, entry_points, installed
from tenyson.plugins.failure import one_line

if TYPE_CHECKING:
    import click

GROUP = "tenyson.commands"


def command_points() -> list[metadata.EntryPoint]:
    """The entry points of all commands, by name.

    With an allow-list, those of distributions that provide an allowed plugin, and those named in it.
    """
    points = sorted(entry_points(GROUP), key=lambda point: point.name)
    names = allow_list()
    if names is None:
        return points
    trusted = {distribution(point) for point in installed()}
    return [point for point in points if point.name in names or distribution(point) in trusted]


def load_command(name: str) -> click.Command | None:
    """The click command called `name`; None where no plugin adds one.

    Raises: BrokenPluginError, DuplicatePluginError.
    """
    import click

    points = [point for point in command_points() if point.name == name]
    if not points:
        return None
    if len(points) > 1:
        owners = " and ".join(describe(point) for point in points)
        raise DuplicatePluginError(
            f"the command {name!r} is provided by {owners}",
            next_step="Uninstall one of them, or name the other one's plugins in TENYSON_PLUGINS.",
        )
    owner = f"the command {name!r} of {describe(points[0])}"
    try:
        command: Any = points[0].load()
    except TenysonError:
        raise
    except (Exception, SystemExit) as error:
        raise BrokenPluginError(f"{owner} ({points[0].value}) cannot be loaded: {one_line(error)}") from error
    if not isinstance(command, click.Command):
        raise BrokenPluginError(f"{owner} ({points[0].value}) is no click command: {command!r:.60}")
    return command


def guard(command: click.Command, name: str) -> click.Command:
    """Make what a plugin's command raises an error that names the command, with file and line, in place of a stack trace."""
    import click

    if getattr(command, "_guarded", False):
        return command

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def run(*arguments: Any, **options: Any) -> Any:
            try:
                return call(*arguments, **options)
            except (TenysonError, click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except Exception as error:
                owner = " and ".join(describe(point) for point in command_points() if point.name == name)
                raise BrokenPluginError(
                    f"the command {name!r} of {owner} raises {one_line(error)}"
                ) from error

        return run

    for method in ("make_context", "invoke"):
        setattr(command, method, guarded(getattr(command, method)))
    command._guarded = True  # type: ignore[attr-defined]
    return command
