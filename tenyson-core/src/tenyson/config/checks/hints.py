"""Type hints of a library's arguments: whether a value from YAML fits one, and how to say it in words.

Only what is surely wrong is refused: of a hint that is not understood, every value fits.
"""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Any

ALSO_FLOAT = frozenset({"lora_alpha"})
"""Annotated as int, and used with fractions."""


_MOST = 8
"""Names that are listed."""


def fits(value: Any, hint: Any, name: str = "") -> bool:
    """Whether an argument takes a value."""
    if name == "scale_rewards" and isinstance(value, bool):
        return True  # TRL calls it text, and takes both
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        args = typing.get_args(hint)
        # `OptimizerNames | str` takes no other text than the names.
        args = tuple(one for one in args if one is not str) if names_of(hint) else args
        return any(fits(value, one, name) for one in args)
    if origin is typing.Literal:
        literals = typing.get_args(hint)
        # peft writes "pissa_niter_[number of iters]" for a family of names.
        families = [one.partition("[")[0] for one in literals if isinstance(one, str) and "[" in one]
        return any(value == one and type(value) is type(one) for one in literals) or (
            isinstance(value, str) and any(value.startswith(one) for one in families)
        )
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        also = name in ALSO_FLOAT and isinstance(value, float)
        return (isinstance(value, int) and not isinstance(value, bool)) or also
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if hint is list or origin is list:
        inner = typing.get_args(hint)
        return isinstance(value, (list, tuple)) and all(fits(one, inner[0]) for one in value if inner)
    if hint is dict or origin is dict:
        return isinstance(value, dict)
    if isinstance(hint, type) and issubclass(hint, Enum):
        # YAML reads a bare `no` as false.
        return value is False or any(value in (one.value, one.name) for one in hint)
    return True


def in_words(hint: Any) -> str:
    """Such as "a number or null"."""
    names: list[str] = []
    args = typing.get_args(hint)
    for one in args if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]:
        if typing.get_origin(one) is typing.Literal:
            names += [f"{value!r}" for value in typing.get_args(one)]
        elif isinstance(one, type) and issubclass(one, Enum):
            members = [f"{member.value!r}" for member in one]
            names += (
                members
                if len(members) <= _MOST
                else [f"one of the {len(members)} names that the library has"]
            )
        else:
            plain = typing.get_origin(one) or one
            if plain is str and names:
                continue  # one of the names
            names.append(_WORDS.get(plain, getattr(plain, "__name__", str(plain))))
    names = list(dict.fromkeys(names))
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def names_of(hint: Any) -> list[str]:
    """The texts that an argument with a list of names takes."""
    args = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]
    return [
        str(member.value) for one in args if isinstance(one, type) and issubclass(one, Enum) for member in one
    ]


_WORDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a mapping",
    type(None): "null", None: "null",
}  # fmt: skip
