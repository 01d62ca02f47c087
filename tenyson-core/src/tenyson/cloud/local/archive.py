"""Earlier attempts: before a job starts again in its folder, what the last attempt left moves aside; nothing is lost."""

from __future__ import annotations

from pathlib import Path

from tenyson.core.run_folder import (
    CANCEL,
    CHECKPOINTS,
    CONTROL,
    CONTROL_READ,
    CONTROLLER,
    EXIT_STATUS,
    JOB_RESULT,
    PROCESS,
    RESULTS,
    SPOT_NOTICE,
    STOPPED,
    TERMINATED,
)  # fmt: skip

EARLIER = "earlier"
_OF_ONE_ATTEMPT = (
    JOB_RESULT, RESULTS, EXIT_STATUS, PROCESS, CANCEL, TERMINATED, STOPPED, SPOT_NOTICE, CONTROL, CONTROL_READ,
    CONTROLLER,
)  # fmt: skip
"""Files that must never count as the new attempt's, even if it resumes from the old one's checkpoints."""
_SIGNS_OF_A_JOB = (PROCESS, CONTROLLER, JOB_RESULT, CHECKPOINTS)


def archive_attempt(folder: Path, *, resumed: bool) -> Path | None:
    """Move the last attempt's files to <folder>/earlier/<n>/; return that folder, or None if there was no attempt.

    A resumed job keeps its checkpoints, logs and telemetry in place; one that starts from scratch starts empty.
    """
    if not any((folder / name).exists() for name in _SIGNS_OF_A_JOB):
        return None
    names = _OF_ONE_ATTEMPT if resumed else tuple(sorted(path.name for path in folder.iterdir()))
    # The controller's records belong to an attempt. Other hidden files are locks, which are held, and what a backend
    # keeps of attempts itself.
    moving = [
        folder / name
        for name in names
        if name != EARLIER and (name == CONTROLLER or not name.startswith(".")) and (folder / name).exists()
    ]
    if not moving:
        return None
    earlier = folder / EARLIER
    earlier.mkdir(exist_ok=True)
    taken = [int(path.name) for path in earlier.iterdir() if path.name.isdigit()]
    attempt = earlier / str(max(taken, default=0) + 1)
    attempt.mkdir()
    for path in moving:
        path.rename(attempt / path.name)
    return attempt
