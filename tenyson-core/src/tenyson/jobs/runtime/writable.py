"""Whether a folder can be made and written: tried before anything starts, since permissions alone do not say it."""

from __future__ import annotations

import os
from pathlib import Path

from tenyson.errors import ConfigError, Problem


def check_output_dir(path: str | Path) -> None:
    """Make a folder as a run will, and remove what was made. Raises: ConfigError: it cannot be made or written."""
    folder = Path(path)
    made: list[Path] = []
    try:
        # From the top, so that what was made by then is removed if a later one cannot be.
        for part in reversed([folder, *folder.parents]):
            if not part.exists():
                part.mkdir()
                made.append(part)
        if not folder.is_dir():
            raise NotADirectoryError(20, "it is a file")
        if not os.access(folder, os.W_OK | os.X_OK):
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
    finally:
        for part in reversed(made):
            part.rmdir()
