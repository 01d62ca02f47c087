"""A group of sub-commands that are imported only when they run: help and completion read a table instead."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from tenyson.cli.terminal.blanks import refuse_blanks

COMMANDS_GROUP = "tenyson.commands"
"""Entry-point group in which plugins add sub-commands."""


@dataclass(frozen=True)
class LazyCommand:
    """A sub-command that is not imported yet."""

    load: str
    """ "module:attribute" of a click command."""
    help: str
    """One line for `tenyson --help`."""
    group: str = "Commands"
    """The heading under which `tenyson --help` lists it."""
    only_prints: bool = False
    """Whether all that it does is print, so that it may end, with status 0, once its reader leaves."""


class LazyGroup(click.Group):
    """A click group over a table of LazyCommand; names outside the table are looked up among the plugins'."""

    def __init__(
        self, *args: Any, table: Mapping[str, LazyCommand], elsewhere: Mapping[str, str], **kwargs: Any
    ) -> None:
        """`elsewhere`: by a name that is no command, where to look."""
        super().__init__(*args, **kwargs)
        self.table = table
        self.elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Core's own names, in the order of the table; plugins' would cost a scan of all metadata."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command. Raises: BrokenPluginError for a plugin's that fails to import."""
        if cmd_name in self.table:
            module, _, attribute = self.table[cmd_name].load.partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            refuse_blanks(command)
            return command
        return _plugin_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named by the first argument, or a usage error with the nearest name."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing and not name.startswith("-"):
            near = difflib.get_close_matches(name, [*self.table, *self.elsewhere], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            if near and near[0] in self.elsewhere:
                hint = f"\n  {self.elsewhere[near[0]]}"
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the table without importing anything."""
        for group in dict.fromkeys(command.group for command in self.table.values()):
            with formatter.section(group):
                formatter.write_dl(
                    [(name, command.help) for name, command in self.table.items() if command.group == group]
                )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of the table, and the group's own options."""
        names = [
            CompletionItem(name, help=command.help)
            for name, command in self.table.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def _plugin_command(name: str) -> click.Command | None:
    """The command that an installed plugin adds under `name`, if any."""
    # importlib.metadata alone costs half of the budget of `--help`, so it is read for unknown names only.
    from tenyson.plugins.commands import guard, load_command

    command = load_command(name)
    return None if command is None else guard(command, name)
