"""Whether a folder can be made and written: tried before anything starts, since permissions alone do not say it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tenyson.errors import ConfigError, Problem


def check_output_dir(path: str | Path) -> None:
    """Try to make a folder as a run will. Raises: ConfigError: it cannot be made or written.

    The folder itself is left alone, since another process may be about to use it: what is missing of the path is made, and
    removed, within a folder of a name of its own.
    """
    folder = Path(path)
    try:
        there = next(part for part in (folder, *folder.parents) if part.exists())
        if not there.is_dir():
            raise NotADirectoryError(20, "it is a file" if there == folder else f"{there} is a file")
        if there != folder:
            with tempfile.TemporaryDirectory(prefix=".tenyson-", dir=there) as tried:
                Path(tried, folder.relative_to(there)).mkdir(parents=True)
        elif not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "it cannot be written")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError(
            [
                Problem(
                    f"the output folder {str(folder)!r:.200} cannot be used: {reason}", key="run.output_dir"
                )
            ],
            next_step="Choose another by --output-dir, or run.output_dir in the file.",
        ) from None
