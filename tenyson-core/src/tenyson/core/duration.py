"""Durations for people."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Such as "8.2 s", "3 min 05 s" or "2 h 10 min"; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else _hours(minutes)


def round_duration(seconds: float) -> str:
    """For estimates, such as "23 s", "13 min" or "2 h 10 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else _hours(minutes)


def _hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60:02d} min"
