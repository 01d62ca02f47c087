"""Settings of the AWS backend: `backend.settings` of a configuration, and the arguments of AWSManager."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AWSSettings(BaseModel):
    """Which machine, and how to reach it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    instance_type: str = Field(default="g5.2xlarge", pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$")
    """EC2 instance type."""
    key_name: str | None = None
    """Name of the EC2 key pair."""
    key_path: str | None = None
    """File of the private key that belongs to `key_name`; ~ is your home."""
    security_group: str | None = Field(default=None, pattern=r"^sg-\S+$")
    """Id of a security group that lets SSH in from here."""
    use_spot: bool = False
    """Take a spot instance: cheaper, and AWS may take it back."""
    spot_max_price: float | None = Field(default=None, gt=0)
    """US dollars an hour; none is what AWS advises, since a limit leads to more interruptions."""
    region: str | None = None
    """AWS region; that of your AWS profile where it is not given."""
    subnet_id: str | None = Field(default=None, pattern=r"^subnet-\S+$")
    """Subnet; none takes any zone that has room."""
    image_id: str | None = Field(default=None, pattern=r"^ami-\S+$")
    """Machine image; none takes the current deep-learning image of the region."""
    disk_gb: int = Field(default=200, gt=0)
    """Size of the root disk in GB."""
    max_hours: float = Field(default=24.0, gt=0)
    """The instance ends itself after this many hours, whatever happens."""
