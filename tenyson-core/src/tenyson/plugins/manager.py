"""The plugin manager: finds entries by name, importing no more plugins than it must."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from tenyson.config.explain import nearest
from tenyson.errors import (
    BrokenPluginError,
    DuplicatePluginError,
    MissingDependencyError,
    TenysonError,
    UnknownPluginError,
)
from tenyson.plugins import discovery
from tenyson.plugins.commands import command_points, load_command
from tenyson.plugins.entries import Entry
from tenyson.plugins.failure import one_line
from tenyson.plugins.registration import HOOKS, Kind, Plugin, read
from tenyson.plugins.validation import kind_fault


@dataclass(frozen=True)
class Report:
    """What `PluginManager.check` found out about one entry, or about a plugin as a whole."""

    plugin: str
    """Name of the entry point."""
    distribution: str
    version: str
    status: Literal["ok", "unavailable", "broken"]
    """`unavailable`: nothing is wrong but an optional package is not installed."""
    kind: str = ""
    """Empty where the report is about the plugin itself."""
    name: str = ""
    detail: str = ""
    """Why it is not ok, in one line."""


class PluginManager:
    """Entries of the installed plugins, by kind and name.

    The entry point's name is tried first: `find("task", "wordle")` imports core and the entry point `wordle`.
    All plugins are imported only where that gives nothing. Two providers of a name are therefore noticed as soon as
    both are imported: when both entry points bear that name, in listings, and by `check`.
    """

    def __init__(self) -> None:
        self._points = discovery.installed()
        self._read: dict[int, Plugin] = {}

    def find(self, kind: Kind, name: str) -> Entry:
        """The entry of that kind and name.

        Raises: UnknownPluginError with the nearest names, DuplicatePluginError, BrokenPluginError.
        """
        likely = [self._plugin(point) for point in self._points if point.name in (discovery.CORE, name)]
        owners = _providers(likely, kind, name)
        if not owners:
            for plugin in likely:
                if plugin.broken:
                    raise plugin.broken
            owners = _providers(self.plugins(), kind, name)
        if len(owners) > 1:
            names = " and ".join(plugin.owner for plugin, _ in owners)
            raise DuplicatePluginError(
                f"the {_words(kind)} {name!r} is provided by {names}",
                next_step="Uninstall one of them, or leave it out of TENYSON_PLUGINS.",
            )
        if not owners:
            raise self._unknown(kind, name)
        return owners[0][1]

    def load(self, entry: Entry) -> Any:
        """The object that the entry names, mostly a class.

        Raises: BrokenPluginError where it cannot be loaded; a TenysonError of the plugin's own passes through.
        """
        value = self._resolve(entry, entry.load)
        kind = self._kind(entry)
        if kind is not None and (fault := kind_fault(kind, value)):
            raise BrokenPluginError(f"the {_words(kind)} {entry.name!r}{_owner(entry)} {fault}")
        return value

    def settings(self, entry: Entry) -> Any | None:
        """The pydantic model of the entry's settings; None where it has none. Raises: BrokenPluginError."""
        return None if entry.settings is None else self._resolve(entry, entry.settings)

    def all(self, kind: Kind) -> list[Entry]:
        """Every entry of a kind: core's first, then by name. Broken plugins are left out; see `plugins`."""
        return [entry for plugin in self.plugins() for found, entry in plugin.entries if found == kind]

    def plugins(self) -> list[Plugin]:
        """All installed plugins, imported; the broken ones say why."""
        return [self._plugin(point) for point in self._points]

    def check(self, own_commands: Iterable[str] = ()) -> list[Report]:
        """Import every plugin and load every entry with its settings model, and every command.

        `own_commands`: names of the command line's own, which nobody reaches a plugin's command by.
        """
        reports = [report for plugin in self.plugins() for report in self._check(plugin)]
        return reports + list(self._check_commands(frozenset(own_commands)))

    def _check(self, plugin: Plugin) -> Iterator[Report]:
        def report(status: Literal["ok", "unavailable", "broken"], **about: str) -> Report:
            return Report(plugin.name, plugin.distribution, plugin.version, status, **about)

        if plugin.broken:
            yield report("broken", detail=str(plugin.broken))
        for sentence in plugin.misspelt:
            yield report("broken", detail=sentence)
        if not (plugin.entries or plugin.broken or plugin.misspelt or plugin.name == discovery.CORE):
            yield report("broken", detail=f"{plugin.module} registers nothing: it has no hook")
        for kind, entry in plugin.entries:
            owners = {
                other.owner
                for other, _ in _providers(self.plugins(), kind, entry.name)
                if other is not plugin
            }
            if owners:
                detail = f"the {_words(kind)} {entry.name!r} is provided by {' and '.join([plugin.owner, *sorted(owners)])}"
                yield report("broken", kind=kind, name=entry.name, detail=detail)
                continue
            try:
                self.load(entry)
                self.settings(entry)
            except MissingDependencyError as error:
                yield report("unavailable", kind=kind, name=entry.name, detail=str(error).replace("\n ", ";"))
            except TenysonError as error:
                yield report("broken", kind=kind, name=entry.name, detail=str(error))
            else:
                yield report("ok", kind=kind, name=entry.name)

    def _check_commands(self, taken: frozenset[str]) -> Iterator[Report]:
        for point in command_points():
            about = (point.name, discovery.distribution(point), discovery.version(point))
            if point.name in taken:
                detail = f"`tenyson {point.name}` is Tenyson's own, so this command is never run"
                yield Report(*about, "broken", "command", point.name, detail)
                continue
            try:
                load_command(point.name)
            except MissingDependencyError as error:
                yield Report(*about, "unavailable", "command", point.name, str(error).replace("\n ", ";"))
            except TenysonError as error:
                yield Report(*about, "broken", "command", point.name, error.cause)
            else:
                yield Report(*about, "ok", "command", point.name)

    def _kind(self, entry: Entry) -> Kind | None:
        return next((kind for kind, expected in HOOKS.values() if type(entry) is expected), None)

    def _plugin(self, point: metadata.EntryPoint) -> Plugin:
        # Entry points of two distributions can be equal, so identity is the key.
        if id(point) not in self._read:
            self._read[id(point)] = read(point)
        return self._read[id(point)]

    def _resolve(self, entry: Entry, target: Any) -> Any:
        try:
            if not isinstance(target, str):
                return target()
            module, _, attribute = target.partition(":")
            value: Any = importlib.import_module(module)
            for part in attribute.split(".") if attribute else ():
                value = getattr(value, part)
            return value
        except TenysonError:
            raise
        except (Exception, SystemExit) as error:
            what = f" ({target})" if isinstance(target, str) else ""
            raise BrokenPluginError(
                f"{entry.name!r}{_owner(entry)}{what} cannot be loaded: {one_line(error)}"
            ) from error

    def _unknown(self, kind: Kind, name: str) -> UnknownPluginError:
        hints = []
        names = [entry.name for entry in self.all(kind)]
        match = nearest(name, names)
        if match:
            hints.append(f"Did you mean {match!r}?")
        installed_names = {point.name for point in discovery.entry_points(discovery.GROUP)}
        if name in installed_names and not discovery.allowed(name):
            hints.append("It is installed, but TENYSON_PLUGINS leaves it out.")
        elif name in discovery.FIRST_PARTY and name not in installed_names:
            hints.append(f"pip install {discovery.FIRST_PARTY[name]}")
        hints.append(
            f"Known: {', '.join(sorted(set(names)))}." if names else f"No {_words(kind)} is installed."
        )
        for plugin in self.plugins():
            hints += [f"Note: {sentence}" for sentence in plugin.misspelt]
            if plugin.broken:
                hints.append(f"Note: {plugin.broken}")
        return UnknownPluginError(f"there is no {_words(kind)} named {name!r}", next_step="\n  ".join(hints))


def _providers(plugins: list[Plugin], kind: str, name: str) -> list[tuple[Plugin, Entry]]:
    return [
        (plugin, entry)
        for plugin in plugins
        for found, entry in plugin.entries
        if (found, entry.name) == (kind, name)
    ]


def _owner(entry: Entry) -> str:
    return f" of {entry.provenance.distribution} {entry.provenance.version}" if entry.provenance else ""


def _words(kind: str) -> str:
    return kind.replace("_", " ")
