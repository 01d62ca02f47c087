"""A step: one job of a pipeline, and what it takes over from an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tenyson.errors import ConfigError, Problem
from tenyson.tasks.plugin import TaskPlugin

if TYPE_CHECKING:
    from tenyson.cloud.manager import SpecifiedJob


class Step(NamedTuple):
    """One job of a pipeline. A plain tuple of the first four, or of more of them, does as well."""

    label: str
    config: Mapping[str, Any]
    """A configuration as YAML gives it; a Config is taken too."""
    job: Callable[[Any, TaskPlugin], SpecifiedJob]
    """SFTJob, RLJob, EvalJob, or anything that makes a job of a configuration and a task."""
    task: TaskPlugin
    model_from: str | None = None
    """Label of the earlier step whose trained model or adapter this one starts from."""
    needs: tuple[str, ...] | None = None
    """Labels of the steps that must be over before it; None: the one before it in the list."""


def as_steps(steps: Iterable[Any]) -> list[Step]:
    """Check the shape of a pipeline before anything of it runs.

    Raises:
        ConfigError: a step has another shape, two share a label, or `model_from` names no earlier step.
    """
    checked: list[Step] = []
    problems: list[Problem] = []
    for number, given in enumerate(steps, start=1):
        if not isinstance(given, tuple) or len(given) not in (4, 5, 6):
            problems.append(Problem(f"step {number} is not (label, config, JobClass, task)"))
            continue
        step = Step(*given)
        earlier = [other.label for other in checked]
        if step.label in earlier:
            problems.append(Problem(f"two steps are labelled {step.label!r}"))
        if step.model_from is not None and step.model_from not in earlier:
            problems.append(
                Problem(
                    f"step {step.label!r} starts from {step.model_from!r}, which is no earlier step",
                    suggestion=f"earlier steps: {', '.join(earlier)}" if earlier else "it is the first step",
                )
            )
        checked.append(step._replace(config=as_mapping(step.config)))
    if problems:
        raise ConfigError(problems)
    return checked


def as_mapping(config: Any) -> dict[str, Any]:
    """A configuration as a plain dict, whether it came as one or as a Config."""
    if isinstance(config, Mapping):
        return dict(config)
    plain: dict[str, Any] = config.model_dump(mode="json")
    return plain


def with_values(config: Mapping[str, Any], section: str, **values: Any) -> dict[str, Any]:
    """A copy of `config` in which one section has further values."""
    return {**config, section: {**(config.get(section) or {}), **values}}
