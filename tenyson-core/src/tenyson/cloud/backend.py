"""Backend: the small protocol on which every place to run stands. `CloudManager.run` is built over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tenyson.core.stdio import say
from tenyson.jobs.spec import JobSpec

Phase = Literal["pending", "running", "ended", "unknown"]
Reason = Literal[
    "user_error",
    "out_of_memory",
    "killed",
    "timeout",
    "preempted",
    "capacity",
    "quota",
    "auth",
    "throttled",
    "lost",
    "infrastructure",
]


@dataclass(frozen=True)
class Handle:
    """How to find a job again, from any process. JSON-safe, versioned, free of secrets."""

    backend: str
    """Name of the backend."""
    run_id: str
    """The run."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the backend itself needs, such as a process id and its start time."""
    version: int = 1
    """Of this format."""


@dataclass(frozen=True)
class Estimate:
    """What a job would cost."""

    per_hour: float
    """US dollars; 0 for a machine one already has."""
    worst_case: float | None
    """US dollars at most; None where nothing bounds it."""
    note: str
    """In words, with the date of the price."""


@dataclass(frozen=True)
class Observation:
    """What is known about a job now."""

    phase: Phase
    """pending, running, ended, or unknown."""
    observed: bool
    """False: the provider could not be reached, so `phase` is what was known before. Unreachable is not dead."""
    exit_code: int | None = None
    """Exit status; negative for a signal."""
    reason: Reason | None = None
    """Why it failed, once ended."""
    preempted: bool = False
    """Whether the provider took the machine away."""
    detail: str = ""
    """The reason in words, for a person."""


class Backend(Protocol):
    """Where a job runs. A class registered by `tenyson_backends` is built as `Backend(**settings)`.

    Derive from `BaseBackend`, which declares what else a backend may have. A class that only has these methods works too.
    """

    name: str
    """What users type after `--backend`."""

    def validate(self, spec: JobSpec) -> None:
        """Find what would fail, without spending. Raises: BackendError, MissingDependencyError."""

    def estimate(self, spec: JobSpec) -> Estimate:
        """Price and worst case."""

    def submit(self, spec: JobSpec) -> Handle:
        """Start the job. Called again with the same `spec.token` it returns the same job, even one that has ended.

        Raises: BackendError: it cannot be started, or a later attempt took the place of this one.
        """

    def poll(self, handle: Handle) -> Observation:
        """Poll once. Does not raise when the provider is away: `observed` is False then."""

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """What was logged since `cursor` (a byte offset), as (next cursor, bytes); ends when nothing more is there now."""

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """Bring outputs here, verified; legal while the job runs, and cheap when nothing changed."""

    def release(self, handle: Handle) -> None:
        """The outputs are here: give back what was rented for the job, and see that it is gone. Raises: BackendError."""

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """Ask the job to save and end; end it after the grace."""

    def terminate(self, handle: Handle) -> None:
        """End it now, for sure. Called twice it does no harm."""

    def reattach(self, run_id: str) -> Handle | None:
        """Find a job by its run id alone."""

    def list(self) -> list[Handle]:
        """All jobs of this backend that can be found."""


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


class BaseBackend(Backend):
    """The base of a backend: its optional attributes with their defaults. A class attribute or a property replaces one."""

    rented: bool = False
    """Whether its machines are rented for a job and cost until they are given back: Ctrl-C leaves the job running."""
    settings: dict[str, Any] | None = None
    """What builds it again, so that `tenyson attach` can continue what a script began; None where nothing does."""
    budget_usd: float | None = None
    """US dollars that all attempts of a run may cost; it refuses an attempt that could cost more."""
    say: Callable[[str], None] = staticmethod(say)
    """Prints a line for whoever watches; replaced by the function of the progress display."""

    def close(self) -> None:
        """Let go of threads and connections; jobs keep running."""
