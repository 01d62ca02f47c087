"""Refusals: what a library says of its arguments, as an error of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tenyson.errors import ConfigError, TenysonError


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """What TRL, PEFT or transformers refuse is a mistake in the configuration: one line, and no stack trace.

    Raises: ConfigError.
    """
    try:
        yield
    except TenysonError:
        raise
    except (ValueError, TypeError, ImportError, NotImplementedError, KeyError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"{what}: {reason}",
            next_step="Look at `training`, `trl` and `peft` in the configuration; `tenyson config show` prints it resolved.",
        ) from error
