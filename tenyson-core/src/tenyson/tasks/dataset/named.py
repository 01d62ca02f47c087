"""Rewards and metrics by name: those of `tenyson.rewards`, and "module:function" for those of one's own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tenyson.config.explain import nearest
from tenyson.errors import TenysonError
from tenyson.plugins.failure import one_line
from tenyson.tasks.reward import Reward

_REWARDS = "tenyson.rewards"
"""By name, as those of users are: nothing of it is imported before a reward is asked for."""
NAMES = ("choice", "code", "exact", "format", "json_schema", "judge", "length", "math", "number", "regex")
EXTRACTS = ("after", "boxed", "fenced", "last_line", "matching", "tag", "whole")
_MAKERS = ("after", "fenced", "matching", "tag")
"""Ways to find an answer that are made with an argument."""


def reward_of(given: str | Mapping[str, Any]) -> Reward:
    """The reward that a name, or a mapping with `reward` and options, means.

    Raises: ValueError: there is none of that name, or it does not take these options. MissingDependencyError.
    """
    options = {} if isinstance(given, str) else dict(given)
    name = given if isinstance(given, str) else options.pop("reward", None)
    if not isinstance(name, str) or not name:
        raise ValueError("a reward is a name, or a mapping with `reward` and its options")
    own = ":" in name
    factory = imported(name) if own else _known(name)
    if "extract" in options:
        options["extract"] = extract_of(options["extract"])
    if name == "judge" and isinstance(options.get("model"), Mapping):
        options["model"] = _judge_model(options["model"])
    if own and not _makes_a_reward(factory):
        weight, label = options.pop("weight", 1.0), options.pop("name", name.partition(":")[2])
        if options:
            raise ValueError(
                f"{name} is a reward function, which takes the options weight and name, not {next(iter(options))}"
            )
        return Reward(label, factory, weight)
    _check_options(factory, name, options)
    try:
        found = factory(**options)
    except TenysonError:
        raise
    except Exception as error:
        raise ValueError(f"the reward {name} refuses its options: {one_line(error)}") from error
    if not isinstance(found, Reward):
        raise ValueError(f"{name} returned {type(found).__name__}, which is no Reward")
    return found


def extract_of(given: Any) -> Callable[[str], str | None]:
    """A way to find the answer in a reply: its name, or {name: argument} such as {after: "####"}. Raises: ValueError."""
    name, argument = (
        next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else (given, None)
    )
    if isinstance(name, str) and ":" in name:
        return imported(name)  # type: ignore[no-any-return]
    if name not in EXTRACTS:
        raise ValueError(f"extract is {given!r}; {_near(str(name), EXTRACTS)}")
    found = getattr(importlib.import_module(_REWARDS), name)
    if name in _MAKERS:
        if argument is None and name != "fenced":
            raise ValueError(f'{name} needs an argument: write {{{name}: "..."}}')
        return found() if argument is None else found(argument)  # type: ignore[no-any-return]
    if argument is not None:
        raise ValueError(f"{name} takes no argument")
    return found  # type: ignore[no-any-return]


def imported(target: str) -> Any:
    """What "module:function" names. Raises: ValueError: it does not exist or cannot be imported."""
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:
        raise ValueError(f"{target}: the module {module} cannot be imported: {one_line(error)}") from error
    if not callable(found):
        raise ValueError(f"{target}: the module {module} has no function {attribute}")
    return found


def check_reward(given: Any) -> None:
    """Raises: ValueError: as `reward_of`."""
    reward_of(given)


def check_metric(given: str) -> None:
    """Raises: ValueError: it is no "module:function"."""
    if ":" not in given:
        raise ValueError(f'{given!r} is no metric: write "module:function"')
    imported(given)


def _known(name: str) -> Callable[..., Any]:
    if name not in NAMES:
        raise ValueError(
            f'there is no reward {name}: {_near(name, NAMES)}, or "module:function" for one of your own'
        )
    return getattr(importlib.import_module(_REWARDS), name)  # type: ignore[no-any-return]


def _near(name: str, known: tuple[str, ...]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"there are {', '.join(known)}"


def _check_options(factory: Callable[..., Any], name: str, options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            raise ValueError(f"the reward {name} has no option {option}: {_near(option, tuple(parameters))}")


def _makes_a_reward(function: Callable[..., Any]) -> bool:
    """Whether a function of the user's returns a Reward, by its annotation; others are reward functions themselves."""
    return inspect.signature(function).return_annotation in (Reward, "Reward", "tenyson.tasks.Reward")


def _judge_model(values: Mapping[str, Any]) -> Any:
    rewards = importlib.import_module(_REWARDS)
    _check_options(rewards.JudgeModel, "judge: model", values)
    try:
        if isinstance(values.get("prices"), Mapping):
            values = {**values, "prices": rewards.Prices(**values["prices"])}
        return rewards.JudgeModel(**values)
    except TenysonError:
        raise
    except Exception as error:
        raise ValueError(f"the judge's model cannot be used: {one_line(error)}") from error
