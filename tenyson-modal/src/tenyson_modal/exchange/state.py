"""The state that a container writes into the volume, as far as the controller uses it."""

from __future__ import annotations

from typing import Any

from tenyson.cloud.remote.outputs import (
    MOST_NUMBER,
    OddAnswerError,
    is_integer,
    lost_of,
    process_of,
)

STATES = ("running", "preempted", "continued", "ended")


def checked(data: Any) -> dict[str, Any]:
    """With nothing in it but what it should hold; files and sums are checked as they are taken. Raises: OddAnswerError."""
    if not isinstance(data, dict) or data.get("state") not in STATES:
        raise OddAnswerError("the container's state is none that there is")
    starts = data.get("starts")
    life, time = data.get("life"), data.get("time")
    return {
        "state": data["state"],
        "files": data.get("files"),
        "sums": data.get("sums"),
        "exit": data.get("exit"),
        "job": None if data.get("job") is None else process_of(data["job"]),
        "lost": lost_of(data.get("lost")),
        "life": life if is_integer(life, 0, 1 << 31) else 0,
        "time": time if isinstance(time, (int, float)) and 0 <= time < 1e11 else 0.0,
        "starts": {
            path: start
            for path, start in (starts.items() if isinstance(starts, dict) else ())
            if is_integer(start, 0, MOST_NUMBER)
        },
    }
