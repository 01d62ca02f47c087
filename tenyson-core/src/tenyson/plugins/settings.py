"""Settings of an entry: `backend.settings`, `telemetry.settings.SINK` and `task.args`, checked by the plugin's own model."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from tenyson.config.document import Document
from tenyson.config.explain import nearest, problems
from tenyson.errors import ConfigError, PluginError, Problem, UnknownPluginError
from tenyson.plugins import discovery
from tenyson.plugins.entries import Entry
from tenyson.plugins.job_kinds import job_kind
from tenyson.plugins.manager import PluginManager

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tenyson.config.document import KeyPath
    from tenyson.config.schema import Config
    from tenyson.plugins.registration import Kind


Model = TypeVar("Model", bound="BaseModel")


def settings_problems(
    model: Any,
    values: Mapping[str, Any],
    path: KeyPath,
    document: Document | None = None,
    *,
    for_job: bool = False,
) -> list[Problem]:
    """What a settings model refuses; `path` is where the values lie in the configuration.

    Args:
        for_job: a job is to run with the values. Validators see it as `info.context["for_job"]`: a task that is only asked for
            its presets may do without what a job needs.
    """
    from pydantic import ValidationError

    document = document or Document("", {})
    has = f"it has {', '.join(model.model_fields) or 'none'}"
    found = []
    if model.model_config.get("extra", "ignore") == "ignore":
        # Such a model drops what it does not know, and an option without effect is none.
        names = {*model.model_fields, *(info.alias for info in model.model_fields.values() if info.alias)}
        found = [
            document.problem((*path, name), "unknown key", _near(path, name, names) or has)
            for name in values
            if name not in names
        ]
    try:
        model.model_validate(dict(values), context={"for_job": for_job})
    except ValidationError as error:
        for one in problems(error, document, model, path):
            unexplained = one.cause == "unknown key" and not one.suggestion
            found.append(replace(one, suggestion=has) if unexplained else one)
    except Exception as error:
        # Validators are the plugin's own code.
        cause = f"{model.__name__} cannot check these settings: {type(error).__name__}: {error}"
        found.append(document.problem(path, cause))
    return found


def build_settings(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Build the settings of a backend from `values`.

    Raises:
        ConfigError: a key is unknown or a value is wrong: all problems at once, as backend.settings.KEY, with the nearest valid name.
    """
    problems = settings_problems(model, values, ("backend", "settings"))
    if problems:
        raise ConfigError(problems)
    return model(**values)


def check_settings(config: Config, plugins: PluginManager, document: Document | None = None) -> list[Problem]:
    """Problems of a configuration with the plugins it names: unknown names, and settings that they refuse.

    Raises:
        BrokenPluginError, DuplicatePluginError.
        ConfigError: the project file cannot be read.
    """
    document = document or Document("", {})
    return [
        *_backend_problems(config, plugins, document),
        *_sink_problems(config, plugins, document),
        *_engine_problems(config, plugins, document),
        *_task_problems(config, plugins, document),
    ]


class PluginChecks:
    """Checks the steps of one plan: they mostly name the same plugins with the same settings, so once will do."""

    def __init__(self) -> None:
        self._plugins = PluginManager()
        self._fine: set[str] = set()

    def problems(self, config: Config, job_type: str, document: Document) -> list[Problem]:
        """As `check_settings`, and wrong names under `engine_args` where the job generates text."""
        from tenyson.config.checks.passthrough import engine_args_problems

        generates = job_kind(job_type).generates
        named = {"backend", "telemetry", "engine_args", "task"}
        key = config.model_dump_json(include=named) + config.generation.engine + str(generates)
        if key in self._fine:
            return []
        found = check_settings(config, self._plugins, document)
        if generates:
            found += [one for one in engine_args_problems(config, document) if one.severity == "error"]
        if not found:
            self._fine.add(key)
        return found


def _backend_problems(config: Config, plugins: PluginManager, document: Document) -> list[Problem]:
    from tenyson.config.project import settings_document

    name, path = config.backend.name, ("backend", "settings")
    entry = _find("backend", name, ("backend", "name"), plugins, document)
    if isinstance(entry, Problem):
        return [entry]
    project = settings_document(name)
    own = config.backend.settings
    model = plugins.settings(entry)
    if model is None:
        found = arguments_problems(
            plugins.load(entry), project.data | own, path, f"the backend {name}", document
        )
    else:
        found = settings_problems(model, project.data | own, path, document)
    return [_placed(one, name, own, project) for one in found] + _section_problems(plugins, leaving_out=name)


def _section_problems(plugins: PluginManager, *, leaving_out: str) -> list[Problem]:
    """Sections of the project file for backends that do not exist: a misspelt one would have no effect."""
    from tenyson.config.project import backend_sections

    found = []
    for name, problem in backend_sections().items():
        if name == leaving_out or name in discovery.FIRST_PARTY:
            continue
        try:
            plugins.find("backend", name)
        except UnknownPluginError as error:
            found.append(replace(problem, suggestion=(error.next_step or "").splitlines()[0]))
        except PluginError:
            continue  # told once that backend is used
    return found


def _placed(problem: Problem, backend: str, own: Mapping[str, Any], project: Document) -> Problem:
    """A problem with a setting that only the project file has, placed there."""
    name = problem.key.split(".")[2] if problem.key.count(".") > 1 else ""
    if name in own or name not in project.data:
        return problem
    inside = problem.key.removeprefix("backend.settings.").split(".")
    placed = project.problem(tuple(inside), problem.cause, problem.suggestion)
    return replace(placed, key=".".join(("backend", backend, *inside)))


def _sink_problems(config: Config, plugins: PluginManager, document: Document) -> list[Problem]:
    from tenyson.config.checks.sinks import sink_names

    found = []
    opened = sink_names(config)
    for name in sorted({*opened, *config.telemetry.settings}):
        path: KeyPath = ("telemetry", "settings", name)
        entry = _find(
            "sink",
            name,
            path if name in config.telemetry.settings else ("telemetry", "sinks"),
            plugins,
            document,
        )
        if isinstance(entry, Problem):
            found.append(entry)
            continue
        values, model = config.telemetry.settings.get(name, {}), plugins.settings(entry)
        if model is not None:
            found += settings_problems(model, values, path, document)
        elif values:
            found.append(document.problem(path, f"the sink {name} has no settings"))
    return found


def _engine_problems(config: Config, plugins: PluginManager, document: Document) -> list[Problem]:
    name = config.generation.engine
    if name == "auto":
        return []
    entry = _find("engine", name, ("generation", "engine"), plugins, document)
    if isinstance(entry, Problem):
        return [entry]
    model = plugins.settings(entry)
    return [] if model is None else settings_problems(model, config.engine_args, ("engine_args",), document)


def _task_problems(config: Config, plugins: PluginManager, document: Document) -> list[Problem]:
    name, path = config.task.name, ("task", "args")
    if config.task.name is None:
        return []
    entry = _find("task", str(name), ("task", "name"), plugins, document)
    if isinstance(entry, Problem):
        return [entry]
    task = plugins.load(entry)
    model = plugins.settings(entry) or task.settings
    if model is not None:
        return settings_problems(model, config.task.args, path, document, for_job=True)
    return arguments_problems(task, config.task.args, path, f"the task {name}", document)


def arguments_problems(
    called: Any, values: Mapping[str, Any], path: KeyPath, owner: str, document: Document | None = None
) -> list[Problem]:
    """Names that a class without a settings model does not take as keyword arguments."""
    document = document or Document("", {})
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return []
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return []
    names = [one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    has = f"it has {', '.join(names)}" if names else "it has none"
    return [
        document.problem((*path, name), f"{owner} has no such setting", _near(path, name, names) or has)
        for name in values
        if name not in names
    ]


def _near(path: KeyPath, name: str, names: Iterable[str]) -> str:
    match = nearest(name, names)
    return f"did you mean {'.'.join((*path, match))}?" if match else ""


def _find(
    kind: Kind, name: str, path: KeyPath, plugins: PluginManager, document: Document
) -> Entry | Problem:
    try:
        return plugins.find(kind, name)
    except UnknownPluginError as error:
        hint = (error.next_step or "").splitlines()[0] if error.next_step else ""
        return document.problem(path, error.cause, hint)
