"""Names: by which apps, files and entries of an attempt are found again."""

from __future__ import annotations

import hashlib
import re

PREFIX = "tenyson-"
RUN, ATTEMPT, OWNER = "tenyson-run", "tenyson-attempt", "tenyson-owner"
"""Tags of an app."""
INTERNAL = ".tenyson"
"""In a run's folder of the volume: what is not the job's own."""
INPUTS = "baggage"
"""In an attempt's folder there: its input files. Earlier releases wrote the name, and it is read and removed by it."""
MOUNT = "/tenyson-volume"
"""Where the volume is in the container."""
NAME_CHARACTERS = 64


def attempt_key(token: str) -> str:
    """Names an attempt in paths and apps; equal for equal tokens."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def app_name(run_id: str, token: str) -> str:
    """Of the app of an attempt."""
    run = re.sub(r"[^A-Za-z0-9._-]", "-", run_id)[: NAME_CHARACTERS - len(PREFIX) - 17]
    return f"{PREFIX}{run}-{attempt_key(token)}"


def control_name(volume: str) -> str:
    """Of the Dict that goes with a volume: who works on an attempt, and what is asked of it."""
    return f"{volume[: NAME_CHARACTERS - 8]}-control"


def tag_value(text: str) -> str:
    """As Modal takes values of tags."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63] or "-"
