"""The project file, `tenyson.yaml` in the working directory: settings of backends that all runs of a project share.

backend:
  aws: {region: eu-central-1, use_spot: true, bucket: my-bucket/tenyson}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenyson.errors import ConfigError, Problem

NAME = "tenyson.yaml"


def backend_settings(backend: str, folder: Path | None = None) -> dict[str, Any]:
    """What the project file says of a backend; empty without one.

    Raises: ConfigError: it is no YAML, or holds something else than settings of backends.
    """
    path = (folder or Path.cwd()) / NAME
    if not path.is_file():
        return {}
    from tenyson.config.reading import read_document

    data = read_document(path).data
    unknown = [key for key in data if key != "backend"] if isinstance(data, dict) else ["the whole file"]
    backends = data.get("backend") or {} if not unknown else {}
    wrong = not isinstance(backends, dict) or any(not isinstance(one, dict) for one in backends.values())
    if unknown or wrong:
        problems = [
            Problem(
                "unknown key",
                key=str(key),
                file=str(path),
                suggestion="it holds `backend:`, with a section for each backend",
            )
            for key in unknown
        ]
        if wrong:
            problems.append(
                Problem("a section of settings for each backend is expected", key="backend", file=str(path))
            )
        raise ConfigError(problems)
    return dict(backends.get(backend) or {})
