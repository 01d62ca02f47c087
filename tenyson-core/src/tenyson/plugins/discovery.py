"""Which plugins are installed, from the metadata of distributions alone: nothing is imported here."""

from __future__ import annotations

import functools
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

GROUP = "tenyson"
"""The one entry-point group. An entry point's name is a name that a user types."""

CORE = "core"
"""The entry point of core's own built-ins."""

FIRST_PARTY = {
    "aws": "tenyson-aws",
    "modal": "tenyson-modal",
    "openenv": "tenyson-openenv",
    "reasoning-gym": "tenyson-reasoning-gym",
    "textarena": "tenyson-textarena",
    "verifiers": "tenyson-verifiers",
    "wordle": "tenyson-wordle",
}
"""Distributions of this project by plugin name, for the pip line of an error."""


def entry_points(group: str) -> metadata.EntryPoints:
    """The entry points of a group, by a scan of all distributions that is repeated only where a folder of `sys.path` has changed."""
    found: metadata.EntryPoints = _scan(tuple((path, _changed(path)) for path in sys.path)).select(
        group=group
    )
    return found


@functools.lru_cache(maxsize=1)
def _scan(_folders: tuple[tuple[str, float], ...]) -> Any:
    return metadata.entry_points()


def _changed(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0


def installed() -> list[metadata.EntryPoint]:
    """All allowed plugins: core first, then by name."""
    points = [point for point in entry_points(GROUP) if allowed(point.name)]
    return sorted(points, key=lambda point: (point.name != CORE, point.name, distribution(point)))


def allow_list() -> frozenset[str] | None:
    """The names in TENYSON_PLUGINS; None where it is not set, which allows every plugin."""
    text = os.environ.get("TENYSON_PLUGINS")
    return None if text is None else frozenset(name.strip() for name in text.split(",") if name.strip())


def allowed(name: str) -> bool:
    """Whether the plugin `name` may be used. Core always may."""
    names = allow_list()
    return names is None or name == CORE or name in names


def distribution(point: metadata.EntryPoint) -> str:
    """Name of the distribution that provides an entry point."""
    return point.dist.name if point.dist else "?"


def version(point: metadata.EntryPoint) -> str:
    """Version of the distribution that provides an entry point."""
    return point.dist.version if point.dist else "?"


def describe(point: metadata.EntryPoint) -> str:
    """Distribution and version, in words for errors."""
    return f"{distribution(point)} {version(point)}"
