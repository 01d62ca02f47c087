"""tenyson run: an experiment file, a task's preset pipeline, or one job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from tenyson.cli.options import grace_option, json_option
from tenyson.cli.pipelines.request import Request, make_plan
from tenyson.cli.terminal.names import JobKindName, complete_backend, complete_preset, complete_task
from tenyson.errors import ConfigError, PipelineError
from tenyson.pipeline.graph.policy import FailurePolicy, OnFailure
from tenyson.pipeline.request import BackendRequest, PipelineRequest

if TYPE_CHECKING:
    from tenyson.cloud.backend import BaseBackend
    from tenyson.pipeline.control.registration import Submission
    from tenyson.pipeline.graph.plan import Plan
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.pipeline import Pipeline


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--task", help="Task: an installed one, a Python file, or module:Class.", shell_complete=complete_task
)
@click.option(
    "--preset",
    help="Preset pipeline of the task; the first one if not given.",
    shell_complete=complete_preset,
)
@click.option("--job", type=JobKindName(), help="Run one job instead of a pipeline.")
@click.option("--config", metavar="FILE", help="Configuration of that job, YAML or JSON.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value, such as training.max_steps=20 (of every step). Repeatable.",
)
@click.option("--backend", help="Where to run; local if not given.", shell_complete=complete_backend)
@click.option("--run-id", help="Name of the run, or of the pipeline.")
@click.option(
    "--from",
    "start",
    metavar="STEP",
    help="Run STEP and everything downstream; reuse earlier results for the rest.",
)
@click.option("--only", metavar="STEP", help="Run STEP alone; reuse earlier results for its upstream steps.")
@click.option(
    "--reuse/--no-reuse",
    default=True,
    help="Take steps whose inputs did not change from earlier pipelines (default).",
)
@click.option("--new", is_flag=True, help="Begin a new pipeline even if one of the same steps is unfinished.")
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    help="How many jobs may run at once  [default: as in the file, or 1]",
)
@click.option(
    "--resume-from-checkpoint",
    "resume",
    metavar="DIR|REPO:REVISION|latest",
    help="Resume from a checkpoint; for a pipeline: latest, with the --run-id it had.",
)
@click.option("--output-dir", metavar="DIR", help="Folder for the run folders  [default: ./outputs]")
@click.option(
    "--on-failure",
    type=click.Choice(list(get_args(OnFailure))),
    default="wait",
    show_default=True,
    help="What to do when a step fails; with wait you decide, here or with `tenyson decide`.",
)
@click.option(
    "--retries",
    default=2,
    show_default=True,
    help="With --on-failure retry: how often to retry after a failure of the job.",
)
@click.option(
    "--preemptions",
    default=20,
    show_default=True,
    help="How often to replace a preempted or lost machine; with --on-failure retry, or wait on rented machines.",
)
@click.option(
    "--edited-code",
    type=click.Choice(["use", "stop"]),
    help="What to do if the task's code changed since the pipeline was begun.",
)
@grace_option
@click.option("--dry-run", is_flag=True, help="Print what would run and what it would cost; start nothing.")
@json_option("Print the outcome as JSON on stdout, and nothing else there.")
def run(
    dry_run: bool,
    as_json: bool,
    backend: str | None,
    start: str | None,
    only: str | None,
    reuse: bool,
    new: bool,
    on_failure: OnFailure,
    retries: int,
    preemptions: int,
    edited_code: str | None,
    grace: float | None,
    **options: Any,
) -> int:
    """Run an experiment FILE, a task's preset pipeline, or one job of your own.

    \b
    tenyson run --task wordle                         the first preset, on this machine
    tenyson run experiment.yaml --dry-run             show what a file would run, with its graph
    tenyson run --job sft --config sft.yaml           one job

    After a kill or a closed terminal, the same command continues; so does `tenyson attach`.
    """
    from rich.console import Console

    from tenyson.cli.options import database_url
    from tenyson.cli.pipelines.attach import attach_command, drive_to_the_end
    from tenyson.cli.pipelines.plan_view import plan_data, print_plan
    from tenyson.cli.terminal.format import print_json
    from tenyson.jobs.runtime.writable import check_output_dir
    from tenyson.pipeline.control.registration import Submission
    from tenyson.pipeline.graph.define import define, make_job
    from tenyson.pipeline.graph.selection import select
    from tenyson.pipeline.journal.journal import Journal

    if start and only:
        raise click.UsageError("--from and --only: give one of them")
    policy = FailurePolicy(on_failure, retries, preemptions)
    if backend is not None:
        options["overrides"] = (*options["overrides"], f"backend.name={backend}")
    request = Request(**options)
    plan, tasks, following = make_plan(request)
    selection = select(plan, start=start, only=only, reuse=reuse and request.whole)
    plan = selection.plan
    made, where = _backend(plan)
    definitions = define(plan.steps, lambda step: make_job(step, tasks[step.label]))
    asked = Submission(
        plan.id,
        plan.title,
        definitions,
        PipelineRequest(
            policy,
            plan.max_parallel,
            plan.output_dir,
            where,
            selection.anew,
            selection.required,
            next_command=following,
        ),
    )
    for folder in {str(step.folder.parent) for step in plan.steps}:
        check_output_dir(folder)
    specs = {one.label: one.spec for one in definitions}
    if dry_run:
        if as_json:
            print_json(plan_data(selection, made, specs, tasks, policy))
        else:
            print_plan(selection, made, specs, tasks, policy, Console(highlight=False))
        return 0
    for spec in specs.values():
        made.validate(spec)
    with Journal(database_url(None)) as journal:
        pipeline, again = _registered(journal, request, asked, made, new=new)
        return drive_to_the_end(
            pipeline, again=again, on_failure=on_failure, edited_code=edited_code, as_json=as_json,
            attach=attach_command(pipeline.id, None), grace=grace,
        )  # fmt: skip


def _registered(
    journal: Journal, request: Request, asked: Submission, backend: BaseBackend, *, new: bool
) -> tuple[Pipeline, bool]:
    """The pipeline in the journal, and whether steps of it that are over are to be tried again."""
    from tenyson.cli.pipelines.attach import open_pipeline
    from tenyson.pipeline.control.preflight import check_ahead
    from tenyson.pipeline.pipeline import Pipeline

    unnamed = request.run_id is None and not new and request.whole
    if unnamed and (name := Pipeline.name_of_unfinished(journal, asked)) is not None:
        found = journal.pipeline(name)
        if found is not None and found.request.selection == asked.request.selection:
            return _continued(journal, name), False
        click.echo(
            f"{name} has the same steps and is not over (tenyson attach {name} continues it); this one runs others "
            "of them again, so it is another",
            err=True,
        )
    before = journal.pipeline(asked.id)
    resumed, again = request.resume is not None, False
    to_repeat: Sequence[str] = ()
    if before is not None:
        over = before.status in ("success", "failed")
        # A single job that is over leaves nothing at work anywhere: in a copy it is simply run again.
        opened = open_pipeline(journal, asked.id, here=over and not request.whole, follow=False)
        if over and request.whole and not resumed:
            raise PipelineError(
                f"the pipeline {asked.id} is over",
                next_step="Choose another --run-id; or `--resume-from-checkpoint latest` tries steps that failed again.",
            )
        if over and not request.whole:
            # A single job that is asked for again is run again, as it is asked for now.
            opened.reopen(all_steps=True)
        again = over and request.whole
        to_repeat = opened.steps_again() if again else ()

    def check() -> None:
        if not _is_known(journal, asked):
            check_ahead(asked.definitions, backend)

    pipeline = Pipeline.register(
        journal,
        asked,
        share=unnamed,
        change=resumed or not request.whole,
        overridden=[override.split("=")[0].strip() for override in request.overrides],
        again=to_repeat,
        before_new=check,
    )
    return (pipeline, again) if pipeline.id == asked.id else (_continued(journal, pipeline.id), False)


def _continued(journal: Journal, pipeline_id: str) -> Pipeline:
    from tenyson.cli.pipelines.attach import open_pipeline

    click.echo(
        f"{pipeline_id} asks for the same and is not over: continuing it (--new begins another)", err=True
    )
    return open_pipeline(journal, pipeline_id, follow=False)


def _is_known(journal: Journal, asked: Submission) -> bool:
    """Whether the steps that nothing comes before have been run already, so that most of the pipeline is taken from then."""
    from tenyson.pipeline.cache.inputs import Reuse

    reuse = Reuse(journal, anew=asked.request.rerun)
    first = [one for one in asked.definitions if not one.needs]
    return all(reuse.find(one.label, reuse.inputs(one.spec)[1]) for one in first)


def _backend(plan: Plan) -> tuple[BaseBackend, BackendRequest]:
    """The backend of the first step; one pipeline runs in one place. And how to build it again."""
    from tenyson.cloud.adapted import is_rented
    from tenyson.cloud.build import backend_class
    from tenyson.config.project import backend_settings

    asked = plan.steps[0].config["backend"]
    for step in plan.steps:
        if step.config["backend"] != asked:
            raise ConfigError(
                f"the steps {plan.steps[0].label} and {step.label} differ in `backend`: one pipeline runs in one place",
                next_step="Set it under `shared`, or by --backend.",
            )
    name = str(asked["name"])
    settings = backend_settings(name) | dict(asked["settings"])
    if name == "local" or is_rented(backend_class(name)):
        settings.setdefault("output_dir", str(plan.output_dir))
    where = BackendRequest(name, settings)
    return where.build(), where
