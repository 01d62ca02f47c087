"""Unused: whether a plugin's name is free, as a module and as what users type."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import click

from tenyson.cli.extend.spelling import Spelling

if TYPE_CHECKING:
    from tenyson.plugins.registration import Kind

ITS_OWN = frozenset({"src", "tests", "conftest"})
"""Names that the folder of a plugin has in use itself."""


def require_unused(name: Spelling, kind: Kind) -> None:
    """Raises: click.UsageError: something else has the name."""
    if owner := _owner(name, kind):
        raise click.UsageError(
            f"NAME: {name.typed!r} is taken: {owner}; put a word of your own in front of it"
        )


def _owner(name: Spelling, kind: Kind) -> str | None:
    from tenyson.plugins.discovery import FIRST_PARTY, installed
    from tenyson.plugins.manager import PluginManager

    if name.module in ITS_OWN:
        return f"a plugin's folder has a {name.module} itself"
    spec = importlib.util.find_spec(name.module)
    if spec is not None:
        where = f", in {spec.origin}" if spec.origin and spec.has_location else ""
        return f"a module {name.module} is installed{where}"
    if name.typed in FIRST_PARTY:
        return f"{FIRST_PARTY[name.typed]} provides it"
    if any(point.name == name.typed for point in installed()):
        return "an installed plugin is called so"
    for entry in PluginManager().all(kind):
        if entry.name == name.typed:
            owner = entry.provenance.distribution if entry.provenance else "an installed plugin"
            return f"{owner} has a {kind.replace('_', ' ')} of that name"
    return None
