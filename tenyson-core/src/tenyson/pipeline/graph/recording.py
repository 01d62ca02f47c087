"""Where the steps of a pipeline are recorded: each in the database that its configuration names, else in the pipeline's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from tenyson.core.stdio import say
from tenyson.pipeline.graph.step import Step, with_values


def recorded_in(steps: Iterable[Step], given: Iterable[Any], db_url: str) -> list[Step]:
    """The steps, with `telemetry.db_url` where the configuration that was `given` does not name it; null there means none.

    A password is never written into configurations, which lie beside results: such a URL is not handed on, and a line tells.
    """
    steps, given = list(steps), list(given)
    unnamed = [step for step, one in zip(steps, given, strict=True) if not _names_database(one[1])]
    if unnamed and _has_password(db_url):
        say(
            "warning: the steps are not recorded in the pipeline's database: its URL holds a password, which configurations "
            "must not; leave it to ~/.pgpass or PGPASSWORD"
        )
        return steps
    return [
        step
        if step not in unnamed
        else step._replace(config=with_values(step.config, "telemetry", db_url=db_url))
        for step in steps
    ]


def _names_database(config: Any) -> bool:
    if isinstance(config, Mapping):
        return "db_url" in (config.get("telemetry") or {})
    return "db_url" in config.telemetry.model_fields_set


def _has_password(db_url: str) -> bool:
    try:
        return bool(urlsplit(db_url).password)
    except ValueError:
        return False
