"""The version of the telemetry schema that this release reads and writes: that of its newest migration."""

from __future__ import annotations

from pathlib import Path

_VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"

HEAD = max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))
