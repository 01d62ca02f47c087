"""tenyson attach: a new controller for a pipeline whose controller is gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from tenyson.cli.options import database_url, db_url, grace_option, json_option
from tenyson.core.stdio import is_terminal
from tenyson.errors import BackendError, PipelineError
from tenyson.pipeline.graph.policy import OnFailure

if TYPE_CHECKING:
    from tenyson.cloud.remote.rented import Rented
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.project import Place
    from tenyson.pipeline.pipeline import Pipeline


@click.command()
@click.argument("pipeline", default="latest")
@click.option("--again", is_flag=True, help="Retry the steps that failed, from their latest checkpoints.")
@click.option(
    "--on-failure",
    type=click.Choice(list(get_args(OnFailure))),
    help="What to do when a step fails; as before if not given.",
)
@click.option(
    "--edited-code",
    type=click.Choice(["use", "stop"]),
    help="What to do if the task's code is not what it was when the pipeline was begun; asked at the terminal if not given.",
)
@click.option(
    "--here",
    is_flag=True,
    help="The project is a copy: continue in the copy, and do not touch the original.",
)
@click.option(
    "--gone",
    is_flag=True,
    help="The machine that ran the jobs is gone for good: count them as lost, and continue here.",
)
@grace_option
@json_option("Print the outcome as JSON on stdout, and nothing else there.")
@db_url
def attach(
    pipeline: str,
    again: bool,
    on_failure: OnFailure | None,
    edited_code: str | None,
    here: bool,
    gone: bool,
    grace: float | None,
    as_json: bool,
    db_url: str | None,
) -> int:
    """Continue PIPELINE (default: the latest): find its jobs, collect finished results, start the next steps.

    Use it after a crash, a reboot or a closed laptop: jobs keep running without their controller.
    To attach to a single run on a rented machine, give its id or its folder.
    """
    from tenyson.cli.pipelines.pipelines import find_pipeline
    from tenyson.cloud.remote.rented import find_rented
    from tenyson.pipeline.journal.journal import Journal

    url = database_url(db_url)
    rented = find_rented(pipeline)
    with Journal(url, create=rented is not None) as journal:
        if rented is not None and journal.pipeline(pipeline) is None:
            return _watch_run(rented, grace)
        begun = find_pipeline(journal, pipeline)
        opened = open_pipeline(journal, begun.id, here=here)
        if here and opened.record.origin.folder == begun.origin.folder:
            click.echo(f"--here: the project in {begun.origin.folder} is no copy", err=True)
        return drive_to_the_end(
            opened, again=again, on_failure=on_failure, edited_code=edited_code, as_json=as_json,
            attach=attach_command(opened.id, db_url), gone=gone, grace=grace,
        )  # fmt: skip


def drive_to_the_end(
    pipeline: Pipeline,
    *,
    attach: str,
    again: bool = False,
    on_failure: OnFailure | None = None,
    edited_code: str | None = None,
    as_json: bool = False,
    gone: bool = False,
    grace: float | None = None,
) -> int:
    """Drive a pipeline of the journal to its end and show what came of it; returns the exit status."""
    from rich.console import Console

    from tenyson.cli.pipelines.outcome import outcome_data, print_outcome
    from tenyson.cli.terminal.format import print_json
    from tenyson.cli.terminal.progress import choose_follower
    from tenyson.pipeline.control.launcher import BackendLauncher

    over = pipeline.is_over and not again
    edited = [] if over else pipeline.edited_tasks()
    lost = _lost_elsewhere(pipeline, gone)
    if again:
        pipeline.reopen()
    if not over and not _may_use_code(pipeline.id, edited, edited_code):
        return 2
    request = pipeline.request
    if on_failure is not None:
        request = replace(request, policy=replace(request.policy, on_failure=on_failure))
    backend = request.build_backend(pipeline.id)
    if backend is None:
        raise PipelineError(
            f"{pipeline.id} was begun by a script whose cloud cannot be made again from here",
            next_step="Run the same script again: it continues this pipeline.",
        )
    launcher = BackendLauncher(backend, choose_follower(), request.policy)
    result = pipeline.drive_with_report(launcher, request=request, grace_seconds=grace, gone=lost)
    if as_json:
        print_json(outcome_data(pipeline.journal, result, attach))
    else:
        print_outcome(pipeline.journal, result, attach, Console(highlight=False))
    if result.status == "stopped":
        told = f"interrupted; to continue: {attach}"
        Console(stderr=True, highlight=False).print(told, style="yellow", markup=False, soft_wrap=True)
        return 130
    return 0 if result.status == "success" else 1


def _watch_run(rented: Rented, grace: float | None) -> int:
    """Watch one run to its end."""
    from tenyson.cli.terminal.progress import choose_follower
    from tenyson.cloud.manager import CloudManager

    if rented.cwd != Path.cwd() and rented.cwd.is_dir():
        click.echo(f"working in {rented.cwd}", err=True)
        os.chdir(rented.cwd)
    backend = rented.backend()
    handle = backend.reattach(rented.spec.run_id)
    if handle is None:
        raise BackendError(f"{rented.spec.run_id} has no machine any more", place=str(rented.folder))
    manager = CloudManager(backend, follower=choose_follower(), grace_seconds=grace)
    result = manager.attach(rented.spec, handle)
    click.echo(f"{result.run_id}: {result.status}")
    return {"success": 0, "stopped": 130}.get(result.status, 1)


def _lost_elsewhere(pipeline: Pipeline, gone: bool) -> list[str]:
    """Steps whose machine is gone, as `--gone` says. Raises: PipelineError: jobs run elsewhere, and nobody said so."""
    if not gone:
        pipeline.require_here()
        return []
    found = pipeline.jobs_elsewhere()
    for one in found:
        click.echo(f"{one.attempt.run_id} is counted as lost with {one.host}", err=True)
    if not found:
        click.echo("--gone: no job of this pipeline runs on another machine", err=True)
    return [one.attempt.label for one in found]


def open_pipeline(journal: Journal, pipeline_id: str, *, here: bool = False, follow: bool = True) -> Pipeline:
    """Open a pipeline and work in its project, which may have been moved or copied: its paths are relative to it.

    Args:
        here: whether a copy continues; asked at the terminal if not.
        follow: whether to go to a project in another folder.

    Raises: PipelineError: this is a copy, and is not to continue; or the project is in another folder, or not found.
    """
    from tenyson.pipeline.pipeline import Pipeline

    def stay(place: Place) -> bool:
        if here or not sys.stdin.isatty():
            return here
        told = f"{pipeline_id} was begun in {place.begun}, of which {place.root} is a copy. Continue in the copy, independently of the original?"
        return click.confirm(told, default=False, err=True)

    pipeline = Pipeline.open(
        journal, pipeline_id, say=lambda text: click.echo(text, err=True), stay_with_copy=stay
    )
    if pipeline.root.resolve() != Path.cwd().resolve():
        if not follow:
            raise PipelineError(
                f"{pipeline_id} was begun in {pipeline.root}, and its paths are relative to that",
                next_step=f"Give the command there, or another --run-id; `tenyson attach {pipeline_id}` continues it.",
            )
        click.echo(f"working in {pipeline.root}", err=True)
        os.chdir(pipeline.root)
    return pipeline


def attach_command(pipeline: str, db_url: str | None) -> str:
    """The command that continues a pipeline."""
    import shlex

    return shlex.join(["tenyson", "attach", pipeline, *(["--db-url", db_url] if db_url else [])])


def _may_use_code(pipeline_id: str, edited: Sequence[str], choice: str | None) -> bool:
    """Ask whether edited code may be used for what is still to run; what runs already keeps the code it has."""
    if not edited:
        return True
    names = ", ".join(edited)
    click.echo(
        click.style("warning: ", fg="yellow")
        + f"the code of {names} was edited since {pipeline_id} was begun: steps still to run would mix two versions",
        err=True,
    )
    if choice is None and is_terminal(sys.stdin):
        use = click.confirm("Continue with the current code?", default=False, err=True)
        choice = "use" if use else "stop"
    if choice == "use":
        click.echo("continuing with the current code", err=True)
        return True
    click.echo(
        "nothing was started; running jobs keep running. Restore the code and attach again, or use the current code:\n"
        f"  tenyson attach {pipeline_id} --edited-code use",
        err=True,
    )
    return False
