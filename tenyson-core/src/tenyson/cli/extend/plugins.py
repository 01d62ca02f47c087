"""tenyson plugins: what is installed, from which distribution, and whether it works."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.options import json_option
from tenyson.cli.terminal.format import print_json
from tenyson.cli.terminal.table import print_table

if TYPE_CHECKING:
    from tenyson.plugins.manager import PluginManager


@click.command()
@click.option("--check", is_flag=True, help="Load everything; exit with 1 if something is broken.")
@json_option("Print JSON.")
def plugins(check: bool, as_json: bool) -> int:
    """List installed tasks, backends, sinks, engines, kinds of job, report helpers and commands."""
    from tenyson.plugins.manager import PluginManager

    manager = PluginManager()
    return _check(manager, as_json) if check else _list(manager, as_json)


def _list(manager: PluginManager, as_json: bool) -> int:
    from tenyson.plugins.commands import command_points
    from tenyson.plugins.discovery import distribution, version
    from tenyson.plugins.registration import KINDS

    rows = [
        {
            "kind": kind,
            "name": entry.name,
            "summary": entry.summary,
            "distribution": entry.provenance.distribution if entry.provenance else "",
            "version": entry.provenance.version if entry.provenance else "",
        }
        for kind in KINDS
        for entry in manager.all(kind)
    ]
    rows += [
        {
            "kind": "command",
            "name": point.name,
            "summary": f"tenyson {point.name}",
            "distribution": distribution(point),
            "version": version(point),
        }
        for point in command_points()
    ]
    troubles = [str(plugin.broken) for plugin in manager.plugins() if plugin.broken]
    troubles += [sentence for plugin in manager.plugins() for sentence in plugin.misspelt]
    if as_json:
        print_json({"entries": rows, "broken": troubles})
        return 0
    _print(rows, ("kind", "name", "summary", "distribution", "version"))
    for trouble in troubles:
        click.echo(click.style("warning: ", fg="yellow") + trouble, err=True)
    return 0


def _check(manager: PluginManager, as_json: bool) -> int:
    from tenyson.cli.commands import COMMANDS

    reports = manager.check(COMMANDS)
    broken = [report for report in reports if report.status == "broken"]
    if as_json:
        print_json([dataclasses.asdict(report) for report in reports])
    else:
        rows = [{**dataclasses.asdict(report), "name": report.name or report.plugin} for report in reports]
        _print(rows, ("status", "kind", "name", "distribution", "version", "detail"))
        click.echo(f"{len(reports) - len(broken)} fine, {len(broken)} broken", err=True)
    return 1 if broken else 0


def _print(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    print_table(
        [column.upper() for column in columns],
        [
            [
                str(row[column]).replace("_", " ") if column == "kind" else str(row[column])
                for column in columns
            ]
            for row in rows
        ],
    )
