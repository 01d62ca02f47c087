"""What can be set about the task `dataset`: all that `task.args` may hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from tenyson.config.section import Section, UserPath
from tenyson.tasks.dataset.columns import FIELDS, check_template, is_template
from tenyson.tasks.dataset.named import check_metric, check_reward

Format = Literal["messages", "sharegpt", "alpaca", "completion", "answer", "preference"]


class SourceSettings(Section):
    """One file, folder or data set of the Hub."""

    path: UserPath
    """A file (.jsonl, .json, .csv, .tsv or .parquet, also .gz), a folder of them, or the name of a data set on the Hub."""
    name: str | None = None
    """What metrics and records call it; the file's name where not given."""
    weight: float | None = Field(default=None, gt=0)
    """Its share of a mixture, in parts of the sum of all weights. Without weights every row of every source is taken once."""
    split: str | None = None
    """Hub: the split of training rows; `train` where not given."""
    subset: str | None = None
    """Hub: the configuration of the data set, such as `main`."""
    revision: str | None = None
    """Hub: branch, tag or commit. A run records the commit that it found."""
    format: Format | None = None
    """How rows are read; recognised by their columns where not given."""
    columns: dict[str, str] | None = None
    """Fields of the format by column, or by a Jinja template over the row; those of the task where not given."""
    filter: str | None = None
    """A Jinja expression over the row, such as `difficulty > 3`; rows for which it is false are left out."""

    @field_validator("columns")
    @classmethod
    def _fields_exist(cls, columns: dict[str, str] | None) -> dict[str, str] | None:
        return _checked_columns(columns)

    @field_validator("filter")
    @classmethod
    def _can_be_read(cls, expression: str | None) -> str | None:
        if expression is not None:
            check_template(expression, expression=True)
        return expression


def _listed(value: Any) -> Any:
    """A path, a mapping, or a list of either, as a list of mappings."""
    if value is None:
        return value
    return [
        {"path": one} if isinstance(one, str) else one
        for one in (value if isinstance(value, list) else [value])
    ]


Sources = Annotated[list[SourceSettings], BeforeValidator(_listed)]


class DatasetSettings(Section):
    """Rows, how they are read, which are held out, and how replies are rewarded."""

    data: Sources | None = None
    """A file, a folder, a data set of the Hub, or a list of them; each may be a mapping with `path` and further settings."""
    eval_data: Sources | None = None
    """The same for the eval split."""
    eval_split: str | None = None
    """Hub: the split of `data` that is the eval split, such as `test`."""
    eval_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rows of `data` that are held out as the eval split. Which ones follows from a hash of `eval_key`, so that rows
    with the same key are on the same side, and further rows move none."""
    eval_key: str | None = None
    """Column, or Jinja template, by whose text rows are held out; the prompt where not given."""
    format: Format | None = None
    """How rows are read; recognised by their columns where not given (`tenyson data FILE` shows it)."""
    columns: dict[str, str] | None = None
    """Fields of the format by column, or by a Jinja template over the row, such as {prompt: question, answer: "{{ final | trim }}"}."""
    system: str | None = None
    """A system message for rows that have none."""
    bad_rows: Literal["refuse", "leave_out"] = "refuse"
    """Rows that cannot be read: `refuse` names them and starts nothing; `leave_out` continues without them and reports how many."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the order in which a weighted mixture takes the rows of its sources. The run's seed changes no row."""
    mixture: Literal["first_used_up", "all_used_up"] = "first_used_up"
    """With weights: whether the mixture ends when the first source has no rows left, or repeats it until all have been read."""
    rewards: list[str | dict[str, Any]] = []
    """Names of `tenyson.rewards` (exact, math, number, choice, regex, code, json_schema, length, format, judge), "module:function", or
    mappings with `reward` and its options, such as {reward: number, extract: {after: "####"}, weight: 1}."""
    metrics: list[str] = []
    """Further metrics of an evaluation: "module:function", called with the rollouts, which returns metrics by name."""

    @field_validator("columns")
    @classmethod
    def _fields_exist(cls, columns: dict[str, str] | None) -> dict[str, str] | None:
        return _checked_columns(columns)

    @field_validator("eval_key")
    @classmethod
    def _can_be_read(cls, key: str | None) -> str | None:
        if key is not None and is_template(key):
            check_template(key)
        return key

    @field_validator("rewards")
    @classmethod
    def _rewards_exist(cls, rewards: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        for one in rewards:
            check_reward(one)
        return rewards

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, metrics: list[str]) -> list[str]:
        for one in metrics:
            check_metric(one)
        return metrics

    @model_validator(mode="after")
    def _says_it_once(self, info: ValidationInfo) -> Self:
        if self.data is None and (info.context or {}).get("for_job"):
            raise ValueError("there is no data: set data to a file, a folder or a data set of the Hub")
        if self.data is not None and not self.data:
            raise ValueError("data is an empty list")
        held_out = [
            key
            for key, given in (
                ("eval_data", self.eval_data),
                ("eval_split", self.eval_split),
                ("eval_fraction", self.eval_fraction),
            )
            if given
        ]
        if len(held_out) > 1:
            raise ValueError(
                f"{' and '.join(held_out)} are different ways to say what is held out: give one of them"
            )
        if self.eval_key is not None and not self.eval_fraction:
            raise ValueError("eval_key says which rows eval_fraction holds out, and eval_fraction is not set")
        weights = [one.weight is not None for one in self.data or ()]
        if any(weights) and not all(weights):
            raise ValueError("give every source of data a weight, or none")
        if self.mixture != "first_used_up" and not any(weights):
            raise ValueError("mixture acts where the sources of data have weights")
        return self


def _checked_columns(columns: dict[str, str] | None) -> dict[str, str] | None:
    from tenyson.config.explain import nearest

    for field, where in (columns or {}).items():
        if field not in FIELDS:
            near = nearest(field, FIELDS)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(FIELDS)}"
            raise ValueError(f"{field} is no field of a row: {hint}")
        if is_template(where):
            check_template(where)
    return columns
