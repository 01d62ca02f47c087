"""Experiment files: their shape (steps, needs, matrix), and on which line each key of a step's configuration stands.

What is in `shared` and in a step's `config` is a configuration, which the schema checks once it is merged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from tenyson.config.document import describe
from tenyson.config.explain import did_you_mean
from tenyson.config.unset import UNSET
from tenyson.errors import Problem

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath

JobType = Literal["sft", "rl", "eval"]

SHORTHANDS = {"seed": "run.seed"}
"""Axes of a matrix that stand for a key."""
FILE_KEYS = ("name", "summary", "hardware", "shared", "steps", "matrix", "max_parallel")
STEP_KEYS = ("label", "job", "config", "model_from", "checkpoint_from", "needs", "matrix")
_ONLY_HERE = ("shared", "steps", "matrix", "max_parallel")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_AXIS = re.compile(r"\$\{\s*matrix\.([^{}]*?)\s*\}")


def is_experiment(document: Document) -> bool:
    """Whether a file is an experiment and not the configuration of one job."""
    return any(key in document.data for key in _ONLY_HERE)


def experiment_problems(document: Document) -> list[Problem]:
    """All that is wrong with a file's shape."""
    data = document.data
    found = _unknown(document, (), data, FILE_KEYS)
    for key in ("name", "summary", "hardware"):
        if not isinstance(data.get(key, ""), str):
            found.append(document.problem((key,), f"must be text, not {describe(data[key])}"))
    limit = data.get("max_parallel", 1)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        cause = f"must be a whole number from 1 on, not {describe(limit)}"
        found.append(document.problem(("max_parallel",), cause))
    shared = data.get("shared")
    found += _section_problems(document, ("shared",), shared)
    found += _matrix_problems(document, ("matrix",), data.get("matrix"))
    steps = data.get("steps")
    if not isinstance(steps, list) or not steps:
        return [*found, document.problem(("steps",), "must be a list of at least one step")]
    labels: list[str] = []
    jobs = {
        step["label"]: step.get("job")
        for step in steps
        if isinstance(step, Mapping) and isinstance(step.get("label"), str)
    }
    for number, step in enumerate(steps):
        place = ("steps", str(number))
        if not isinstance(step, Mapping):
            cause = f"must be a mapping with label and job, not {describe(step)}"
            found.append(document.problem(place, cause))
            continue
        found += _step_problems(document, place, step, labels, jobs)
        found += _clashes(document, shared, step.get("config"))
        labels.append(str(step.get("label")))
    return list(dict.fromkeys(found))


def places_of(document: Document, number: int) -> dict[KeyPath, int]:
    """The lines of the keys of step `number`'s configuration: those of `shared`, and over them its own."""
    own = ("steps", str(number), "config")
    return {
        path[len(prefix) :]: line
        for prefix in (("shared",), own)
        for path, line in document.lines.items()
        if path[: len(prefix)] == prefix and len(path) > len(prefix)
    }


def axis_places(document: Document, place: KeyPath) -> dict[KeyPath, int]:
    """The lines of the axes of the matrix at `place`, by the key that each sets."""
    return {
        tuple(SHORTHANDS.get(path[-1], path[-1]).split(".")): line
        for path, line in document.lines.items()
        if path[:-1] == place
    }


def _step_problems(
    document: Document, place: KeyPath, step: Mapping[str, Any], labels: list[str], jobs: Mapping[str, Any]
) -> list[Problem]:
    """What is wrong with one step; `labels` are those of the steps before it, `jobs` those of all by label."""
    found = _unknown(document, place, step, STEP_KEYS)
    label, kinds = step.get("label"), get_args(JobType)
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        found.append(document.problem((*place, "label"), "must be text of letters, digits, `_` and `-`"))
    elif label in labels:
        found.append(document.problem((*place, "label"), f"{label!r} is there twice"))
    if step.get("job") not in kinds:
        given = step.get("job")
        cause = f"must be one of {', '.join(kinds)}, not {given!r:.60}"
        near = did_you_mean(given, kinds) if isinstance(given, str) else ""
        found.append(document.problem((*place, "job"), cause, near))
    found += _section_problems(document, (*place, "config"), step.get("config"))
    for key in ("model_from", "checkpoint_from"):
        found += _source_problems(document, place, key, step, labels, jobs)
    needs = step.get("needs")
    if needs is not None and not isinstance(needs, list):
        cause = f"must be a list of labels, not {describe(needs)}"
        found.append(document.problem((*place, "needs"), cause))
    here = (*place, "needs")
    for name in needs if isinstance(needs, list) else ():
        if not isinstance(name, str):
            found.append(document.problem(here, f"must be the label of a step, not {describe(name)}"))
        elif name not in jobs:
            found.append(document.problem(here, f"{name!r} is no step", did_you_mean(name, jobs)))
    return found + _matrix_problems(document, (*place, "matrix"), step.get("matrix"))


def _source_problems(
    document: Document,
    place: KeyPath,
    key: str,
    step: Mapping[str, Any],
    labels: list[str],
    jobs: Mapping[str, Any],
) -> Iterator[Problem]:
    source = step.get(key)
    if source is None:
        return
    if not isinstance(source, str):
        yield document.problem((*place, key), f"must be the label of a step, not {describe(source)}")
    elif source not in labels:
        yield document.problem((*place, key), f"{source!r} is no earlier step", did_you_mean(source, labels))
    elif jobs.get(source) == "eval":
        yield document.problem((*place, key), f"{source!r} is an evaluation, which trains nothing")
    if key == "checkpoint_from" and step.get("job") == "eval":
        cause = "an evaluation does not go on from a checkpoint"
        yield document.problem((*place, key), cause, "use model_from")


def _section_problems(document: Document, place: KeyPath, config: Any) -> list[Problem]:
    """A configuration is a mapping of sections, which are mappings."""
    from tenyson.config.schema import Config

    if config is None:
        return []
    if not isinstance(config, Mapping):
        return [document.problem(place, f"must be a mapping, not {describe(config)}")]
    found = []
    for name, value in config.items():
        section = Config.model_fields.get(name)
        if section is None or value is None or value == UNSET or isinstance(value, Mapping):
            continue
        keys = getattr(section.annotation, "model_fields", {})
        hint = f"write {name}: {{name: {value}}}" if "name" in keys and isinstance(value, str) else ""
        if isinstance(value, str) and "name" not in keys:
            hint = f"it has {', '.join(keys)}" if keys else ""
        found.append(document.problem((*place, name), f"expected a mapping, not {describe(value)}", hint))
    return found


def _clashes(document: Document, shared: Any, config: Any) -> Iterator[Problem]:
    """Values of `shared` that a step would replace by a mapping, so that nobody would see that they are wrong."""
    from tenyson.config.schema import Config

    if not (isinstance(shared, Mapping) and isinstance(config, Mapping)):
        return
    for section, values in config.items():
        known = Config.model_fields.get(section)
        keys = getattr(known.annotation, "model_fields", {}) if known else {}
        below = shared.get(section)
        if not isinstance(values, Mapping) or not isinstance(below, Mapping):
            continue
        for key, value in values.items():
            under = below.get(key)
            if key in keys and isinstance(value, Mapping) and not isinstance(under, Mapping | None):
                place = ("shared", section, key)
                yield document.problem(place, f"expected a mapping, as in a step, not {describe(under)}")


def _matrix_problems(document: Document, place: KeyPath, matrix: Any) -> list[Problem]:
    if matrix is None:
        return []
    if not isinstance(matrix, Mapping):
        cause = f"must be a mapping of axes to lists of values, not {describe(matrix)}"
        return [document.problem(place, cause)]
    found = [
        document.problem((*place, axis), "must be a list of at least one value")
        for axis, values in matrix.items()
        if not isinstance(values, list) or not values
    ]
    used = {name for text in _texts(document.data) for name in _AXIS.findall(text)}
    for axis in matrix:
        # Without a dot it is a name of one's own, which does something only where it is referred to.
        if "." not in axis and axis not in SHORTHANDS and axis not in used:
            cause = "no value refers to this axis, so no step would differ by it"
            found.append(document.problem((*place, axis), cause, _dotted(axis)))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _dotted(name: str) -> str:
    """The configuration's keys of that name, where there are any."""
    from tenyson.config.schema import Config

    keys = [
        f"{section}.{name}"
        for section, field in Config.model_fields.items()
        if name in getattr(field.annotation, "model_fields", {})
    ]
    return f"did you mean {' or '.join(keys)}?" if keys else ""


def _unknown(
    document: Document, place: KeyPath, data: Mapping[str, Any], known: tuple[str, ...]
) -> list[Problem]:
    return [
        document.problem((*place, key), "unknown key", did_you_mean(key, known))
        for key in data
        if key not in known
    ]
