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
            summary="AWS EC2, on demand or spot: one machine for each job, given back after it",
            load="tenyson_aws.backend:AWSBackend",
            settings="tenyson_aws.settings:AWSSettings",
        )
    ]
