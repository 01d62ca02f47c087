"""Checking an experiment file: every problem with its shape at once, each with line, key and what was probably meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tenyson.config.experiment.links import link_problems
from tenyson.config.experiment.schema import ExperimentFile, StepEntry
from tenyson.config.experiment.sections import section_problems
from tenyson.config.experiment.sweep import axis_problems
from tenyson.config.explain import keys, nearest, problems, suggested_key
from tenyson.config.schema import Config
from tenyson.errors import ConfigError, Problem

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath
    from tenyson.plugins.job_kind import JobKind


def check_experiment(document: Document, kinds: Mapping[str, JobKind]) -> ExperimentFile:
    """The experiment that a file holds. Its configurations are checked later, once they are merged.

    Args:
        kinds: the kinds of job that are installed, by name.

    Raises:
        ConfigError: with every problem of the file's shape.
    """
    found: list[Problem] = list(document.problems)
    experiment: ExperimentFile | None = None
    try:
        experiment = ExperimentFile.model_validate(document.data, context={"kinds": kinds})
    except ValidationError as error:
        found += problems(error, document, ExperimentFile, suggest=_meant)
    found += link_problems(document, kinds)
    for check in (section_problems, axis_problems):
        found += check(document)
    if found or experiment is None:
        raise ConfigError(sorted(dict.fromkeys(found), key=lambda problem: problem.line or 0))
    return experiment


def _meant(path: KeyPath, value: Any) -> str:
    """What was probably meant by an unknown key of the file or of a step: another one, or one of a configuration."""
    *place, name = path
    here, configuration = (StepEntry, "config") if place else (ExperimentFile, "shared")
    if isinstance(value, Mapping) and name in Config.model_fields:
        return f"did you mean {configuration}.{name}?"
    if near := nearest(name, here.model_fields):
        return f"did you mean {near}?"
    known = {".".join(key): info for key, info in keys(Config)}
    key = suggested_key((name,), known)
    return f"did you mean {configuration}.{key}?" if key else ""
