"""Atomic writes: a reader sees the file as it was or as it is, never half of it."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace `path` in one move, whoever else does so at the same moment.

    Args:
        durable: force the text and the name to the disk, for what must survive a loss of power.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    # Files named *.tmp are never taken for outputs of a job. Each writer has a draft of its own: a controller that was
    # suspended and the one that took its place write the same results.
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def write_json(path: Path, data: Any, *, indent: int | None = None, durable: bool = False) -> None:
    """Replace `path` by one line of JSON. For data that may hold NaN see `tenyson.telemetry.events.strict_json`.

    Raises:
        OSError: as for `write_text`.
    """
    write_text(path, json.dumps(data, indent=indent) + "\n", durable=durable)


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
