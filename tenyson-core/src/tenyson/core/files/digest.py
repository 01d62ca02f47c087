"""SHA-256 of a file."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path


def file_sha256(path: Path) -> str:
    """The digest of a file's contents, in hexadecimal. Raises: OSError: it cannot be read."""
    if not path.stat().st_size:
        return hashlib.sha256().hexdigest()
    # In one call: between two, a thread waits for the interpreter, which a training thread may hold for milliseconds.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()
