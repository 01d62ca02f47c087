"""The cost of a job in words."""

from __future__ import annotations

from tenyson.cloud.backend import Estimate


def cost_in_words(estimate: Estimate, *, attempts: int = 1) -> str:
    """Such as "nothing" or "$1.21 an hour, at most $29.09"; the worst case is of all `attempts` together."""
    if not estimate.per_hour:
        return "nothing"
    if estimate.worst_case is None:
        return f"${estimate.per_hour:.2f} an hour"
    times = f" in {attempts} attempts" if attempts > 1 else ""
    return f"${estimate.per_hour:.2f} an hour, at most ${estimate.worst_case * attempts:.2f}{times}"
