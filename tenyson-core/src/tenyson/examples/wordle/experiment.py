"""The import path of the Wordle experiment; its code lives in the plugin tenyson-wordle."""

from tenyson.errors import MissingDependencyError, TenysonError

try:
    from tenyson_wordle.experiment import main
except ModuleNotFoundError as error:
    # A plugin that is there but lacks a dependency of its own must say so itself.
    if error.name != "tenyson_wordle":
        raise
    raise MissingDependencyError(
        "tenyson-wordle", needed_for="the Wordle experiment", install="tenyson-wordle"
    ) from error

__all__ = ["main"]

if __name__ == "__main__":
    from tenyson.cloud.local.backend import LocalManager

    try:
        print(main(LocalManager()))  # noqa: T201
    except TenysonError as error:
        raise SystemExit(f"error: {error}") from None
