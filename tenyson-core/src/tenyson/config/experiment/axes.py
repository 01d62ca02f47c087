"""Axes of a matrix that would change nothing, with the key of the configuration that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tenyson.config.experiment.links import steps_of
from tenyson.config.experiment.names import SHORTHANDS
from tenyson.config.experiment.sections import keys_of
from tenyson.config.schema import Config

if TYPE_CHECKING:
    from tenyson.config.document import Document
    from tenyson.errors import Problem

_AXIS = re.compile(r"\$\{\s*matrix\.([^{}]*?)\s*\}")


def axis_problems(document: Document) -> Iterator[Problem]:
    """Axes without a dot, which have an effect only where a value refers to them, that no value refers to."""
    used = {name for text in _texts(document.data) for name in _AXIS.findall(text)}
    places = [((), document.data), *steps_of(document)]
    for place, holder in places:
        matrix = holder.get("matrix")
        for axis in matrix if isinstance(matrix, Mapping) else ():
            if "." not in axis and axis not in SHORTHANDS and axis not in used:
                cause = "no value refers to this axis, so no step would differ by it"
                yield document.problem((*place, "matrix", axis), cause, _dotted(axis))


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
    keys = [f"{section}.{name}" for section in Config.model_fields if name in keys_of(section)]
    return f"did you mean {' or '.join(keys)}?" if keys else ""
