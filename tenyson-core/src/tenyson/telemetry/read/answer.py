"""The answer to a person's query, and the refusals that both databases share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenyson.errors import TelemetryError

ONLY_READS = "`tenyson sql` only reads"


@dataclass(frozen=True)
class Answer:
    """What a query returned."""

    names: list[str]
    """Of the columns; two may be the same."""
    rows: list[tuple[Any, ...]]
    more: bool
    """Whether there are more rows than were asked for."""


def took_too_long(seconds: float) -> TelemetryError:
    """The error of a query that was ended."""
    return TelemetryError(
        f"the query took longer than {seconds:g} s and was ended",
        next_step="Ask for less, name a run_id, or give more time with --timeout.",
    )


def no_query(text: str) -> TelemetryError:
    """The error of a statement that is no query."""
    return TelemetryError(f"{ONLY_READS}, and {text}", next_step="Begin with SELECT or WITH.")
