"""The cost of a job in words."""

from __future__ import annotations

from tenyson.cloud.backend import Backend, Estimate


def cost_in_words(estimate: Estimate, *, attempts: int = 1, budget: float | None = None) -> str:
    """Such as "nothing" or "$1.21 an hour, at most $29.09"; the worst case is of all `attempts` together, within the budget."""
    if not estimate.per_hour:
        return "nothing"
    if estimate.worst_case is None:
        return f"${estimate.per_hour:.2f} an hour"
    worst = estimate.worst_case * attempts
    times = f" in {attempts} attempts" if attempts > 1 else ""
    if attempts > 1 and budget is not None and worst > budget:
        worst, times = budget, f" in up to {attempts} attempts (budget_usd)"
    return f"${estimate.per_hour:.2f} an hour, at most ${worst:.2f}{times}"


def budget_of(backend: Backend) -> float | None:
    """US dollars that all attempts of a run may cost; None where nothing bounds them."""
    budget: float | None = getattr(backend, "budget_usd", None)
    return budget
