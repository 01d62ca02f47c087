"""tenyson run: an experiment file, a task's preset pipeline, or one job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from tenyson.cli.names import JobKindName, complete_backend, complete_preset, complete_task
from tenyson.cli.options import grace_option, json_option
from tenyson.cli.pipelines.request import Request, make_plan
from tenyson.errors import ConfigError
from tenyson.pipeline.graph.policy import FailurePolicy, OnFailure

if TYPE_CHECKING:
    from tenyson.cloud.backend import BaseBackend
    from tenyson.pipeline.graph.definition import Definition
    from tenyson.pipeline.graph.plan import Plan
    from tenyson.pipeline.graph.selection import Selection
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord


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
    help="Run STEP and what stands on it; take the rest from earlier pipelines.",
)
@click.option("--only", metavar="STEP", help="Run STEP alone; take what it stands on from earlier pipelines.")
@click.option(
    "--reuse/--no-reuse",
    default=True,
    help="Take steps whose inputs did not change from earlier pipelines (default).",
)
@click.option("--new", is_flag=True, help="Begin a new pipeline even if one of the same steps is unfinished.")
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    help="How many jobs may run at once; as the file says, or 1.",
)
@click.option(
    "--resume-from-checkpoint",
    "resume",
    metavar="DIR|REPO:REVISION|latest",
    help="Go on from a checkpoint; for a pipeline: latest, with the --run-id it had.",
)
@click.option("--output-dir", metavar="DIR", help="Folder that gets one folder for each run (./outputs).")
@click.option(
    "--on-failure",
    type=click.Choice(list(get_args(OnFailure))),
    default="wait",
    show_default=True,
    help="What to do when a step fails; wait asks you, here or by `tenyson decide`.",
)
@click.option(
    "--retries", default=2, show_default=True, help="With --on-failure retry: after failures of a step's own."
)
@click.option(
    "--preemptions",
    default=20,
    show_default=True,
    help="With --on-failure retry: after its machine was taken or lost.",
)
@click.option("--edited-code", type=click.Choice(["use", "stop"]), help="As for `tenyson attach`.")
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
    tenyson run experiment.yaml --dry-run             what a file would do, with the graph drawn
    tenyson run --job sft --config sft.yaml           one job

    Killed or closed, the same command goes on where it was; so does `tenyson attach`.
    """
    from rich.console import Console

    from tenyson.cli.options import database_url
    from tenyson.cli.pipelines.attach import attach_command, drive_recorded
    from tenyson.cli.pipelines.plan_view import plan_data, print_plan
    from tenyson.cli.terminal.format import print_json
    from tenyson.jobs.runtime.writable import check_output_dir
    from tenyson.pipeline.execute import define_plan
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
    definitions = define_plan(plan, tasks)
    for folder in {str(step.folder.parent) for step in plan.steps}:
        check_output_dir(folder)
    specs = {one.label: one.spec for one in definitions}
    if dry_run:
        if as_json:
            print_json(plan_data(selection, made, specs, policy))
        else:
            print_plan(selection, made, specs, policy, Console(highlight=False))
        return 0
    for spec in specs.values():
        made.validate(spec)
    about = {
        "backend": where, "policy": vars(policy), "next": following,
        "anew": selection.anew, "required": selection.required,
    }  # fmt: skip
    with Journal(database_url(None)) as journal:
        record, again = _register(journal, request, selection, definitions, about, made, new=new)
        return drive_recorded(
            journal, record, again=again, on_failure=on_failure, edited_code=edited_code, as_json=as_json,
            attach=attach_command(record.id, None), grace=grace,
        )  # fmt: skip


def _is_known(journal: Journal, selection: Selection, definitions: Sequence[Definition]) -> bool:
    """Whether the steps that nothing comes before have been run already, so that most of the pipeline is taken from then."""
    from tenyson.pipeline.cache.inputs import Reuse

    reuse = Reuse(journal, anew=selection.anew)
    first = [one for one in definitions if not one.needs]
    return all(reuse.find(one.label, reuse.inputs(one.spec)[1]) for one in first)


def _register(
    journal: Journal,
    request: Request,
    selection: Selection,
    definitions: list[Definition],
    about: dict[str, Any],
    backend: BaseBackend,
    *,
    new: bool,
) -> tuple[PipelineRecord, bool]:
    """The pipeline in the journal, and whether steps of it that are over are to be tried again."""
    from tenyson.cli.pipelines.attach import settle_project
    from tenyson.errors import PipelineError
    from tenyson.pipeline.control.preflight import check_ahead
    from tenyson.pipeline.execute import plan_fingerprint, register
    from tenyson.pipeline.reopen import reopen, steps_again
    from tenyson.pipeline.run import is_ours, unfinished

    plan = selection.plan
    asked = [None if selection.anew is None else list(selection.anew), list(selection.required)]

    def is_same(found: PipelineRecord) -> bool:
        return [found.plan.get("anew", []), found.plan.get("required", [])] == asked

    unnamed = request.run_id is None and not new and request.whole
    if unnamed:
        name = unfinished(journal, plan_fingerprint(plan))
        if name is not None and (found := journal.pipeline(name)) is not None:
            if is_same(found):
                return _go_on_with(journal, found), False
            click.echo(
                f"{name} asks for the same steps and is not over (tenyson attach {name} goes on with it); this one runs others "
                "of them again, so it is another",
                err=True,
            )
    before = journal.pipeline(plan.id)
    resumed = request.resume is not None
    over = before is not None and before.status in ("success", "failed")
    if before is not None:
        # A single job that is over leaves nothing at work anywhere: in a copy it is simply run again.
        settle_project(journal, before, here=over and not request.whole, follow=False)
    if over and not resumed and request.whole:
        raise PipelineError(
            f"the pipeline {plan.id} is over",
            next_step="Choose another --run-id; or `--resume-from-checkpoint latest` tries steps that failed again.",
        )
    if over and not request.whole:
        # A single job that is asked for again is run again, as it is asked for now.
        reopen(journal, plan.id, all_steps=True)
    again = over and request.whole
    if before is None and not _is_known(journal, selection, definitions):
        check_ahead(definitions, backend)
    record = register(
        journal,
        plan,
        definitions,
        about,
        change=resumed or not request.whole,
        overridden=[override.split("=")[0].strip() for override in request.overrides],
        again=steps_again(journal, plan.id) if again else (),
        unless=lambda found: unnamed and is_ours(journal, found) and is_same(found),
    )
    return (record, again) if record.id == plan.id else (_go_on_with(journal, record), False)


def _go_on_with(journal: Journal, found: PipelineRecord) -> PipelineRecord:
    from tenyson.cli.pipelines.attach import settle_project

    click.echo(
        f"{found.id} asks for the same and is not over: going on with it (--new begins another)", err=True
    )
    return settle_project(journal, found, follow=False)


def _backend(plan: Plan) -> tuple[BaseBackend, dict[str, Any]]:
    """The backend of the first step; one pipeline runs in one place. And how to make it again."""
    from tenyson.cloud.adapted import adapted, is_rented
    from tenyson.config.project import backend_settings
    from tenyson.plugins.manager import PluginManager

    asked = plan.steps[0].config["backend"]
    for step in plan.steps:
        if step.config["backend"] != asked:
            raise ConfigError(
                f"the steps {plan.steps[0].label} and {step.label} differ in `backend`: one pipeline runs in one place",
                next_step="Set it under `shared`, or by --backend.",
            )
    name = str(asked["name"])
    settings = backend_settings(name) | dict(asked["settings"])
    manager = PluginManager()
    cls = manager.load(manager.find("backend", name))
    if name == "local" or is_rented(cls):
        settings.setdefault("output_dir", str(plan.output_dir))
    return adapted(cls(**settings)), {"name": name, "settings": settings}
