"""Clients of AWS: credentials and region as boto3 finds them; one client that retries, and one for launches that does not."""

from __future__ import annotations

from typing import Any

from tenyson_aws.api.failures import AWSError, explained

TIMEOUTS = {"connect_timeout": 10, "read_timeout": 30}


class Clients:
    """Makes clients when they are first asked for. Raises: AWSError: there is no region, or no such profile."""

    def __init__(self, region: str | None) -> None:
        self._asked = region
        self._session: Any = None
        self._made: dict[tuple[str, str], Any] = {}

    @property
    def region(self) -> str:
        """The region in use."""
        return str(self.ec2.meta.region_name)

    @property
    def ec2(self) -> Any:
        """EC2, with boto3's standard retries."""
        return self.make("ec2", retries={"mode": "standard", "total_max_attempts": 5})

    @property
    def launcher(self) -> Any:
        """EC2 without retries: boto3 would repeat a launch that failed for want of capacity."""
        return self.make("ec2", retries={"mode": "standard", "total_max_attempts": 1})

    def make(self, service: str, *, region: str | None = None, **config: Any) -> Any:
        """A client of any service."""
        key = (service, repr((region, config)))
        if key not in self._made:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError

            try:
                self._session = self._session or boto3.Session(region_name=self._asked)
                if self._session.region_name is None and region is None:
                    raise AWSError(
                        "no AWS region is set",
                        "configuration",
                        next_step="Set backend.settings.region, AWS_DEFAULT_REGION, or one in ~/.aws/config.",
                    )
                self._made[key] = self._session.client(
                    service, region_name=region, config=Config(**TIMEOUTS, **config)
                )
            except BotoCoreError as error:
                raise explained(error, f"cannot reach AWS's {service}") from error
        return self._made[key]
