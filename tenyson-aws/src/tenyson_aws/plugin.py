"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import BackendEntry, hookimpl


@hookimpl
def tenyson_backends() -> Iterable[BackendEntry]:
    """EC2, on demand or spot."""
    return [
        BackendEntry(
            name="aws",
            summary="AWS EC2, on demand or spot (launching comes with a later version)",
            load="tenyson_aws.backend:AWSBackend",
            settings="tenyson_aws.settings:AWSSettings",
        )
    ]
