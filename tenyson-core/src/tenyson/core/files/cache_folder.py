"""The cache: what is kept for later starts on this machine and can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Its folder; TENYSON_CACHE sets it."""
    return Path(os.environ.get("TENYSON_CACHE", "~/.cache/tenyson")).expanduser()
