"""Entries: what a plugin's hooks return. Descriptors only; `load` is called on use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Who registered an entry. Stamped by the plugin manager, never by the plugin."""

    distribution: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The common part of all entries."""

    name: str
    """What a user types."""
    summary: str
    """One line for listings."""
    load: str | Callable[[], Any]
    """A "module:attribute" string, or a callable that returns the object."""
    settings: str | None = None
    """A "module:attribute" string of the pydantic model of its settings, if it has any."""
    provenance: Provenance | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class TaskEntry(Entry):
    """Loads a TaskPlugin subclass."""


@dataclass(frozen=True, kw_only=True)
class BackendEntry(Entry):
    """Loads a Backend class."""


@dataclass(frozen=True, kw_only=True)
class SinkEntry(Entry):
    """Loads a Sink class."""


@dataclass(frozen=True, kw_only=True)
class ReportHelperEntry(Entry):
    """Loads a report helper."""


@dataclass(frozen=True, kw_only=True)
class EngineEntry(Entry):
    """Loads an Engine class."""
