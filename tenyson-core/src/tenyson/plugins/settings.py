"""Settings of an entry: `backend.settings`, `telemetry.settings.SINK` and `task.args`, checked by the plugin's own model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tenyson.config.document import Document
from tenyson.config.explain import problems
from tenyson.errors import Problem, UnknownPluginError
from tenyson.plugins.manager import PluginManager

if TYPE_CHECKING:
    from tenyson.config.document import KeyPath
    from tenyson.config.schema import Config


def settings_problems(
    model: Any, values: Mapping[str, Any], path: KeyPath, document: Document | None = None
) -> list[Problem]:
    """What a settings model refuses; `path` is where the values lie in the configuration."""
    from pydantic import ValidationError

    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        return problems(error, document or Document("", {}), model, path)
    return []


def check_settings(config: Config, plugins: PluginManager, document: Document | None = None) -> list[Problem]:
    """Problems of a configuration with the plugins it names: unknown names, and settings that they refuse.

    Raises:
        BrokenPluginError, DuplicatePluginError.
    """
    document = document or Document("", {})
    wanted: list[tuple[Any, str, KeyPath, Mapping[str, Any], KeyPath]] = [
        (
            "backend",
            config.backend.name,
            ("backend", "name"),
            config.backend.settings,
            ("backend", "settings"),
        )
    ]
    sinks = set(config.telemetry.sinks or ()) | set(config.telemetry.settings)
    for sink in sorted(sinks):
        path: KeyPath = ("telemetry", "settings", sink)
        wanted.append(("sink", sink, path, config.telemetry.settings.get(sink, {}), path))
    if config.generation.engine != "auto":
        wanted.append(("engine", config.generation.engine, ("generation", "engine"), {}, ("engine_args",)))
    if config.task.name:
        wanted.append(("task", config.task.name, ("task", "name"), config.task.args, ("task", "args")))
    found: list[Problem] = []
    for kind, name, named_at, values, path in wanted:
        try:
            entry = plugins.find(kind, name)
        except UnknownPluginError as error:
            hint = (error.next_step or "").splitlines()[0] if error.next_step else ""
            found.append(document.problem(named_at, error.cause, hint))
            continue
        model = plugins.settings(entry)
        if model is None and kind == "task":
            model = plugins.load(entry).settings
        if model is not None:
            found += settings_problems(model, values, path, document)
        elif values and kind in ("backend", "sink"):
            found.append(document.problem(path, f"the {kind} {name} has no settings"))
    return found
