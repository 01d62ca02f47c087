"""`shared` and `config` of an experiment file: mappings of the configuration's sections, which are mappings in turn.

Checked before they are merged: merging would replace a wrong value by a right one of another step, and hide it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tenyson.config.document import describe
from tenyson.config.experiment.links import steps_of
from tenyson.config.schema import Config
from tenyson.config.unset import UNSET

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath
    from tenyson.errors import Problem


def section_problems(document: Document) -> Iterator[Problem]:
    """Sections of `shared` and of the steps that are something else than mappings."""
    shared = document.data.get("shared")
    yield from _not_mappings(document, ("shared",), shared)
    for place, step in steps_of(document):
        config = step.get("config")
        yield from _not_mappings(document, (*place, "config"), config)
        yield from _replaced(document, shared, config)


def keys_of(section: str) -> Iterable[str]:
    """The keys that a section of the configuration has; none for one that is passed on verbatim, or unknown."""
    known = Config.model_fields.get(section)
    return getattr(known.annotation, "model_fields", {}) if known else {}


def _not_mappings(document: Document, place: KeyPath, config: Any) -> Iterator[Problem]:
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if name not in Config.model_fields or value is None or value == UNSET or isinstance(value, Mapping):
            continue
        keys = keys_of(name)
        hint = f"write {name}: {{name: {value}}}" if "name" in keys and isinstance(value, str) else ""
        if isinstance(value, str) and "name" not in keys:
            hint = f"it has {', '.join(keys)}" if keys else ""
        yield document.problem((*place, name), f"expected a mapping, not {describe(value)}", hint)


def _replaced(document: Document, shared: Any, config: Any) -> Iterator[Problem]:
    """Values of `shared` that a step would replace by a mapping, so that nobody would see that they are wrong."""
    if not (isinstance(shared, Mapping) and isinstance(config, Mapping)):
        return
    for section, values in config.items():
        below = shared.get(section)
        if not isinstance(values, Mapping) or not isinstance(below, Mapping):
            continue
        for key, value in values.items():
            under = below.get(key)
            if (
                key in keys_of(section)
                and isinstance(value, Mapping)
                and not isinstance(under, Mapping | None)
            ):
                place = ("shared", section, key)
                yield document.problem(place, f"expected a mapping, as in a step, not {describe(under)}")
