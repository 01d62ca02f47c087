"""The time slice: how long one container works on a job before it saves and leaves the rest to another one."""

from __future__ import annotations

import math


def saving_seconds(timeout: float) -> float:
    """Of a container's time, for saving, copying and committing; a short time, as in a trial, leaves less."""
    return min(300.0, timeout / 4)


def containers(seconds: float, timeout: float) -> int:
    """How many containers after one another work for so long."""
    return max(1, math.ceil(seconds / (timeout - saving_seconds(timeout))))


def longest_hours(count: int, timeout: float) -> float:
    """For how long so many of them work, rounded down to a hundredth of an hour."""
    return math.floor(count * (timeout - saving_seconds(timeout)) / 36) / 100


def shortest_timeout(seconds: float, count: int) -> int:
    """The time in seconds that each of so many containers must have to work for so long together."""
    each = seconds / count
    return math.ceil(each + min(300.0, each / 3))
