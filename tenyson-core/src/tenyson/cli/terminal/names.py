"""Names that plugins provide, in options and for shell completion. No plugin is imported before a name is used."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem


class JobKindName(click.ParamType[str]):
    """The name of an installed kind of job."""

    name = "job"

    def __init__(self, *, trained: bool = False) -> None:
        """`trained`: of those that train alone."""
        self._trained = trained

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises: click.BadParameter: there is no such kind, or it does not train. PluginError: its plugin is broken."""
        from tenyson.plugins.job_kinds import JOB_KINDS

        kind = JOB_KINDS.get(value)
        if kind is None or (self._trained and not kind.trains):
            names = ", ".join(map(repr, self._names()))
            self.fail(f"{value!r} is not one of {names}.", param, ctx)
        return value

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """As click writes a choice."""
        return f"[{'|'.join(self._names())}]"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Those that begin like this."""
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]

    def _names(self) -> list[str]:
        from tenyson.plugins.job_kinds import JOB_KINDS

        return [kind.name for kind in JOB_KINDS.values() if kind.trains or not self._trained]


def complete_task(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Installed tasks."""
    return _entries("task", incomplete)


def complete_backend(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Installed backends."""
    return _entries("backend", incomplete)


def complete_preset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Presets of the task given before."""
    from tenyson.errors import TenysonError
    from tenyson.tasks.load import load_task, presets_of

    try:
        presets = presets_of(load_task(ctx.params.get("task") or "", {}))
    except TenysonError:
        return []
    return [
        CompletionItem(name, help=one.summary) for name, one in presets.items() if name.startswith(incomplete)
    ]


def _entries(kind: Any, incomplete: str) -> list[CompletionItem]:
    from tenyson.plugins.manager import PluginManager

    entries = PluginManager().all(kind)
    return [
        CompletionItem(entry.name, help=entry.summary)
        for entry in entries
        if entry.name.startswith(incomplete)
    ]
