"""The settings of the task: what may stand under `task.args`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class VerifiersSettings(BaseModel):
    """Everything that can be set about the task."""

    model_config = _STRICT

    env: str | None = None
    """Name of a taskset that is installed where `python` finds it, such as gsm8k-v1."""
    env_args: dict[str, Any] = {}
    """Arguments of the taskset."""
    eval_args: dict[str, Any] | None = None
    """Other arguments of the taskset for the eval split, such as `{split: test}`. null: the eval split is the first tasks, and
    the train split those after them."""
    python: str | None = None
    """Interpreter of the virtual environment that has verifiers; null: this job's."""
    harness: str | None = None
    """Program that plays a task. null: the taskset's own if it has one, else `null`, which chats and calls the task's tools."""
    harness_args: dict[str, Any] = {}
    """Arguments of the harness."""
    runtime: dict[str, Any] = {"type": "subprocess"}
    """Where the harness runs, as verifiers has it."""
    agent_args: dict[str, Any] = {}
    """Further fields of the agent's configuration, such as `timeout`."""
    pass_env: list[str] = []
    """Names of variables of the job that verifiers gets, such as the key of a judge."""
    train_size: int = Field(default=1000, gt=0)
    """Tasks of the train split, at most."""
    eval_size: int = Field(default=100, gt=0)
    """Tasks of the eval split, at most."""
    load_seconds: float = Field(default=300.0, gt=0, le=86400)
    """Time for the environment to load, and for its tasks to be read."""

    @model_validator(mode="after")
    def _names_an_environment(self, info: ValidationInfo) -> VerifiersSettings:
        if self.env is None and (info.context or {}).get("for_job"):
            raise ValueError("there is no environment: set env, such as gsm8k-v1")
        if self.harness is None and self.harness_args:
            raise ValueError("harness_args belong to harness: set harness too")
        if twice := sorted({"harness", "runtime"} & set(self.agent_args)):
            raise ValueError(f"{', '.join(twice)} of agent_args is a setting of its own")
        return self

    def config(self, split: str) -> dict[str, Any]:
        """What the runner builds the environment from, for a split."""
        args = self.eval_args if split == "eval" and self.eval_args is not None else self.env_args
        return {
            "taskset": {**args, "id": self.env},
            "harness": None if self.harness is None else {**self.harness_args, "id": self.harness},
            "agent": {**self.agent_args, "runtime": self.runtime},
        }
