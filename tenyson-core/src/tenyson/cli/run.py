"""tenyson run: a task's preset pipeline, or one job."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.names import complete_backend, complete_preset, complete_task
from tenyson.cli.request import Request, make_plan

if TYPE_CHECKING:
    from tenyson.cloud.backend import Backend
    from tenyson.jobs.spec import JobSpec
    from tenyson.pipeline.plan import Plan
    from tenyson.tasks.plugin import TaskPlugin


@click.command()
@click.option(
    "--task", help="Task: an installed one, a Python file, or module:Class.", shell_complete=complete_task
)
@click.option(
    "--preset",
    help="Preset pipeline of the task; the first one if not given.",
    shell_complete=complete_preset,
)
@click.option("--job", type=click.Choice(["sft", "rl", "eval"]), help="Run one job instead of a pipeline.")
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
    "--resume-from-checkpoint",
    "resume",
    metavar="DIR|REPO:REVISION|latest",
    help="Go on from a checkpoint; for a pipeline: latest, with the --run-id it had.",
)
@click.option("--output-dir", metavar="DIR", help="Folder that gets one folder for each run (./outputs).")
@click.option(
    "--on-failure",
    type=click.Choice(["wait", "abort", "continue"]),
    default="wait",
    show_default=True,
    help="What to do when a step fails; wait asks you.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run and what it would cost; start nothing.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout, and nothing else there."
)
def run(dry_run: bool, as_json: bool, **options: Any) -> int:
    """Run a task's preset pipeline, or one job of your own.

    \b
    tenyson run --task wordle                         the first preset, on this machine
    tenyson run --task wordle --preset tiny --dry-run what it would do
    tenyson run --job sft --config sft.yaml           one job
    """
    from rich.console import Console

    from tenyson.cli.planview import plan_data, print_plan

    request = Request(**options)
    plan, task = make_plan(request)
    backend = _backend(request, plan)
    specs = _specs(plan, task)
    out = Console(highlight=False)
    if dry_run:
        if as_json:
            _print_json(plan_data(plan, backend, specs))
        else:
            print_plan(plan, backend, specs, out)
        return 0
    for spec in specs.values():
        backend.validate(spec)
    return _run(request, plan, task, backend, as_json=as_json)


def _run(request: Request, plan: Plan, task: TaskPlugin, backend: Backend, *, as_json: bool) -> int:
    from rich.console import Console

    from tenyson.cli.outcome import outcome_data, print_outcome
    from tenyson.cli.progress import choose_follower
    from tenyson.cloud.manager import CloudManager
    from tenyson.pipeline.execute import execute

    cloud = CloudManager(backend, follower=choose_follower())
    whole = request.job is None
    execution = execute(plan, task, cloud, request.on_failure, resume=whole and request.resume is not None)  # type: ignore[arg-type]
    resume = request.command(plan.id)
    status = execution.result.status
    if as_json:
        _print_json(outcome_data(plan, execution, resume))
    else:
        following = _next_command(request, plan, task) if status == "success" else resume
        print_outcome(plan, execution, task, following, Console(highlight=False))
    if cloud.interrupted:
        told = f"interrupted; to go on: {resume}"
        Console(stderr=True, highlight=False).print(told, style="yellow", markup=False, soft_wrap=True)
        return 130
    return 0 if status == "success" else 1


def _backend(request: Request, plan: Plan) -> Backend:
    """The backend of --backend, else of the first step; one pipeline runs in one place."""
    from tenyson.plugins.manager import PluginManager

    asked = plan.steps[0].config["backend"]
    name = request.backend or asked["name"]
    settings = dict(asked["settings"]) if name == asked["name"] else {}
    if name == "local":
        settings.setdefault("output_dir", str(plan.output_dir))
    manager = PluginManager()
    made: Backend = manager.load(manager.find("backend", name))(**settings)
    return made


def _specs(plan: Plan, task: TaskPlugin) -> dict[str, JobSpec]:
    """What each step would ship; making the jobs checks configurations and the task's arguments."""
    from tenyson.pipeline.execute import make_job

    return {step.label: make_job(step, task).spec() for step in plan.steps}


def _next_command(request: Request, plan: Plan, task: TaskPlugin) -> str:
    """The next preset of the task, where there is one; else a closer look at the last run."""
    names = list(task.presets())
    if request.job is None and request.task:
        current = names.index(request.preset) if request.preset else 0
        if current + 1 < len(names):
            return shlex.join(["tenyson", "run", "--task", request.task, "--preset", names[current + 1]])
    return shlex.join(["tenyson", "show", plan.steps[-1].run_id])


def _print_json(data: Mapping[str, Any]) -> None:
    from tenyson.telemetry.jsontext import dumps

    sys.stdout.write(json.dumps(json.loads(dumps(data)), indent=2) + "\n")
