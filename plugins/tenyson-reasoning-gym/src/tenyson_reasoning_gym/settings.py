"""The settings of the task: what may stand under `task.args`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from tenyson.config.explain import nearest
from tenyson_reasoning_gym.worker.client import worker

RESERVED = {"seed": "task.args.seed", "size": "task.args.train_size and task.args.eval_size"}
"""Fields of every config that the task sets."""

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class MixturePart(BaseModel):
    """One data set of a mixture."""

    model_config = _STRICT

    weight: float = Field(default=1.0, gt=0)
    """Its share of the samples is this part of the sum of the weights."""
    args: dict[str, Any] = {}
    """Arguments of its config class."""


class Curriculum(BaseModel):
    """Levels of difficulty, as reasoning-gym's curricula define them; each data set has a level of its own."""

    model_config = _STRICT

    first: int = Field(default=0, ge=0)
    """The lowest level, at which training begins."""
    last: int | None = Field(default=None, ge=0)
    """The highest level; null: the highest that the data set can make."""
    up_at: float = Field(default=0.8, ge=0, le=1)
    """The level rises where at least this share of its rollouts is solved; 0: whatever they are."""
    down_at: float | None = Field(default=None, ge=0, lt=1)
    """The level falls where less than this share is solved; null: it never falls."""
    rollouts: int = Field(default=128, ge=1)
    """Rollouts of a level, at least, before it may change."""
    range: Literal["inclusive", "upper_bound"] = "inclusive"
    """`inclusive`: a level holds the easier ones too; `upper_bound`: it holds its own difficulty only."""

    @model_validator(mode="after")
    def _thresholds_leave_room(self) -> Curriculum:
        if self.down_at is not None and self.down_at >= self.up_at:
            raise ValueError(f"down_at ({self.down_at:g}) must be below up_at ({self.up_at:g})")
        if self.last is not None and self.last < self.first:
            raise ValueError(f"last ({self.last}) must not be below first ({self.first})")
        return self


class ReasoningGymSettings(BaseModel):
    """Everything that can be set about the task."""

    model_config = _STRICT

    dataset: str | None = None
    """Name of a data set, such as chain_sum. Without it and `datasets` the task has presets, but no samples."""
    dataset_args: dict[str, Any] = {}
    """Arguments of its config class, such as max_terms."""
    datasets: dict[str, MixturePart] = {}
    """A mixture instead: name to weight, or to `weight` and `args`."""
    train_size: int = Field(default=1000, gt=0)
    """Samples of the train split, before those are left out whose question is in the eval split."""
    eval_size: int = Field(default=100, gt=0)
    """Samples of the eval split, before repeated questions are left out."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seed of the generators. The run's seed changes no question."""
    curriculum: Curriculum | None = None
    """Levels that rise with success; null: `dataset_args` hold throughout."""
    answer: Literal["tags", "text"] = "tags"
    """Where the answer stands: in the last `<answer>` tags, or the whole reply is it."""
    system_prompt: str | None = None
    """A text, or the name of one of reasoning-gym's (default, simple, direct, DeepSeekZero, chain_of_draft); "": none. null:
    `default` with tags, none with text."""
    format_weight: float = Field(default=0.1, ge=0, lt=1)
    """Weight of the reward for complete tags; `accuracy` has weight 1."""
    score_seconds: float = Field(default=5.0, gt=0, le=600)
    """Time that scoring an answer may take; one that takes longer scores 0."""
    entry_seconds: float = Field(default=60.0, gt=0, le=3600)
    """Time that generating an entry may take."""

    @field_validator("dataset")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None:
            _require_known(name)
        return name

    @field_validator("dataset_args")
    @classmethod
    def _fit(cls, args: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if name := info.data.get("dataset"):
            require_config(name, args)
        return args

    @field_validator("datasets", mode="before")
    @classmethod
    def _weights_are_parts(cls, found: Any) -> Any:
        if not isinstance(found, Mapping):
            return found
        return {
            name: part if isinstance(part, Mapping | MixturePart) else {"weight": part}
            for name, part in found.items()
        }

    @field_validator("datasets")
    @classmethod
    def _parts_fit(cls, found: dict[str, MixturePart]) -> dict[str, MixturePart]:
        for name, part in found.items():
            _require_known(name)
            require_config(name, part.args)
        return found

    @model_validator(mode="after")
    def _says_it_once(self, info: ValidationInfo) -> ReasoningGymSettings:
        if not self.parts and (info.context or {}).get("for_job"):
            raise ValueError("there is no data set: set dataset, such as chain_sum, or datasets")
        if self.dataset and self.datasets:
            raise ValueError("dataset and datasets are two ways to say the same: give one of them")
        if self.dataset_args and not self.dataset:
            raise ValueError("dataset_args belong to dataset: give each part of datasets its own args")
        return self

    @property
    def parts(self) -> dict[str, MixturePart]:
        """The data sets with their weights and arguments, in order."""
        if self.dataset:
            return {self.dataset: MixturePart(args=self.dataset_args)}
        return self.datasets


def require_config(name: str, args: Mapping[str, Any]) -> None:
    """Raises: ValueError: the data set's config class does not take `args`."""
    for key, instead in RESERVED.items():
        if key in args:
            raise ValueError(f"{key} of {name} is set by {instead}")
    found = worker().check(name, {**args, "seed": 0, "size": 1})
    known = [field for field in found["fields"] if field not in RESERVED]
    if found["unknown"]:
        key = found["unknown"][0]
        near = nearest(key, known)
        hint = f"did you mean {near}?" if near else f"it has {', '.join(known) or 'none'}"
        raise ValueError(f"{name} has no argument {key}: {hint}")
    if found["cause"]:
        raise ValueError(f"{name} refuses its arguments: {found['cause']}")


def _require_known(name: str) -> None:
    known = worker().names()["data_sets"]
    if name in known:
        return
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"reasoning-gym has {len(known)}, such as chain_sum"
    raise ValueError(f"reasoning-gym has no data set {name!r}: {hint}")
