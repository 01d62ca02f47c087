"""What `tenyson run` was asked for, and the plan that this comes to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from tenyson.core.database_url import DB_URL_VARIABLE, default_db_url
from tenyson.errors import ConfigError, TaskError

if TYPE_CHECKING:
    from tenyson.config.document import Document
    from tenyson.pipeline.graph.plan import Plan
    from tenyson.tasks.plugin import TaskPlugin
    from tenyson.tasks.preset import Preset

Tasks = Mapping[str, "TaskPlugin"]
"""Each step's task, by label: there for its class; each step has its own arguments."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    file: str | None = None
    task: str | None = None
    preset: str | None = None
    job: str | None = None
    config: str | None = None
    overrides: tuple[str, ...] = ()
    run_id: str | None = None
    resume: str | None = None
    output_dir: str | None = None
    max_parallel: int | None = None

    @property
    def whole(self) -> bool:
        """Whether a pipeline is asked for, not a single job."""
        return self.job is None


def make_plan(request: Request) -> tuple[Plan, Tasks, str]:
    """Resolve everything, starting nothing. Returns the plan, its tasks, and the next preset's command, "" without one.

    Raises:
        click.UsageError: the options do not fit together.
        TenysonError: configuration, preset, experiment file or task cannot be used.
    """
    from tenyson.cli.pipelines.wrong_file import check_run_id

    request = _expanded(request)
    check_run_id(request.run_id)
    if request.job is None:
        plan, tasks, following = _plan_pipeline(request)
    else:
        if request.preset is not None or request.file is not None:
            raise click.UsageError(
                "--preset and a FILE are whole pipelines, --job is a single one: give one of them"
            )
        if request.config is None:
            raise click.UsageError("--job needs --config FILE")
        (plan, tasks), following = _plan_job(request), ""
    return (
        (replace(plan, max_parallel=request.max_parallel) if request.max_parallel else plan),
        tasks,
        following,
    )


def _expanded(request: Request) -> Request:
    """The request with `~` and variables of the environment filled in: no shell does it in `--config=~/sft.yaml`."""
    from tenyson.config.paths import expand

    names = ("file", "config", "task", "output_dir", "resume")
    filled: dict[str, Any] = {}
    try:
        for name in names:
            path = getattr(request, name)
            filled[name] = path if path is None else expand(str(path))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return replace(request, **filled)


def _plan_pipeline(request: Request) -> tuple[Plan, Tasks, str]:
    from tenyson.pipeline.graph.plan import new_pipeline_id, plan_preset
    from tenyson.plugins.job_kinds import JOB_KINDS

    if request.config is not None:
        *others, last = JOB_KINDS
        names = f"{', '.join(others)} or {last}"
        raise click.UsageError(f"--config FILE is the configuration of one job: say which with --job {names}")
    if request.task is None and request.file is None:
        raise click.UsageError(
            "give an experiment FILE, --task NAME (tenyson presets lists what there is), or --job with --config"
        )
    if request.file is not None and request.preset is not None:
        raise click.UsageError("a FILE is a pipeline of its own: --preset is for --task without one")
    if request.resume not in (None, "latest"):
        raise click.UsageError(
            "a pipeline resumes with --resume-from-checkpoint latest; single checkpoints need --job"
        )
    if request.resume and request.run_id is None:
        raise click.UsageError("--resume-from-checkpoint latest needs the --run-id that the pipeline had")
    following = ""
    if request.file is not None:
        from tenyson.cli.pipelines.wrong_file import check_experiment_file
        from tenyson.tasks.preset import Preset

        check_experiment_file(request.file)
        preset = Preset.from_file(request.file)
        title, source = preset.name, str(request.file)
    else:
        assert request.task is not None
        task = _task(request.task, {})
        preset = _choose_preset(task, request)
        title, source = f"{task.name or type(task).__name__} {preset.name}", f"preset {preset.name}"
        following = _next_preset(request, task, preset)
    plan = plan_preset(
        preset,
        _task_section(request.task) if request.task else {},
        pipeline_id=request.run_id or new_pipeline_id(title, request.output_dir or "./outputs"),
        title=title,
        output_dir=Path(request.output_dir) if request.output_dir else None,
        overrides=request.overrides,
        defaults={"telemetry": _telemetry_defaults()},
        source=source,
    )
    return plan, {step.label: _task_of(step.label, step.config) for step in plan.steps}, following


def _plan_job(request: Request) -> tuple[Plan, Tasks]:
    from tenyson.cli.pipelines.wrong_file import check_job_file
    from tenyson.config.load import check_document
    from tenyson.config.paths import relative_to_file
    from tenyson.config.reading import read_document
    from tenyson.config.unset import without_unset
    from tenyson.jobs.job import new_run_id
    from tenyson.pipeline.graph.plan import Plan, PlannedStep
    from tenyson.plugins.job_kinds import job_kind
    from tenyson.plugins.settings import PluginChecks

    assert request.config is not None
    document = read_document(request.config)
    check_job_file(document)
    document.data = _recorded(without_unset(relative_to_file(document.data, request.config)))
    loaded = check_document(document, request.overrides)
    if problems := PluginChecks().problems(loaded, str(request.job), document):
        raise ConfigError(problems)
    spec = request.task or loaded.task.name or loaded.task.module
    if spec is None:
        raise click.UsageError(f"which task? Give --task NAME, or task.name in {request.config}")
    if request.resume is not None and not job_kind(str(request.job)).trains:
        raise click.UsageError(f"{request.job} has no checkpoints: --resume-from-checkpoint is for trainings")
    task = _task_of_job(spec, loaded.task.args, document)
    output_dir = request.output_dir or loaded.run.output_dir
    run_id = (
        request.run_id
        or loaded.run.id
        or new_run_id(str(request.job), task.name or type(task).__name__, output_dir)
    )
    resume = request.resume or loaded.training.resume_from_checkpoint
    parsed = loaded.model_copy(
        update={
            "run": loaded.run.model_copy(update={"id": run_id, "output_dir": output_dir}),
            "task": loaded.task.model_copy(update={"name": None, "module": None, **_task_section(spec)}),
            "training": loaded.training.model_copy(update={"resume_from_checkpoint": resume}),
        }
    )
    step = PlannedStep(str(request.job), str(request.job), parsed.model_dump(mode="json"), parsed=parsed)
    title = f"{request.job} {task.name or type(task).__name__}"
    return Plan(run_id, title, step.folder.parent, (step,)), {step.label: task}


def _recorded(data: dict[str, Any]) -> dict[str, Any]:
    """A job's configuration as its file has it, with the command line's database where it names none."""
    telemetry = data.get("telemetry", {})
    return (
        {**data, "telemetry": {**_telemetry_defaults(), **telemetry}}
        if isinstance(telemetry, Mapping)
        else data
    )


def _telemetry_defaults() -> dict[str, Any]:
    """The command line records every run; configurations that name a database of their own keep it.

    Raises:
        ConfigError: the URL in the environment holds a password, which would be written beside the results.
    """
    url = default_db_url()
    if urlsplit(url).password:
        raise ConfigError(
            f"{DB_URL_VARIABLE} holds a password, and configurations are written beside results",
            next_step="Leave it out of the URL, and give it to PostgreSQL by ~/.pgpass or PGPASSWORD.",
        )
    return {"db_url": url}


def _choose_preset(task: TaskPlugin, request: Request) -> Preset:
    from tenyson.config.explain import did_you_mean
    from tenyson.tasks.load import presets_of

    presets = presets_of(task)
    name = task.name or type(task).__name__
    if not presets:
        raise TaskError(f"the task {name} has no presets", next_step="Run one job: --job sft --config FILE.")
    if request.preset is None:
        return next(iter(presets.values()))
    if request.preset not in presets:
        near = did_you_mean(request.preset, presets)
        hint = f"{near[0].upper()}{near[1:]} " if near else ""
        raise TaskError(
            f"the task {name} has no preset {request.preset!r}",
            next_step=f"{hint}Known: {', '.join(presets)}.",
        )
    return presets[request.preset]


def _next_preset(request: Request, task: TaskPlugin, preset: Preset) -> str:
    """What runs the next preset of the task; "" after the last one."""
    from tenyson.tasks.load import presets_of

    names = list(presets_of(task))
    following = names[names.index(preset.name) + 1 :] if preset.name in names else []
    if not following:
        return ""
    return shlex.join(["tenyson", "run", "--task", str(request.task), "--preset", following[0]])


def _task_of(label: str, config: Mapping[str, Any]) -> TaskPlugin:
    spec = config["task"]["name"] or config["task"]["module"]
    if spec is None:
        raise ConfigError(
            f"step {label} has no task",
            next_step="Set task.name or task.module under `shared`, or give --task NAME.",
        )
    return _task(spec, {})


def _task_of_job(spec: str, arguments: Mapping[str, Any], document: Document) -> TaskPlugin:
    """The task with its arguments. Raises: ConfigError: a job needs others, and the document's line of what is wrong."""
    from tenyson.plugins.settings import settings_problems
    from tenyson.tasks.load import build_task, load_task_class

    cls = load_task_class(spec)
    path = ("task", "args")
    if cls.settings is not None and (
        found := settings_problems(cls.settings, arguments, path, document, for_job=True)
    ):
        raise ConfigError(found)
    return build_task(cls, arguments)


def _is_module(spec: str) -> bool:
    return ":" in spec or spec.endswith(".py") or "/" in spec


def _task_section(spec: str) -> dict[str, Any]:
    return {"module": spec} if _is_module(spec) else {"name": spec}


def _task(spec: str, arguments: Mapping[str, Any]) -> TaskPlugin:
    from tenyson.tasks.load import load_task

    return load_task(spec, arguments)
