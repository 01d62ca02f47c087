"""The console entry point `tenyson`: the table of sub-commands, and how errors look."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from tenyson import __version__
from tenyson.cli.lazy import LazyCommand, LazyGroup
from tenyson.errors import TenysonError
from tenyson.stdio import OutputError, say, standard_streams

COMMANDS = {
    "run": LazyCommand(
        "tenyson.cli.run:run", "Run an experiment file, a task's preset pipeline, or one job."
    ),
    "attach": LazyCommand("tenyson.cli.attach:attach", "Go on with a pipeline whose controller is gone."),
    "decide": LazyCommand(
        "tenyson.cli.decide:decide", "Decide on a failed step: resume, restart, continue, abort."
    ),
    "pipelines": LazyCommand(
        "tenyson.cli.pipelines:pipelines", "Show how pipelines stand.", only_prints=True
    ),
    "report": LazyCommand("tenyson.cli.report:report", "Write a pipeline's report."),
    "why": LazyCommand("tenyson.cli.why:why", "Say why a step was run again.", only_prints=True),
    "lineage": LazyCommand(
        "tenyson.cli.lineage:lineage", "Show where a run's weights and numbers came from.", only_prints=True
    ),
    "runs": LazyCommand(
        "tenyson.cli.runs:runs", "List the runs of the telemetry database.", only_prints=True
    ),
    "show": LazyCommand(
        "tenyson.cli.show:show", "Show one run: attempts, metrics, where its files are.", only_prints=True
    ),
    "logs": LazyCommand("tenyson.cli.logs:logs", "Show the log of a run, as it comes.", only_prints=True),
    "metrics": LazyCommand(
        "tenyson.cli.metrics:metrics", "Show the curves of a run, or draw them.", only_prints=True
    ),
    "rollouts": LazyCommand(
        "tenyson.cli.rollouts:rollouts", "Show what a model said, and what that was worth.", only_prints=True
    ),
    "compare": LazyCommand(
        "tenyson.cli.compare:compare", "Compare two runs, sample by sample.", only_prints=True
    ),
    "sql": LazyCommand("tenyson.cli.sql:sql", "Ask the telemetry database, in SQL.", only_prints=True),
    "export": LazyCommand("tenyson.cli.export:export", "Write rollouts or metrics to a file."),
    "stop": LazyCommand("tenyson.cli.control:stop", "Ask a run to stop, save and finish."),
    "pause": LazyCommand("tenyson.cli.control:pause", "Hold a run between two steps."),
    "resume": LazyCommand("tenyson.cli.control:resume", "Let a paused run go on."),
    "checkpoint": LazyCommand("tenyson.cli.control:checkpoint", "Have a run write a checkpoint now."),
    "extend": LazyCommand("tenyson.cli.control:extend", "Have a run train more steps."),
    "doctor": LazyCommand("tenyson.cli.doctor:doctor", "Check a job before it runs, or this machine."),
    "verify-resume": LazyCommand(
        "tenyson.cli.verify_resume:verify_resume", "Prove that a killed and resumed training is the same one."
    ),
    "telemetry": LazyCommand(
        "tenyson.cli.telemetry:telemetry", "Recover what a killed run left; migrate a database."
    ),
    "presets": LazyCommand(
        "tenyson.cli.presets:presets", "List the preset pipelines of the installed tasks.", only_prints=True
    ),
    "config": LazyCommand("tenyson.cli.config:config", "Check, show or describe configurations."),
    "plugins": LazyCommand(
        "tenyson.cli.plugins:plugins", "List what the installed plugins provide.", only_prints=True
    ),
    "completion": LazyCommand(
        "tenyson.cli.completion:completion", "Print the completion script of a shell.", only_prints=True
    ),
}

EPILOG = """\
Plugins may add commands of their own; `tenyson plugins` lists them.

\b
Exit statuses:
  0    success
  1    a job or a pipeline failed
  2    something given is wrong: usage, configuration, plugin, task
  3    another controller has taken the pipeline over
  130  interrupted (Ctrl-C), after saving
\b
Environment:
  TENYSON_PLUGINS   comma-separated names of the plugins to use (core always is)
  TENYSON_DB_URL    telemetry database of the command line
  TENYSON_DEBUG=1   show the stack trace of errors
  TENYSON_WEBHOOK_URL, TENYSON_SLACK_WEBHOOK_URL   who is told of failed steps
"""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tenyson")
def cli() -> None:
    """Fine-tune, reinforce and evaluate language models, here or on rented machines."""


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
    click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)
