"""What the commands of every backend that rents share: settings, a doctor's lines, attaching, a clean-up that asks first."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import click

from tenyson.cli.terminal.format import print_json

if TYPE_CHECKING:
    from tenyson.cloud.remote.backend import RemoteBackend


@dataclass(frozen=True)
class Check:
    """What was tried, and what came of it."""

    level: Literal["ok", "warning", "error"]
    what: str
    said: str


class Removable(Protocol):
    """One thing that a clean-up found."""

    @property
    def kind(self) -> str:
        """What it is, such as "instance"."""

    @property
    def id(self) -> str:
        """Its name at the provider."""


F = TypeVar("F", bound=Removable)

settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A backend setting, in addition to those of the project file (tenyson.yaml).",
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
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            reason = getattr(error, "problem", None) or str(error).splitlines()[0]
            raise click.UsageError(f"--set {key}: not valid YAML: {reason}") from None
    return values


def print_checks(checks: Iterable[Check], *, as_json: bool = False) -> int:
    """Print them as they come; returns the exit status: 1 if a launch would fail."""
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    done = []
    for one in checks:
        done.append(one)
        if not as_json:
            click.echo(f"{click.style(one.level.ljust(7), fg=colours[one.level])}  {one.what}: {one.said}")
    if as_json:
        print_json([vars(one) for one in done])
    return 1 if any(one.level == "error" for one in done) else 0


def attach_run(backend: RemoteBackend[Any], run: str, *, unknown: str, next_step: str) -> int:
    """Follow a run that another machine started; returns the exit status. Raises: BackendError: the run is unknown."""
    from tenyson.cli.terminal.progress import choose_follower
    from tenyson.cloud.manager import CloudManager
    from tenyson.errors import BackendError
    from tenyson.jobs.spec import JobSpec

    handle = backend.reattach(run)
    record = backend.record_class.load(backend.output_dir / run)
    if handle is None or record is None:
        raise BackendError(unknown, next_step=next_step)
    result = CloudManager(backend, follower=choose_follower()).attach(JobSpec(**record.spec), handle)
    click.echo(f"{result.run_id}: {result.status}")
    return {"success": 0, "stopped": 130}.get(result.status, 1)


def clean_up(
    found: Sequence[F],
    columns: Sequence[str],
    row: Callable[[F], Iterable[Any]],
    remove: Callable[[F], str | None],
    *,
    dry_run: bool,
    yes: bool,
) -> int:
    """Show what was found, ask, and remove it in that order; returns the exit status: 1 where something stays."""
    from tenyson.cli.terminal.table import print_table

    print_table(tuple(columns), [tuple(row(one)) for one in found])
    if dry_run:
        click.echo(f"{len(found)} would be removed; nothing was removed")
        return 0
    if not yes and not click.confirm(f"Remove these {len(found)}?", default=False):
        return 1
    left = 0
    for one in found:
        why = remove(one)
        left += why is not None
        click.echo(f"{one.kind} {one.id}: " + ("removed" if why is None else f"stays: {why}"))
    return 1 if left else 0
