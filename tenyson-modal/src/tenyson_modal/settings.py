"""Settings of the Modal backend: `backend.settings` of a configuration, `modal:` of a project file, arguments of ModalManager."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tenyson.config.section import VariableName
from tenyson_modal.container.time_slice import containers, longest_hours, shortest_timeout

DAY_SECONDS = 86400
"""The longest that Modal lets one container work on an input."""
MOST_RETRIES = 10
"""The most that Modal takes of one call."""


def _gpu(value: str) -> str:
    import re

    if not re.fullmatch(r"[A-Za-z0-9+-]+!?(?::[1-8])?", value):
        raise ValueError('not a GPU as Modal names it, such as "H100" or "A100-80GB:4"')
    return value


GPU = Annotated[str, AfterValidator(_gpu)]


class ModalSettings(BaseModel):
    """The container, its limits and its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    gpu: GPU | None = "A10G"
    """GPU by Modal's name, such as "H100" or "H100:8"; null for a container without one."""
    gpu_fallbacks: list[GPU] = []
    """Further GPUs to try, in this order, if the first is not available."""
    timeout: int = Field(default=DAY_SECONDS, gt=0, le=DAY_SECONDS)
    """Seconds that one container may run; Modal allows a day at most. A longer job saves in time and continues in another container."""
    max_hours: float = Field(default=24.0, gt=0, le=24 * MOST_RETRIES)
    """The job saves and ends after this many hours in all its containers, whatever happens."""
    preemptions: int = Field(default=20, ge=0)
    """How many preempted containers are replaced by another one before the attempt fails."""
    restarts: int = Field(default=2, ge=0, le=MOST_RETRIES)
    """How many containers that died without an exit status (host failed, or memory ran out) are replaced by another one."""
    queue_minutes: float = Field(default=60.0, gt=0)
    """A job that gets no container for this long, because no GPU is available, is withdrawn."""
    cpu: float = Field(default=4.0, gt=0)
    """Reserved cores; more are used, and billed, if available."""
    memory: int = Field(default=32768, gt=0)
    """Reserved memory in MiB; more is used, and billed, if available."""
    ephemeral_disk: int | None = Field(default=None, ge=524288)
    """Disk of the container in MiB; by default Modal's, 512 GiB."""
    region: str | list[str] | None = None
    """Region or regions, at a higher price; by default any."""
    environment_name: str | None = None
    """Modal environment; by default that of your profile."""
    secrets: list[str] = []
    """NAMES of Modal secrets that the job gets as environment variables."""
    forward_env: list[VariableName] = []
    """NAMES of further environment variables for the job; those of `hub` and `wandb` are always included."""
    volume: str = Field(default="tenyson-outputs", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Name of the Modal volume that holds the runs of this project; created if it does not exist."""
    python: str = Field(default="3.12", pattern=r"^3\.\d+$")
    """Python of the container."""
    image: str | None = None
    """Base image from a registry; by default Modal's Debian."""
    apt: list[str] = []
    """Debian packages for the image."""
    extras: list[str] = []
    """Extras of tenyson-core for the container, in addition to those that the configuration needs."""
    budget_usd: float | None = Field(default=None, gt=0)
    """US dollars for all attempts of a run together: an attempt that could exceed it (price x max_hours, plus the cost of earlier ones) is refused."""
    price_per_hour: float | None = Field(default=None, gt=0)
    """US dollars per hour of the GPU, if Tenyson does not know its price, or not yours."""
    sync_checkpoints: bool = True
    """Whether checkpoints are synced here while the job runs; they are in the volume in any case."""
    direct_database: bool = False
    """Whether the job writes to `telemetry.db_url` directly, such as to a PostgreSQL that it can reach; otherwise this machine does."""
    runner: list[str] = []
    """The command that gets the runner's flags, such as a torchrun wrapper; {python} is the container's. Default:
    `{python} -m tenyson.runner`."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """Seconds between two polls of a job."""

    @model_validator(mode="before")
    @classmethod
    def _list_of_gpus(cls, data: Any) -> Any:
        """`gpu: [H100, A100]` is a choice and its fallbacks."""
        if isinstance(data, dict) and isinstance(data.get("gpu"), list) and data["gpu"]:
            first, *others = data["gpu"]
            return {**data, "gpu": first, "gpu_fallbacks": [*others, *(data.get("gpu_fallbacks") or ())]}
        return data

    @model_validator(mode="after")
    def _chain_is_not_too_long(self) -> Self:
        """Refused here: a chain that ends half way would be found out after many hours."""
        if self.retries <= MOST_RETRIES:
            return self
        most = MOST_RETRIES + 1 - self.restarts
        longer = shortest_timeout(self.max_hours * 3600, most)
        fits = [f"max_hours up to {longest_hours(most, self.timeout):g}"]
        if longer <= DAY_SECONDS:
            fits.append(f"a timeout of {longer} or more")
        if self.containers <= MOST_RETRIES + 1:
            fits.append(f"restarts up to {MOST_RETRIES + 1 - self.containers}")
        raise ValueError(
            f"max_hours: {self.max_hours:g} takes {self.containers} containers after one another with timeout: {self.timeout}; Modal "
            f"starts {most} at most with restarts: {self.restarts}. What fits is {', or '.join(fits)}"
        )

    @property
    def gpus(self) -> list[str]:
        """All choices, the first one first."""
        return [self.gpu, *self.gpu_fallbacks] if self.gpu else []

    @property
    def containers(self) -> int:
        """How many containers after one another `max_hours` needs."""
        return containers(self.max_hours * 3600, self.timeout)

    @property
    def retries(self) -> int:
        """How often Modal is to try the call again: it starts each further container as a retry."""
        return self.containers - 1 + self.restarts
