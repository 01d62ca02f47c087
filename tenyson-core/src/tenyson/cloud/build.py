"""Building a backend: by the name that an installed package gives it, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenyson.cloud.backend import Backend, BaseBackend


def backend_class(name: str) -> type[Backend]:
    """The class of a backend. Raises: UnknownPluginError, PluginError."""
    from tenyson.plugins.manager import PluginManager

    manager = PluginManager()
    cls: type[Backend] = manager.load(manager.find("backend", name))
    return cls


def build_backend(name: str, settings: Mapping[str, Any]) -> BaseBackend:
    """The backend. Raises: UnknownPluginError, PluginError; TypeError: it does not take these settings."""
    from tenyson.cloud.adapted import adapted

    return adapted(backend_class(name)(**settings))
