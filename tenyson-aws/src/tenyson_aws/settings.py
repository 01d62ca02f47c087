"""Settings of the AWS backend: `backend.settings` of a configuration, `aws:` of a project file, arguments of AWSManager."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tenyson.cloud.remote.ssh.settings import SSHSettings


def _instance_type(value: str) -> str:
    import re

    if not re.fullmatch(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", value):
        raise ValueError('not an instance type, such as "g5.2xlarge"')
    return value


InstanceType = Annotated[str, AfterValidator(_instance_type)]


class AWSSettings(SSHSettings):
    """Which machine, how to reach it, and when it must end."""

    instance_type: InstanceType = "g5.2xlarge"
    """EC2 instance type that is tried first."""
    instance_types: list[InstanceType] = Field(default_factory=list)
    """Further types, taken where the first has no room."""
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    """In place of types: any type that Tenyson knows with a GPU of at least so much memory, the cheapest first."""
    region: str | None = None
    """AWS region; by default that of your AWS profile."""
    zones: list[str] = Field(default_factory=list)
    """Availability zones; by default all of the region."""
    subnet_id: str | None = Field(default=None, pattern=r"^subnet-\S+$")
    """Subnet; by default the default subnet of each zone."""
    use_spot: bool = False
    """Use a spot instance: cheaper, but AWS may preempt it."""
    spot_max_price: float | None = Field(default=None, gt=0)
    """US dollars per hour; AWS advises to set none, since a limit leads to more interruptions."""
    on_demand_fallback: bool = False
    """Use an on-demand instance if no zone has spot capacity."""
    key_name: str | None = None
    """Name of the EC2 key pair; with neither name nor path, a pair is created and kept in ~/.tenyson/aws."""
    key_path: str | None = None
    """File of the private key of `key_name`; ~ is your home."""
    security_group: str | None = Field(default=None, pattern=r"^sg-\S+$")
    """Id of a security group that admits SSH from here; by default one is created for your present address."""
    ssh_from: str | None = Field(default=None, pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")
    """Addresses (CIDR) that a security group created here admits; by default your present address."""
    image_id: str | None = Field(default=None, pattern=r"^ami-\S+$")
    """Machine image; by default the region's current deep-learning image."""
    disk_gb: int = Field(default=200, gt=0)
    """Size of the root disk in GB (gp3, encrypted)."""
    instance_profile: str | None = None
    """Name of an IAM instance profile, which the machine needs to use `bucket`."""
    bucket: str | None = Field(default=None, pattern=r"^(?:s3://)?[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/.*)?$")
    """S3 bucket, or bucket/prefix, for checkpoints while the job runs and for everything at its end."""
    sync_checkpoints: bool = True
    """Whether checkpoints are synced here while the job runs; not needed with a `bucket`."""
    private_address: bool = False
    """Connect to the machine's private address, for example from within the VPC."""
    ssh_proxy: list[str] = Field(default_factory=list)
    """A proxy command for the SSH connection, such as Session Manager's; {instance} and {port} are filled in."""
