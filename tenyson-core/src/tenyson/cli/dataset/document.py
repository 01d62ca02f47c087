"""The experiment file behind a one-line command: written beside its results, so that the next step is to edit it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenyson.config.yamltext import dump
from tenyson.core.files.atomic import write_text

HEADER = "# Written by: {command}\n# Edit it, and run it with: tenyson run {path}\n"


def write_document(document: Mapping[str, Any], folder: Path, command: str) -> Path:
    """Write the file as `<folder>/<name>.yaml`; under a name with a number where another one of that name exists.

    Raises: OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, number = str(document["name"]), 1
    body = dump(relative(document, folder))
    while True:
        path = folder / (f"{name}.yaml" if number == 1 else f"{name}-{number}.yaml")
        if not path.exists():
            write_text(path, HEADER.format(command=command, path=os.path.relpath(path)) + body)
            return path
        if _body(path) == body:
            return path
        number += 1


def relative(value: Any, folder: Path) -> Any:
    """A value in which paths that exist here hold from the file's folder."""
    if isinstance(value, Mapping):
        return {key: relative(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [relative(item, folder) for item in value]
    if not isinstance(value, LocalPath):
        return value
    return os.path.relpath(value, folder) if not Path(value).is_absolute() else str(value)


class LocalPath(str):
    """A path of this machine, as the user gave it."""

    __slots__ = ()


def _body(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("# "))
