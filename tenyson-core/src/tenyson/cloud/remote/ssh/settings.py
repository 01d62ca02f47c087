"""Settings that all backends have whose machines are reached over SSH."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tenyson.config.section import VariableName


class SSHSettings(BaseModel):
    """How to reach the machine, what the job gets, and when the machine must end. A backend's own settings inherit these."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    key_path: str | None = None
    """File of the private key; ~ is your home. By default a key that is created for this backend."""
    user: str = "ubuntu"
    """User who logs in; must be root or have sudo without a password."""
    max_hours: float = Field(default=24.0, gt=0, le=24 * 30)
    """The machine shuts itself down after this many hours, whatever happens."""
    idle_minutes: float = Field(default=60.0, gt=0)
    """The machine shuts itself down after this many minutes without a job and without a visit; a job's outputs wait that long."""
    lease_hours: float | None = Field(default=None, gt=0)
    """A job without a controller for this long saves and ends; by default it keeps running, so that a laptop may sleep."""
    boot_minutes: float = Field(default=15.0, gt=0)
    """A machine that cannot be reached for this long after its launch is terminated."""
    budget_usd: float | None = Field(default=None, gt=0)
    """US dollars for all attempts of a run together: an attempt that could exceed it (price x max_hours, plus the cost of earlier ones) is refused."""
    forward_env: list[VariableName] = []
    """NAMES of further environment variables for the job; those of `hub` and `wandb` are always included."""
    direct_database: bool = False
    """Whether the job writes to `telemetry.db_url` directly, such as to a PostgreSQL that it can reach; otherwise this machine does."""
    sync_checkpoints: bool = True
    """Whether checkpoints are synced here while the job runs."""
    extras: list[str] = []
    """Extras of tenyson-core for the machine, in addition to those that the configuration needs."""
    python: str = "3.12"
    """Python of the job's environment; uv downloads it if the image has none."""
    image_packages: str | None = None
    """A Python of the image whose packages the job may use, such as /opt/pytorch/bin/python; by default all come from PyPI."""
    runner: list[str] = []
    """The command that gets the runner's flags, such as a torchrun wrapper; {python} is the environment's. Default:
    `{python} -m tenyson.runner`."""
    ssh_port: int = Field(default=22, gt=0, lt=65536)
    """Port of the machine's SSH server."""
    ssh_proxy: list[str] = []
    """A proxy command for the SSH connection; {instance}, {host} and {port} are filled in."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """Seconds between two polls of a job."""
