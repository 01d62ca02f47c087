"""References: `${steps.sft.metrics.eval_loss}` and `${matrix.lr}` in a configuration refer to values known later."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tenyson.errors import ConfigError, Problem
from tenyson.jobs.result import JobResult

# Any other `${...}`, such as that of a shell, is text.
_REFERENCE = re.compile(r"\$\{\s*((?:steps|matrix)\.[^{}]*)\}")
FIELDS = ("run_id", "folder", "status", "hf_repo_id", "hf_revision", "wandb_url")
"""What can be asked of a step besides `metrics.NAME`."""


def find_references(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """(key path, name inside `${}`) of every reference in nested mappings and lists."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from find_references(one, (*path, str(key)))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from find_references(one, (*path, str(index)))
    elif isinstance(value, str):
        for name in _REFERENCE.findall(value):
            yield path, name.strip()


def substitute(value: Any, known: Callable[[str], Any]) -> Any:
    """`value` with each reference replaced by `known(name)`. One that is the whole text keeps its type.

    `known` raises KeyError for a name that is to be left as it is.
    """
    if isinstance(value, Mapping):
        return {key: substitute(one, known) for key, one in value.items()}
    if isinstance(value, list):
        return [substitute(one, known) for one in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        try:
            return known(whole[1].strip())
        except KeyError:
            return value

    def in_words(match: re.Match[str]) -> str:
        try:
            return str(known(match[1].strip()))
        except KeyError:
            return match[0]

    return _REFERENCE.sub(in_words, value)


def step_of(name: str) -> str | None:
    """The label in `steps.LABEL.run_id` or `steps.LABEL.metrics.NAME`; None for any other name."""
    head, _, rest = name.partition(".")
    if head != "steps":
        return None
    label, metrics, _ = rest.partition(".metrics.")
    return label if metrics else (rest.rpartition(".")[0] or None)


def value_of(name: str, results: Mapping[str, JobResult]) -> Any:
    """The value of a reference to a step. Raises: KeyError: the step or its value does not exist."""
    label = step_of(name)
    if label is None or label not in results:
        raise KeyError(name)
    result, asked = results[label], name[len(f"steps.{label}.") :]
    if asked.startswith("metrics."):
        return result.metrics[asked.removeprefix("metrics.")]
    value = (
        result.local_output_dir if asked == "folder" else getattr(result, asked) if asked in FIELDS else None
    )
    if value is None:
        raise KeyError(name)
    return value


def fill_references(
    config: Mapping[str, Any], late: Mapping[str, Any], results: Mapping[str, JobResult]
) -> dict[str, Any]:
    """`config` with the values by dotted key of `late`, whose references are to `results`; checked by the schema.

    Raises:
        ConfigError: a step did not leave that value, or the configuration cannot take it.
    """
    from tenyson.config.load import parse_config

    problems: list[Problem] = []
    filled: dict[str, Any] = dict(config)
    for key, text in late.items():
        value = substitute(text, lambda name: value_of(name, results))
        missing = [name for _, name in find_references(value)]
        for name in missing:
            one = results.get(step_of(name) or "")
            has = (
                ", ".join(f"metrics.{metric}" for metric in one.metrics)
                if one and one.metrics
                else "no metrics"
            )
            problems.append(Problem(f"${{{name}}} has no value", key=key, suggestion=f"it has {has}"))
        filled = put_value(filled, key.split("."), value)
    if problems:
        raise ConfigError(problems)
    return parse_config(filled).model_dump(mode="json")


def put_value(data: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """A copy of nested mappings with one value set; mappings on the way are made, in the place of null too.

    Raises: ConfigError: something else than a mapping is on the way.
    """
    key, *rest = path
    under = data.get(key)
    if rest and not isinstance(under, Mapping | None):
        raise ConfigError([Problem(f"is set, but {key} is not a mapping", key=".".join(path))])
    return {
        **data,
        key: put_value(under if isinstance(under, Mapping) else {}, rest, value) if rest else value,
    }
