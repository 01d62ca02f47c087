"""ModalManager: runs jobs as calls of Modal functions."""

from __future__ import annotations

from typing import Any

from tenyson.cloud.manager import CloudManager
from tenyson.cloud.watch.follow import Follower
from tenyson_modal.backend import ModalBackend


class ModalManager(CloudManager):
    """`ModalManager(gpu="H100").run(job) -> JobResult`.

    Args:
        gpu: see `ModalSettings`; a list is a choice and its fallbacks.
        timeout: seconds of one container; a job that needs longer continues in another one, up to `max_hours`.
        follower: what shows a job's progress; plain lines on stderr by default.
        grace_seconds: how long an interrupted job may take to save before it is ended; by default twice as long as its steps take, at
            least two minutes.
        max_preemptions: further attempts, each from the latest checkpoint, after Modal took containers away more often than
            `preemptions` allows within one attempt.
        more: further fields of `ModalSettings`.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    def __init__(
        self,
        gpu: str | list[str] | None = "A10G",
        timeout: int = 86400,
        *,
        follower: Follower | None = None,
        grace_seconds: float | None = None,
        max_preemptions: int = 0,
        **more: Any,
    ) -> None:
        super().__init__(
            ModalBackend(gpu=gpu, timeout=timeout, **more),
            follower=follower,
            grace_seconds=grace_seconds,
            max_preemptions=max_preemptions,
        )
