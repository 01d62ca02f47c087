"""Where a database is, said so that it means the same from any folder."""

from __future__ import annotations

import re
from pathlib import Path

_RELATIVE = re.compile(r"(sqlite(?:\+\w+)?:///(?:file:)?)(?!/|file:)([^?]+)(.*)", re.DOTALL)


def absolute_url(db_url: str) -> str:
    """The same URL; where it names an SQLite file by a path from the current folder, by the whole path."""
    match = _RELATIVE.fullmatch(db_url)
    if match is None or match[2] == ":memory:":
        return db_url
    return f"{match[1]}{Path(match[2]).absolute()}{match[3]}"
