"""Places: on which line of an experiment file each key of a step's configuration is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenyson.config.experiment.sweep import axis_lines

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath


def places_of(document: Document, number: int) -> dict[KeyPath, int]:
    """Lines by key of step `number`'s configuration: those of `shared`, overridden by its own and by its axes."""
    own = ("steps", str(number), "config")
    written = {
        path[len(prefix) :]: line
        for prefix in (("shared",), own)
        for path, line in document.lines.items()
        if path[: len(prefix)] == prefix and len(path) > len(prefix)
    }
    return written | axis_lines(document, number)
