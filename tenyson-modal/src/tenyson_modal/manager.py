"""ModalManager: runs jobs as Modal functions."""

from __future__ import annotations

from typing import Any

from tenyson.cloud.follow import Follower
from tenyson.cloud.manager import CloudManager
from tenyson_modal.backend import ModalBackend


class ModalManager(CloudManager):
    """`ModalManager(gpu="H100").run(job) -> JobResult`.

    Args:
        gpu, timeout: see `ModalSettings`.
        follower: what shows a job's progress; plain lines on stderr by default.
        grace_seconds: how long an interrupted job may take to save before it is ended.
        more: further fields of `ModalSettings`.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    def __init__(
        self,
        gpu: str | None = "A10G",
        timeout: int = 86400,
        *,
        follower: Follower | None = None,
        grace_seconds: float = 120.0,
        **more: Any,
    ) -> None:
        super().__init__(
            ModalBackend(gpu=gpu, timeout=timeout, **more), follower=follower, grace_seconds=grace_seconds
        )
