"""Settings of the AWS backend: `backend.settings` of a configuration, `aws:` of a project file, arguments of AWSManager."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tenyson.config.schema import VariableName


def _instance_type(value: str) -> str:
    import re

    if not re.fullmatch(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", value):
        raise ValueError('not an instance type, such as "g5.2xlarge"')
    return value


InstanceType = Annotated[str, AfterValidator(_instance_type)]


class AWSSettings(BaseModel):
    """Which machine, how to reach it, and when it must end."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    instance_type: InstanceType = "g5.2xlarge"
    """EC2 instance type that is tried first."""
    instance_types: list[InstanceType] = []
    """Further types, taken where the first has no room."""
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    """In place of types: any type that Tenyson knows with a GPU of at least so much memory, the cheapest first."""
    region: str | None = None
    """AWS region; that of your AWS profile where it is not given."""
    zones: list[str] = []
    """Availability zones; all of the region where none is given."""
    subnet_id: str | None = Field(default=None, pattern=r"^subnet-\S+$")
    """Subnet; none takes the default one of each zone."""
    use_spot: bool = False
    """Take a spot instance: cheaper, and AWS may take it back."""
    spot_max_price: float | None = Field(default=None, gt=0)
    """US dollars an hour; none is what AWS advises, since a limit leads to more interruptions."""
    on_demand_fallback: bool = False
    """Take an instance on demand where there is no spot capacity anywhere."""
    key_name: str | None = None
    """Name of the EC2 key pair; with neither name nor path, a pair is made and kept in ~/.tenyson/aws."""
    key_path: str | None = None
    """File of the private key that belongs to `key_name`; ~ is your home."""
    security_group: str | None = Field(default=None, pattern=r"^sg-\S+$")
    """Id of a security group that lets SSH in from here; none makes one for your present address."""
    ssh_from: str | None = Field(default=None, pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")
    """Addresses (CIDR) that a security group made here lets in; none takes the one that you are seen with."""
    image_id: str | None = Field(default=None, pattern=r"^ami-\S+$")
    """Machine image; none takes the current deep-learning image of the region."""
    user: str = "ubuntu"
    """Who logs in; must be root, or be allowed sudo without a password."""
    disk_gb: int = Field(default=200, gt=0)
    """Size of the root disk in GB (gp3, encrypted)."""
    instance_profile: str | None = None
    """Name of an IAM instance profile, which the machine needs to use `bucket`."""
    bucket: str | None = Field(default=None, pattern=r"^(?:s3://)?[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/.*)?$")
    """S3 bucket, or bucket/prefix, that gets checkpoints while the job runs, and everything at its end."""
    max_hours: float = Field(default=24.0, gt=0, le=24 * 30)
    """The machine ends itself after so many hours, whatever happens."""
    idle_minutes: float = Field(default=60.0, gt=0)
    """The machine ends itself after so many minutes without a job and without a visit: so long a job's outputs wait for you."""
    lease_hours: float | None = Field(default=None, gt=0)
    """A job that nobody looked after for so long saves and ends; none lets it go on, as for a laptop that sleeps."""
    boot_minutes: float = Field(default=15.0, gt=0)
    """A machine that cannot be reached for so long after its launch is given back."""
    budget_usd: float | None = Field(default=None, gt=0)
    """US dollars for all attempts of a run: none is launched that could bring them above this (price x max_hours, and what earlier ones took)."""
    forward_env: list[VariableName] = []
    """NAMES of further environment variables that the job gets; those of `hub` and `wandb` it gets anyhow."""
    direct_database: bool = False
    """Whether the job writes to `telemetry.db_url` itself, as to a PostgreSQL that it reaches; else it goes through here."""
    sync_checkpoints: bool = True
    """Whether checkpoints come here while the job runs; not needed with a `bucket`."""
    extras: list[str] = []
    """Extras of tenyson-core for the machine, beside those that the configuration needs."""
    python: str = "3.12"
    """Python of the job's environment; uv fetches it where the image has none."""
    image_packages: str | None = None
    """A Python of the image whose packages the job may use, such as /opt/pytorch/bin/python; none installs all from PyPI."""
    runner: list[str] = []
    """The command that takes the runner's flags, as for a wrapper such as torchrun; {python} is the environment's. None is
    `{python} -m tenyson.runner`."""
    ssh_port: int = Field(default=22, gt=0, lt=65536)
    """Port of the machine's SSH server."""
    private_address: bool = False
    """Reach the machine by its private address, as from within the VPC."""
    ssh_proxy: list[str] = []
    """A command that carries the SSH connection, such as Session Manager's; {instance} and {port} are filled in."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """Between two looks at a job."""
