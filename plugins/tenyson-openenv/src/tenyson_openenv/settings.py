"""The settings of the task: what may stand under `task.args`."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class OpenEnvSettings(BaseModel):
    """Everything that can be set about the task."""

    model_config = _STRICT

    url: list[str] = []
    """Address of a server, such as http://127.0.0.1:8000, or of several that serve the same environment."""
    command: list[str] = []
    """A server to start as a local process instead; {port} in it is replaced, and PORT is set. It ends with the job."""
    processes: int = Field(default=1, ge=1, le=256)
    """How many of them to start: each serves as many rollouts at once as it has slots, which is one unless it says otherwise."""
    cwd: str | None = None
    """Working directory of `command`; null: the job's."""
    env: dict[str, str] = {}
    """Variables of `command`, beside PATH and its like. For secrets use `pass_env`."""
    pass_env: list[str] = []
    """Names of variables of the job that `command` gets."""
    api_key_env: str | None = None
    """Name of the variable whose value is sent to `url` as a bearer token."""
    reset: dict[str, Any] = {}
    """Arguments of each reset, beside the sample's `seed`."""
    action: str = "auto"
    """What a reply is: `json`, the whole action as JSON; a name, the text of that field; `auto`: of the only field, else `json`."""
    action_args: dict[str, Any] = {}
    """The other fields of each action, such as `language`."""
    show: list[str] = []
    """Fields of the observation that the model sees. Empty: all; a single text is shown as it is, else they are JSON."""
    prompt: str | None = None
    """The first message to the model, before what the reset returns; null: one that says what the server says of itself."""
    train_size: int = Field(default=1000, gt=0)
    """Samples of the train split: each is an episode with a seed of its own."""
    eval_size: int = Field(default=100, gt=0)
    """Samples of the eval split."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Which seeds the samples have. The run's seed changes none."""
    step_seconds: float = Field(default=60.0, gt=0, le=86400)
    """Limit of one answer of the server."""
    slot_seconds: float = Field(default=10.0, gt=0, le=86400)
    """How long to wait for a free slot while none of this job's episodes moves on; then those that wait give theirs away."""
    start_seconds: float = Field(default=120.0, gt=0, le=3600)
    """Limit for `command` to answer, after it was started."""

    @field_validator("url", mode="before")
    @classmethod
    def _one_or_several(cls, found: Any) -> Any:
        return [found] if isinstance(found, str) else found

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, found: Any) -> Any:
        return shlex.split(found) if isinstance(found, str) else found

    @field_validator("url")
    @classmethod
    def _are_addresses(cls, found: list[str]) -> list[str]:
        for one in found:
            parts = urlsplit(one)
            if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
                raise ValueError(f"{one!r} is no address: write it like http://127.0.0.1:8000")
            if parts.username or parts.password:
                raise ValueError("an address must hold no password: name its variable in api_key_env")
        return found

    @model_validator(mode="after")
    def _one_kind_of_server(self, info: ValidationInfo) -> OpenEnvSettings:
        if self.url and self.command:
            raise ValueError("url and command are two ways to say where the server is: give one of them")
        if not self.url and not self.command and (info.context or {}).get("for_job"):
            raise ValueError("there is no server: set url, such as http://127.0.0.1:8000, or command")
        given = self.model_fields_set
        if not self.command and (idle := given & {"processes", "cwd", "env", "pass_env", "start_seconds"}):
            raise ValueError(f"{', '.join(sorted(idle))} would have no effect without command")
        if not self.url and "api_key_env" in given:
            raise ValueError("api_key_env would have no effect without url")
        if self.action == "json" and self.action_args:
            raise ValueError("action_args would have no effect: with action json a reply is the whole action")
        return self
