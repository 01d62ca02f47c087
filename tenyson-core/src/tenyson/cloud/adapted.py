"""Adapted: a backend whose class derives from nothing, with the defaults of BaseBackend for what it lacks.

Wherever a backend comes in from outside it passes here once; behind that, its optional attributes exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import Backend, BaseBackend, Estimate, Handle, Observation
from tenyson.jobs.spec import JobSpec


def adapted(backend: Backend) -> BaseBackend:
    """The backend itself, where its class derives from BaseBackend."""
    return backend if isinstance(backend, BaseBackend) else AdaptedBackend(backend)


def is_rented(backend_class: Any) -> bool:
    """Whether machines of a class are rented for a job, before one is built with its settings."""
    return bool(getattr(backend_class, "rented", BaseBackend.rented))


class AdaptedBackend(BaseBackend):
    """Passes everything on to `inner`."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.name = inner.name
        self.rented = is_rented(inner)

    @property
    def settings(self) -> dict[str, Any] | None:  # type: ignore[override]
        """Read each time, since a backend may compute it."""
        return getattr(self.inner, "settings", BaseBackend.settings)

    @property
    def budget_usd(self) -> float | None:  # type: ignore[override]
        """See `settings`."""
        return getattr(self.inner, "budget_usd", BaseBackend.budget_usd)

    @property
    def say(self) -> Callable[[str], None]:
        """Where its own lines go."""
        return getattr(self.inner, "say", BaseBackend.say)

    @say.setter
    def say(self, say: Callable[[str], None]) -> None:
        if hasattr(self.inner, "say"):
            self.inner.say = say

    def close(self) -> None:
        """Where it has something to let go of."""
        if close := getattr(self.inner, "close", None):
            close()

    def validate(self, spec: JobSpec) -> None:
        """As `inner`; so are all below."""
        self.inner.validate(spec)

    def estimate(self, spec: JobSpec) -> Estimate:
        """See `validate`."""
        return self.inner.estimate(spec)

    def submit(self, spec: JobSpec) -> Handle:
        """See `validate`."""
        return self.inner.submit(spec)

    def poll(self, handle: Handle) -> Observation:
        """See `validate`."""
        return self.inner.poll(handle)

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """See `validate`."""
        return self.inner.stream_logs(handle, cursor)

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """See `validate`."""
        self.inner.fetch_outputs(handle, to)

    def release(self, handle: Handle) -> None:
        """See `validate`."""
        self.inner.release(handle)

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """See `validate`."""
        self.inner.cancel(handle, grace_seconds)

    def terminate(self, handle: Handle) -> None:
        """See `validate`."""
        self.inner.terminate(handle)

    def reattach(self, run_id: str) -> Handle | None:
        """See `validate`."""
        return self.inner.reattach(run_id)

    def list(self) -> list[Handle]:
        """See `validate`."""
        return self.inner.list()
