"""AWSManager: runs jobs on EC2 instances."""

from __future__ import annotations

from typing import Any

from tenyson.cloud.manager import CloudManager
from tenyson.cloud.watch.follow import Follower
from tenyson_aws.backend import AWSBackend


class AWSManager(CloudManager):
    """`AWSManager(instance_type="g5.2xlarge", ...).run(job) -> JobResult`.

    Args:
        instance_type, key_name, key_path, security_group, use_spot, spot_max_price, region: see `AWSSettings`.
        follower: what shows a job's progress; plain lines on stderr by default.
        grace_seconds: how long an interrupted job may take to save before it is ended; by default twice as long as its steps take, at
            least two minutes.
        max_preemptions: further attempts, each on another machine and from the latest checkpoint, after AWS took one back.
        more: further fields of `AWSSettings`.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    def __init__(
        self,
        instance_type: str = "g5.2xlarge",
        key_name: str | None = None,
        key_path: str | None = None,
        security_group: str | None = None,
        *,
        use_spot: bool = False,
        spot_max_price: float | None = None,
        region: str | None = None,
        follower: Follower | None = None,
        grace_seconds: float | None = None,
        max_preemptions: int = 0,
        **more: Any,
    ) -> None:
        backend = AWSBackend(
            instance_type=instance_type,
            key_name=key_name,
            key_path=key_path,
            security_group=security_group,
            use_spot=use_spot,
            spot_max_price=spot_max_price,
            region=region,
            **more,
        )
        super().__init__(
            backend, follower=follower, grace_seconds=grace_seconds, max_preemptions=max_preemptions
        )
