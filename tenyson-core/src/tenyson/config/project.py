"""The project file, `tenyson.yaml` in the working directory: settings of backends that all runs of a project share.

backend:
  aws: {region: eu-central-1, use_spot: true, bucket: my-bucket/tenyson}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenyson.config.document import Document, describe
from tenyson.config.reading import read_document
from tenyson.errors import ConfigError, Problem

NAME = "tenyson.yaml"


def backend_settings(backend: str, folder: Path | None = None) -> dict[str, Any]:
    """What the project file says of a backend; empty without one.

    Raises: ConfigError: it is no YAML, or holds something else than settings of backends.
    """
    return settings_document(backend, folder).data


def backend_sections(folder: Path | None = None) -> dict[str, Problem]:
    """Each backend that the project file has a section for, with what to say where there is no such backend."""
    path = (folder or Path.cwd()) / NAME
    document = read_document(path) if path.is_file() else Document(str(path), {})
    sections = document.data.get("backend")
    names = sections if isinstance(sections, dict) else {}
    return {
        name: document.problem(("backend", name), f"there is no backend named {name!r}") for name in names
    }


def settings_document(backend: str, folder: Path | None = None) -> Document:
    """As `backend_settings`, with the lines of the settings."""
    path = (folder or Path.cwd()) / NAME
    if not path.is_file():
        return Document(str(path), {})
    document = read_document(path)
    problems = [*document.problems]
    problems += [
        document.problem((key,), "unknown key", "it holds `backend:`, with a section for each backend")
        for key in document.data
        if key != "backend"
    ]
    backends = document.data.get("backend") or {}
    if not isinstance(backends, dict):
        cause = f"expected a section of settings for each backend, not {describe(backends)}"
        raise ConfigError([*problems, document.problem(("backend",), cause)])
    problems += [
        document.problem(("backend", name), f"expected a mapping of settings, not {describe(one)}")
        for name, one in backends.items()
        if not isinstance(one, dict | None)
    ]
    if problems:
        raise ConfigError(problems)
    prefix = ("backend", backend)
    lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == prefix and path[2:]}
    return Document(document.file, dict(backends.get(backend) or {}), lines)
