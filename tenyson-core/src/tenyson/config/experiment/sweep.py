"""Sweeps, of which a matrix is the only kind: how a file writes one, what can be wrong with it, and the cells it comes to.

Add a further kind of sweep here; a new key for it goes into `schema` as well. How steps multiply by cells is
`tenyson.pipeline.graph.expand`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from tenyson.config.experiment.links import steps_of
from tenyson.config.experiment.lists import some

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath
    from tenyson.config.experiment.schema import ExperimentFile, StepEntry
    from tenyson.errors import Problem

SHORTHANDS = {"seed": "run.seed"}
"""Axes of a matrix, with the key that each sets."""
Axes = Mapping[str, Sequence[Any]]
"""Values by axis: a dotted key, a shorthand, or a name of one's own."""
Cell = Mapping[str, Any]
"""One value by axis."""
_AXIS = re.compile(r"\$\{\s*matrix\.([^{}]*?)\s*\}")
_ANY_VALUES: dict[str, Any] = {"type": "array", "minItems": 1}


@dataclass(frozen=True)
class Sweep:
    """Over which values a preset, or a step of one, is repeated. Each kind of sweep is one field, named as its key."""

    matrix: Axes = field(default_factory=dict)
    """Values by axis: one repetition for each combination. An axis is a dotted key, `seed`, or a name of one's own."""

    @classmethod
    def of(cls, written: ExperimentFile | StepEntry) -> Sweep:
        """The sweep of a file, or of a step in one."""
        return cls(matrix=written.matrix or {})

    def over(self, below: Sweep) -> Sweep:
        """Both; where they have the same axis, the values of this one take precedence."""
        return Sweep(matrix={**below.matrix, **self.matrix})

    def keys(self) -> set[str]:
        """What `key_of` says of every axis."""
        return set(map(key_of, self.matrix))

    def cell_count(self) -> int:
        """How many cells there are. Making them may take more memory than there is: a few axes multiply to many."""
        return math.prod(map(len, self.matrix.values()))

    def cells(self) -> Iterator[Cell]:
        """Every combination of the values."""
        for values in itertools.product(*self.matrix.values()):
            yield dict(zip(self.matrix, values, strict=True))

    def label_of(self, label: str, cell: Cell) -> str:
        """Such as `sft-seed0-learning_rate0.0003`; a value that is no plain text or number goes by its place in the list."""
        parts = [label]
        for axis, value in cell.items():
            plain = isinstance(value, (str, int, float)) and re.fullmatch(r"[A-Za-z0-9._-]{1,24}", str(value))
            place = next(place for place, one in enumerate(self.matrix[axis]) if one is value or one == value)
            parts.append(f"{axis.rpartition('.')[2]}{value if plain else place}")
        return "-".join(parts)


SWEEP_KEYS = tuple(one.name for one in fields(Sweep))
"""Keys of a file, and of a step, that hold a sweep."""


def axis_values(written: Any) -> list[Any]:
    """The values of an axis, as a file gives them. Raises: PydanticCustomError: they are no list of at least one."""
    return some("value")(written)


def key_of(axis: str) -> str:
    """The configuration's dotted key that an axis sets; a name of one's own, without a dot, sets none."""
    return SHORTHANDS.get(axis, axis)


def axis_lines(document: Document, number: int) -> dict[KeyPath, int]:
    """Lines of the axes of the file and of step `number`, by the key that each sets."""
    return {
        tuple(key_of(path[-1]).split(".")): line
        for matrix in (("matrix",), ("steps", str(number), "matrix"))
        for path, line in document.lines.items()
        if path[:-1] == matrix
    }


def axis_problems(document: Document) -> Iterator[Problem]:
    """Axes without a dot, which have an effect only where a value refers to them, that no value refers to.

    Each has the key of the configuration that was probably meant.
    """
    used = {name for text in _texts(document.data) for name in _AXIS.findall(text)}
    places = [((), document.data), *steps_of(document)]
    for place, holder in places:
        matrix = holder.get("matrix")
        for axis in matrix if isinstance(matrix, Mapping) else ():
            if "." not in key_of(axis) and axis not in used:
                cause = "no value refers to this axis, so no step would differ by it"
                yield document.problem((*place, "matrix", axis), cause, _dotted(axis))


def sweep_schemas(keys: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """JSON Schemas by the key of a file, and of a step, that holds the sweep.

    Args:
        keys: `description` and `items` of each key of a configuration, by dotted key.
    """
    axes = {**keys, **{short: keys[key] for short, key in SHORTHANDS.items()}}
    matrix = {
        "title": "Matrix",
        "description": "Lists of values by axis: a dotted key, `seed`, or a name that values use as `${matrix.NAME}`.",
        "type": "object",
        "properties": {key: _ANY_VALUES | axis for key, axis in axes.items()},
        "additionalProperties": _ANY_VALUES | {"description": "Values of an axis."},
    }
    return {"matrix": matrix}


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
    from tenyson.config.experiment.sections import keys_of
    from tenyson.config.schema import Config

    keys = [f"{section}.{name}" for section in Config.model_fields if name in keys_of(section)]
    return f"did you mean {' or '.join(keys)}?" if keys else ""
