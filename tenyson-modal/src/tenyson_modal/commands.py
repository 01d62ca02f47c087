"""tenyson modal: what runs now, a run of another machine, clean-up, a doctor."""

from __future__ import annotations

from typing import Any

import click

from tenyson.cli.options import json_option
from tenyson.cli.rented import attach_run, clean_up, print_checks, settings_option, settings_values
from tenyson.cli.terminal.format import print_json


@click.group()
def modal() -> None:
    """Apps at Modal: list, clean up, check."""


@modal.command("list")
@settings_option
@json_option("Print it as JSON.")
def list_apps(settings: tuple[str, ...], as_json: bool) -> int:
    """Apps of Tenyson that may cost, found by their names and tags alone."""
    from tenyson.cli.terminal.table import print_table
    from tenyson_modal.app.cleanup import find_all

    found = find_all(_settings(settings), only_apps=True)
    if as_json:
        print_json([vars(one) for one in found])
    elif not found:
        click.echo("no app of Tenyson runs at Modal")
    else:
        print_table(
            ("app", "state", "run", "owner", "containers"),
            [(one.id, one.state, one.run, one.owner, one.detail) for one in found],
        )
    return 0


@modal.command()
@click.argument("run")
@settings_option
def attach(run: str, settings: tuple[str, ...]) -> int:
    """Attach to RUN, which another computer started: find it by its tags or in the volume, follow it, fetch its outputs.

    If the run's folder is here, `tenyson attach RUN` does the same.
    """
    from tenyson_modal.backend import ModalBackend

    return attach_run(
        ModalBackend(**settings_values("modal", settings)),
        run,
        unknown=f"nothing at Modal is known of a run {run!r}",
        next_step="`tenyson modal list` shows what runs; another environment or volume: --set environment_name=..., --set volume=...",
    )


@modal.command()
@settings_option
@click.option("--run", help="Only objects of this run.")
@click.option(
    "--everything",
    is_flag=True,
    help="Also the runs' folders in the volume, with everything in them, and the Dict of requests.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cleanup(settings: tuple[str, ...], run: str | None, everything: bool, dry_run: bool, yes: bool) -> int:
    """Stop all apps of Tenyson, whoever launched them.

    This also ends running jobs, of which only saved files remain: check with `tenyson modal list` first.
    """
    from tenyson_modal.app.cleanup import find_all, remove

    checked = _settings(settings)
    found = [one for one in find_all(checked, only_apps=not everything) if run is None or one.run == run]
    if not found:
        click.echo("nothing to clean up")
        return 0
    return clean_up(
        found,
        ("what", "id", "state", "run", "detail"),
        lambda one: (one.kind, one.id, one.state, one.run, one.detail),
        lambda one: remove(checked, one, click.echo),
        dry_run=dry_run,
        yes=yes,
    )


@modal.command()
@settings_option
@json_option("Print it as JSON.")
def doctor(settings: tuple[str, ...], as_json: bool) -> int:
    """Check what a launch needs, at no cost: token, environment, secrets, volume, packages, price.

    Settings come from the project file (tenyson.yaml) and --set. Exits with 1 if a launch would fail.
    """
    from tenyson_modal.doctor import examine

    return print_checks(examine(_settings(settings)), as_json=as_json)


def _settings(given: tuple[str, ...]) -> Any:
    from tenyson.plugins.settings import build_settings
    from tenyson_modal.settings import ModalSettings

    return build_settings(ModalSettings, settings_values("modal", given))
