"""The Modal backend. This version knows its settings; launching functions comes with a later one."""

# The protocol names the arguments; a backend that refuses reads none of them.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from tenyson.cloud.backend import Estimate, Handle, Observation
from tenyson.cloud.settings import check_settings
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec
from tenyson_modal.settings import ModalSettings


class ModalBackend:
    """Follows `tenyson.cloud.backend.Backend`.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    name = "modal"

    def __init__(self, **settings: Any) -> None:
        self.settings = check_settings(ModalSettings, settings)

    def validate(self, spec: JobSpec) -> None:
        """Refuses, since this version cannot launch."""
        _not_yet()

    def estimate(self, spec: JobSpec) -> Estimate:
        """Refuses: a price that is not looked up would be a guess."""
        _not_yet()

    def submit(self, spec: JobSpec) -> Handle:
        """Refuses."""
        _not_yet()

    def poll(self, handle: Handle) -> Observation:
        """Refuses."""
        _not_yet()

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """Refuses."""
        _not_yet()

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """Refuses."""
        _not_yet()

    def release(self, handle: Handle) -> None:
        """Refuses."""
        _not_yet()

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """Refuses."""
        _not_yet()

    def terminate(self, handle: Handle) -> None:
        """Refuses."""
        _not_yet()

    def reattach(self, run_id: str) -> Handle | None:
        """Nothing was ever launched."""
        return None

    def list(self) -> list[Handle]:
        """Nothing was ever launched."""
        return []


def _not_yet() -> NoReturn:
    raise BackendError(
        "launching on Modal comes with a later version of tenyson-modal; nothing was started",
        next_step="Run on this machine instead: --backend local, or LocalManager from tenyson.cloud.local.",
    )
