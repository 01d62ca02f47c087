"""Models that are built on this machine: kept in the cache by what they are made of, and never half written."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenyson.core.files.cache_folder import cache_folder


def built_model(recipe: Any, write: Callable[[Path], None]) -> str:
    """The directory that `write` has filled for a recipe (plain data), now or earlier."""
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    final = cache_folder() / "models" / key
    if final.is_dir():
        return str(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=final.parent))
    try:
        write(draft)
        draft.rename(final)
    except OSError:
        # Another process built the same model first; any other trouble with the disk is real.
        if not final.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return str(final)
