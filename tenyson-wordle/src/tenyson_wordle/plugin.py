"""What this distribution registers with Tenyson."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import ReportHelperEntry, TaskEntry, hookimpl


@hookimpl
def tenyson_tasks() -> Iterable[TaskEntry]:
    """The Wordle task."""
    return [
        TaskEntry(
            name="wordle",
            summary="Find a five-letter word in six guesses: a multi-turn game with exact rewards",
            load="tenyson_wordle.task:WordleTask",
            settings="tenyson_wordle.settings:WordleSettings",
        )
    ]


@hookimpl
def tenyson_report_helpers() -> Iterable[ReportHelperEntry]:
    """The Wordle section of a report."""
    return [
        ReportHelperEntry(
            name="wordle",
            summary="Wordle: train against held-out secrets, and boards stage by stage",
            load="tenyson_wordle.report:wordle",
        )
    ]
