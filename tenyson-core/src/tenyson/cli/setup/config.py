"""tenyson config: check a configuration, show it resolved, describe what can be in one."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

import click

from tenyson.cli.options import json_option
from tenyson.cli.terminal.format import print_json
from tenyson.cli.terminal.names import JobKindName

if TYPE_CHECKING:
    from tenyson.config.document import Document
    from tenyson.config.schema import Config
    from tenyson.errors import Problem

_file = click.argument("file", type=click.Path())
_set = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value. Repeatable."
)


@click.group()
def config() -> None:
    """Check, show or describe configurations."""


@config.command()
@click.option("--experiment", is_flag=True, help="The schema of experiment files instead.")
def schema(experiment: bool) -> None:
    """Print the JSON Schema of configurations, for editors."""
    from tenyson.config.experiment.json_schema import configuration_schema, experiment_schema
    from tenyson.plugins.job_kinds import JOB_KINDS

    print_json(experiment_schema(JOB_KINDS) if experiment else configuration_schema())


@config.command()
@_file
@_set
@json_option("Print JSON instead of YAML.")
def show(file: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print FILE with all defaults filled in."""
    from tenyson.config.experiment.names import is_experiment
    from tenyson.config.load import dump_config, load_config
    from tenyson.config.reading import read_document
    from tenyson.errors import ConfigError

    if is_experiment(read_document(file)):
        raise ConfigError(
            f"{file} is an experiment file, which holds a configuration for each step",
            next_step=f"tenyson run {shlex.quote(file)} --dry-run --json shows them resolved.",
        )
    loaded = load_config(file, overrides)
    if as_json:
        print_json(loaded.model_dump(mode="json"))
    else:
        click.echo(dump_config(loaded), nl=False)


@config.command(short_help="Check a configuration or an experiment file.")
@_file
@_set
@click.option(
    "--job",
    type=JobKindName(),
    help="Also check for this job: keys that belong to another job, and arguments for TRL, PEFT and the engine.",
)
@json_option("Print the problems as JSON.")
def check(file: str, overrides: tuple[str, ...], job: str | None, as_json: bool) -> int:
    """Check FILE, a configuration or an experiment: print every problem with its line and the likely fix.

    Exits with 2 if there is an error.
    """
    problems = _check(file, overrides, job)
    errors = [problem for problem in problems if problem.severity == "error"]
    if as_json:
        print_json([dataclasses.asdict(problem) for problem in problems])
        return 2 if errors else 0
    for problem in problems:
        colour = "red" if problem.severity == "error" else "yellow"
        click.echo(click.style(f"{problem.severity}: ", fg=colour) + str(problem), err=True)
    if errors:
        click.echo(f"{file}: {len(errors)} error{'s' if len(errors) > 1 else ''}", err=True)
        return 2
    click.echo(f"{file}: fine" + (f" for {job}" if job else ""))
    return 0


def _check(file: str, overrides: tuple[str, ...], job: str | None) -> list[Problem]:
    from tenyson.config.checks.passthrough import engine_args_problems
    from tenyson.config.experiment.names import is_experiment
    from tenyson.config.load import check_document
    from tenyson.config.paths import relative_to_file
    from tenyson.config.reading import read_document
    from tenyson.errors import ConfigError

    try:
        document = read_document(file)
        if is_experiment(document):
            return _check_experiment(file, overrides, job)
        document.data = relative_to_file(document.data, file)
        loaded = check_document(document, overrides)
    except ConfigError as error:
        return error.problems
    if job:
        return _check_plugins(loaded, document) + _check_job(loaded, job, document)
    return _check_plugins(loaded, document) + engine_args_problems(loaded, document)


def _check_experiment(file: str, overrides: tuple[str, ...], job: str | None) -> list[Problem]:
    """As `tenyson run FILE` does before it starts anything, and the arguments for TRL and PEFT of each step."""
    from tenyson.cli.pipelines.request import Request, make_plan
    from tenyson.config.checks.passthrough import passthrough_problems
    from tenyson.config.load import parse_config
    from tenyson.pipeline.graph.define import define, make_job
    from tenyson.pipeline.graph.definition import check_order
    from tenyson.plugins.job_kinds import job_kind

    if job is not None:
        raise click.UsageError(f"{file} is an experiment with jobs of its own: leave out --job")
    plan, tasks, _ = make_plan(Request(file=file, overrides=overrides))
    definitions = define(plan.steps, lambda step: make_job(step, tasks[step.label]))
    check_order(definitions)
    found = []
    for step in plan.steps:
        for one in passthrough_problems(parse_config(step.config), job_kind(step.job)):
            found.append(dataclasses.replace(one, file=f"{file}, step {step.label}"))
    return list(dict.fromkeys(found))


def _check_plugins(loaded: Config, document: Document) -> list[Problem]:
    from tenyson.plugins.manager import PluginManager
    from tenyson.plugins.settings import arguments_problems, check_settings, settings_problems
    from tenyson.tasks.load import load_task_class

    found = check_settings(loaded, PluginManager(), document)
    if loaded.task.module:
        task = load_task_class(loaded.task.module)
        path = ("task", "args")
        if task.settings is not None:
            found += settings_problems(task.settings, loaded.task.args, path, document, for_job=True)
        else:
            owner = f"the task {task.__name__}"
            found += arguments_problems(task, loaded.task.args, path, owner, document)
    return found


def _check_job(loaded: Config, job: str, document: Document) -> list[Problem]:
    from tenyson.config.checks.passthrough import passthrough_problems
    from tenyson.config.checks.relevance import irrelevant_keys
    from tenyson.jobs.runtime.quiet import quiet_bitsandbytes
    from tenyson.plugins.job_kinds import JOB_KINDS, job_kind

    quiet_bitsandbytes()

    kind, kinds = job_kind(job), JOB_KINDS.values()
    return irrelevant_keys(loaded, kind, kinds, document) + passthrough_problems(loaded, kind, document)
