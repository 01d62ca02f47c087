"""The import path of ModalManager; its code lives in the plugin tenyson-modal."""

from tenyson.errors import MissingDependencyError

try:
    from tenyson_modal.manager import ModalManager
except ModuleNotFoundError as error:
    # A plugin that is there but lacks a dependency of its own must say so itself.
    if error.name != "tenyson_modal":
        raise
    raise MissingDependencyError(
        "tenyson-modal", needed_for="ModalManager", install="tenyson-modal"
    ) from error

__all__ = ["ModalManager"]
