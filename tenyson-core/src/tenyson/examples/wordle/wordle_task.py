"""The import path of WordleTask; its code lives in the plugin tenyson-wordle."""

from tenyson.errors import MissingDependencyError

try:
    from tenyson_wordle.task import WordleTask
except ModuleNotFoundError as error:
    # A plugin that is there but lacks a dependency of its own must say so itself.
    if error.name != "tenyson_wordle":
        raise
    raise MissingDependencyError(
        "tenyson-wordle", needed_for="WordleTask", install="tenyson-wordle"
    ) from error

__all__ = ["WordleTask"]
