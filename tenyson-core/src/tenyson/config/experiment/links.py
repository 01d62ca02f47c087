"""How the steps of an experiment file refer to each other, checked as far as the rest of the file makes sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tenyson.config.explain import did_you_mean

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath
    from tenyson.errors import Problem
    from tenyson.plugins.job_kind import JobKind

Steps = list[tuple["KeyPath", Mapping[str, Any]]]


def link_problems(document: Document, kinds: Mapping[str, JobKind]) -> Iterator[Problem]:
    """Labels that are used twice, and references to steps that are not there or cannot be started from."""
    steps = steps_of(document)
    trains = {step["label"]: _trains(step, kinds) for _, step in steps if isinstance(step.get("label"), str)}
    earlier: list[str] = []
    for place, step in steps:
        label = step.get("label")
        if isinstance(label, str) and label in earlier:
            yield document.problem((*place, "label"), f"{label!r} is there twice")
        for key in ("model_from", "checkpoint_from"):
            yield from _source_problems(document, (*place, key), step, earlier, trains, kinds)
        needs = step.get("needs")
        for name in needs if isinstance(needs, list) else ():
            if isinstance(name, str) and name not in trains:
                yield document.problem((*place, "needs"), f"{name!r} is no step", did_you_mean(name, trains))
        if isinstance(label, str):
            earlier.append(label)


def steps_of(document: Document) -> Steps:
    """The steps that are mappings, each with its place in the file."""
    steps = document.data.get("steps")
    return [
        (("steps", str(number)), step)
        for number, step in enumerate(steps if isinstance(steps, list) else ())
        if isinstance(step, Mapping)
    ]


def _source_problems(
    document: Document,
    place: KeyPath,
    step: Mapping[str, Any],
    earlier: list[str],
    trains: Mapping[str, bool],
    kinds: Mapping[str, JobKind],
) -> Iterator[Problem]:
    key = place[-1]
    source = step.get(key)
    if not isinstance(source, str):
        return
    if source not in earlier:
        yield document.problem(place, f"{source!r} is no earlier step", did_you_mean(source, earlier))
    elif not trains[source]:
        yield document.problem(place, f"{source!r} is an evaluation, which trains nothing")
    if key == "checkpoint_from" and not _trains(step, kinds):
        yield document.problem(place, "an evaluation does not resume from a checkpoint", "use model_from")


def _trains(step: Mapping[str, Any], kinds: Mapping[str, JobKind]) -> bool:
    """Whether a step trains, or may: a kind of job that does not exist is a problem of its own."""
    job = step.get("job")
    kind = kinds.get(job) if isinstance(job, str) else None
    return kind is None or kind.trains
