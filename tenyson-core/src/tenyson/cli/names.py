"""Shell completion for the names that plugins provide. Nothing is imported until the shell asks."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem


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
