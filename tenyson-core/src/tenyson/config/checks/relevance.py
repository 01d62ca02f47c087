"""Relevance: keys that are valid but mean nothing to the job at hand. They are told, not refused: presets share keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tenyson.config.document import Document
from tenyson.errors import Problem

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.plugins.job_kind import JobKind


def irrelevant_keys(
    config: Config, kind: JobKind, kinds: Iterable[JobKind] = (), document: Document | None = None
) -> list[Problem]:
    """A warning for each key that is set to something else than its default and that this kind of job does not read.

    Args:
        kinds: all kinds of job, to say which of them read it.
    """
    document = document or Document("", {})
    given, found = config.model_dump(), []
    defaults = type(config).model_validate({"model": given["model"]}).model_dump()
    kinds = list(kinds)
    for key in kind.unread:
        section, _, name = key.partition(".")
        value, default = given[section], defaults[section]
        if value == default or (name and value[name] == default[name]):
            continue
        problem = document.problem(
            tuple(key.split(".")), f"means nothing to {kind.name}", _hint(readers(key, kinds))
        )
        found.append(
            Problem(problem.cause, problem.key, problem.file, problem.line, problem.suggestion, "warning")
        )
    return found


def readers(key: str, kinds: Iterable[JobKind]) -> str:
    """The kinds of job that read a section, or a key as section.key, in words."""
    names = [kind.name for kind in kinds if kind.reads(key)]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _hint(names: str) -> str:
    return f"read by {names}" if names else ""
