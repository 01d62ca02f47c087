"""One plugin, imported: its entries with provenance, or the reason why it cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Literal, get_args

import pluggy

from tenyson.config.explain import did_you_mean
from tenyson.errors import BrokenPluginError
from tenyson.plugins import discovery, hookspecs
from tenyson.plugins.entries import (
    BackendEntry,
    EngineEntry,
    Entry,
    Provenance,
    ReportHelperEntry,
    SinkEntry,
    TaskEntry,
)
from tenyson.plugins.failure import one_line
from tenyson.plugins.job_kind import JobKind

Kind = Literal["task", "backend", "sink", "report_helper", "engine", "job"]
KINDS: tuple[Kind, ...] = get_args(Kind)

HOOKS: dict[str, tuple[Kind, type[Entry]]] = {
    "tenyson_tasks": ("task", TaskEntry),
    "tenyson_backends": ("backend", BackendEntry),
    "tenyson_sinks": ("sink", SinkEntry),
    "tenyson_report_helpers": ("report_helper", ReportHelperEntry),
    "tenyson_engines": ("engine", EngineEntry),
    "tenyson_jobs": ("job", JobKind),
}
"""Hook name -> (kind, type of what it returns)."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Plugin:
    """What one entry point registered."""

    name: str
    """Name of the entry point."""
    distribution: str
    version: str
    module: str
    """Value of the entry point, such as "tenyson_wordle.plugin"."""
    entries: tuple[tuple[str, Entry], ...] = ()
    """(kind, entry), in the order of the hooks."""
    broken: BrokenPluginError | None = None
    """Why it cannot be used."""
    misspelt: tuple[str, ...] = field(default=())
    """Sentences about functions that look like hooks but are none."""

    @property
    def owner(self) -> str:
        """Distribution and version, in words."""
        return f"{self.distribution} {self.version}"


def read(point: metadata.EntryPoint) -> Plugin:
    """Import the plugin behind an entry point. Never raises for what the plugin does wrong: see `broken`."""
    plugin = Plugin(point.name, discovery.distribution(point), discovery.version(point), point.value)
    # A plugin must not take the command line down, not even by calling sys.exit on import.
    try:
        module = point.load()
    except (Exception, SystemExit) as error:
        return replace(plugin, broken=_broken(plugin, f"cannot be imported: {one_line(error)}", error))
    manager = pluggy.PluginManager("tenyson")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module)
    except pluggy.PluginValidationError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return replace(plugin, broken=_broken(plugin, f"has a hook with a wrong signature: {reason}", error))
    plugin = replace(plugin, misspelt=tuple(_misspelt(manager, module, plugin)))
    try:
        return replace(plugin, entries=tuple(_entries(manager, plugin)))
    except BrokenPluginError as error:
        return replace(plugin, broken=error)


def _entries(manager: pluggy.PluginManager, plugin: Plugin) -> Iterator[tuple[str, Entry]]:
    provenance = Provenance(distribution=plugin.distribution, version=plugin.version)
    for hook, (kind, expected) in HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            try:
                returned = implementation.function()
                entries = list(returned) if isinstance(returned, Iterable) else [returned]
            except Exception as error:
                raise _broken(plugin, f"fails in {hook}: {one_line(error)}", error) from error
            for entry in entries:
                if not isinstance(entry, expected):
                    raise _broken(plugin, f"returns {entry!r:.60} from {hook}, not a {expected.__name__}")
                if not NAME.fullmatch(entry.name):
                    raise _broken(plugin, f"gives a {kind} the name {entry.name!r}, which nobody can type")
                yield kind, replace(entry, provenance=provenance)


def _misspelt(manager: pluggy.PluginManager, module: Any, plugin: Plugin) -> Iterator[str]:
    marked = set()
    for caller in manager.get_hookcallers(module) or []:
        marked.add(caller.name)
        if caller.spec is None:
            yield f"{plugin.module} has a hook {caller.name}, which does not exist {_hint(caller.name)}".rstrip()
    for name in vars(module) if hasattr(module, "__dict__") else ():
        if name.startswith("tenyson_") and name not in marked and _is_own_function(module, name):
            yield f"{plugin.module} has a function {name} without @hookimpl; it is not a hook {_hint(name)}".rstrip()


def _is_own_function(module: Any, name: str) -> bool:
    value = vars(module)[name]
    return callable(value) and getattr(value, "__module__", None) == getattr(module, "__name__", None)


def _hint(name: str) -> str:
    hint = did_you_mean(name, [hook for hook in HOOKS if hook != name])
    return f"({hint})" if hint and name not in HOOKS else ""


def _broken(plugin: Plugin, what: str, cause: BaseException | None = None) -> BrokenPluginError:
    error = BrokenPluginError(f"the plugin {plugin.name!r} of {plugin.owner} ({plugin.module}) {what}")
    error.__cause__ = cause
    return error
