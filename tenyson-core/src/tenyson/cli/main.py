"""The console entry point `tenyson`, and how errors look."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from tenyson import __version__
from tenyson.cli.commands import COMMANDS, ELSEWHERE
from tenyson.cli.lazy import LazyGroup
from tenyson.core.stdio import OutputError, say, standard_streams
from tenyson.errors import TenysonError

EPILOG = """\
Plugins may add commands of their own; `tenyson plugins` lists them.

\b
Exit statuses:
  0    success
  1    a job or a pipeline failed
  2    wrong usage, configuration, plugin or task
  3    another controller has taken the pipeline over
  130  interrupted (Ctrl-C), after saving
\b
Environment:
  TENYSON_PLUGINS   comma-separated names of the plugins to use (core always is)
  TENYSON_DB_URL    telemetry database of the command line
  TENYSON_API_KEY   key of `tenyson serve`, in place of a random one
  TENYSON_DEBUG=1   show the stack trace of errors
  TENYSON_WEBHOOK_URL, TENYSON_SLACK_WEBHOOK_URL   where failed steps are reported
"""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    elsewhere=ELSEWHERE,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tenyson")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train and evaluate language models, here or on rented machines."""
    context.color = _colours()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status (see EPILOG)."""
    try:
        with standard_streams(
            stop_without_reader=_only_prints(sys.argv[1:] if arguments is None else arguments)
        ):
            return _main(arguments)
    except OutputError as error:
        if error.reader_left:
            return 0
        say(f"error: standard output cannot be written: {error.reason}")
        return 2


def _only_prints(arguments: Sequence[str]) -> bool:
    """Whether the command does nothing but print, so that it may end once nobody reads."""
    name = next((one for one in arguments if not one.startswith("-")), None)
    return name is None or (name in COMMANDS and COMMANDS[name].only_prints)


def _main(arguments: Sequence[str] | None) -> int:
    try:
        status = cli.main(args=arguments, prog_name="tenyson", standalone_mode=False)
    except TenysonError as error:
        if os.environ.get("TENYSON_DEBUG") == "1":
            import traceback

            traceback.print_exc()
            return error.exit_status
        print_error(error)
        return error.exit_status
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    return status if isinstance(status, int) else 0


def print_error(error: TenysonError) -> None:
    """Write an error on stderr: cause, place and next step, without a stack trace."""
    click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True, color=_colours())


def _colours() -> bool | None:
    """None: as click finds out. A terminal that knows none would show them as letters."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None
