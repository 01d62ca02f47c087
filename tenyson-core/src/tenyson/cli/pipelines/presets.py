"""tenyson presets: the default pipelines of the installed tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.options import json_option
from tenyson.cli.terminal.format import print_json
from tenyson.cli.terminal.names import complete_task
from tenyson.cli.terminal.table import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenyson.plugins.manager import PluginManager
    from tenyson.tasks.preset import Preset


@click.command()
@click.argument("task", required=False, shell_complete=complete_task)
@json_option("Print JSON, with the configuration of every step.")
def presets(task: str | None, as_json: bool) -> int:
    """List presets of TASK (a name, a file or module:Class), or of all installed tasks."""
    found = _one(task) if task else _installed()
    rows: list[dict[str, Any]] = [
        {
            "task": name,
            "preset": preset.name,
            "steps": [
                {
                    "label": step.label,
                    "job": step.job,
                    "model_from": step.model_from,
                    "config": dict(step.config),
                }
                for step in preset.steps
            ],
            "hardware": preset.hardware,
            "summary": preset.summary,
        }
        for name, presets in found.items()
        for preset in presets.values()
    ]
    if as_json:
        print_json(rows)
        return 0
    if not rows:
        click.echo(
            "no presets: " + (f"the task {task} has none" if task else "no installed task has any"), err=True
        )
        return 0
    cells = [
        [
            row["task"],
            row["preset"],
            " > ".join(step["label"] for step in row["steps"]),
            row["hardware"],
            row["summary"],
        ]
        for row in rows
    ]
    print_table(["TASK", "PRESET", "STEPS", "HARDWARE", "SUMMARY"], cells)
    first = rows[0]
    click.echo(f"\ntenyson run --task {task or first['task']} --preset {first['preset']}")
    return 0


def _one(task: str) -> dict[str, Mapping[str, Preset]]:
    from tenyson.tasks.load import load_task_class, presets_of

    cls = load_task_class(task)
    return {cls.name or cls.__name__: presets_of(cls)}


def _installed() -> dict[str, Mapping[str, Preset]]:
    """Presets by task; a task that cannot be loaded is told and left out."""
    from tenyson.errors import TenysonError
    from tenyson.plugins.manager import PluginManager
    from tenyson.tasks.load import presets_of

    manager: PluginManager = PluginManager()
    for plugin in manager.plugins():
        if plugin.broken:
            click.echo(click.style("warning: ", fg="yellow") + str(plugin.broken), err=True)
    found = {}
    for entry in manager.all("task"):
        try:
            found[entry.name] = presets_of(manager.load(entry))
        except TenysonError as error:
            click.echo(click.style("warning: ", fg="yellow") + str(error), err=True)
    return found
