"""Options that several commands share, and the store that they read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.core.database_url import default_db_url
from tenyson.core.stdio import results_only

if TYPE_CHECKING:
    from tenyson.telemetry.read.store import Store

db_url = click.option(
    "--db-url",
    help="Telemetry database  [default: $TENYSON_DB_URL, or ./tenyson_telemetry.db]",
)
output_dir = click.option(
    "--output-dir",
    default="./outputs",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that holds the run folders; databases that their configurations name are read too.",
)


def json_option(help_text: str) -> Callable[[Any], Any]:
    """`--json`: stdout is for `print_json`, and whatever else prints there, such as a task's code, reaches stderr."""

    def begin(context: click.Context, _: click.Parameter, value: bool) -> bool:
        if value and not context.resilient_parsing:
            context.with_resource(results_only())
        return value

    return click.option("--json", "as_json", is_flag=True, callback=begin, help=help_text)


as_json = json_option("Print JSON.")

grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=1, max=86400),
    metavar="SECONDS",
    help="How long a job may take to save after Ctrl-C before it is killed  [default: twice as long as its steps take, "
    "at least 120]",
)

LATEST = "latest"
"""In place of a run's or a pipeline's name: the one that started last."""


def open_store(url: str | None) -> Store:
    """The database that was named, or the default one. Raises: TelemetryError: it is not there, or cannot be used."""
    from tenyson.telemetry.read.store import Store

    return Store(database_url(url))


def database_url(url: str | None) -> str:
    """The option, the variable, or the default, in this order."""
    return url or default_db_url()


def one_run(name: str, names: Collection[str], unknown: str) -> str:
    """Complete a name: the same, or the only one that begins like this; "latest" is the first of `names`.

    Raises: TelemetryError: none is (which is said as `unknown`), or several are.
    """
    import difflib

    from tenyson.core.sanitize import safe
    from tenyson.errors import TelemetryError

    if name in names:
        return name
    if name == LATEST and names:
        return next(iter(names))
    # An empty name is a variable that the shell does not know, and not the beginning of all names.
    begin = [found for found in names if name and found.startswith(name)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        shown = ", ".join(begin[:5]) + (", ..." if len(begin) > 5 else "")
        raise TelemetryError(safe(f"several runs begin with {name!r}: {shown}"))
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "`tenyson runs` lists the runs that are known here"
    raise TelemetryError(unknown, next_step=safe(hint))


def with_home(path: str) -> str:
    """`path` with `~` filled in, which no shell does in `--output=~/rollouts.csv`. Raises: UsageError: there is no such user."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise click.UsageError(
            f"{path}: {path.partition('/')[0]} is the home of no user on this machine"
        ) from None
