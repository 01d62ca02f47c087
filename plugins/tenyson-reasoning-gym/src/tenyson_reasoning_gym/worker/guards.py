"""Guards around scorers: reasoning-gym evaluates some answers as Python, and a few of its scorers accept what is wrong.

A test looks for further scorers that evaluate text.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from typing import Any

PYTHON = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
"""Scorers that call `eval` on an answer, which they take for a list."""
MATHS = frozenset(
    {"countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration"}
)
"""Scorers that hand an answer to sympy's parser, which evaluates it."""

LONGEST = 20_000
"""Characters of an answer; no data set asks for as many, and some scorers take time that grows with their square."""
_NOT_A_NUMBER = re.compile(r"nan|inf", re.IGNORECASE)
_MATHS_CHARACTERS = re.compile(r"[\w\s+\-*/^().,|!]*", re.ASCII)
_ATTRIBUTE = re.compile(r"\.\s*[A-Za-z_]")
_NAME = re.compile(r"[A-Za-z_]\w*")
_FUNCTIONS = frozenset(
    [
        "Abs",
        "C",
        "E",
        "I",
        "Integer",
        "Rational",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "cos",
        "cosh",
        "cot",
        "coth",
        "csc",
        "csch",
        "exp",
        "log",
        "ln",
        "pi",
        "sec",
        "sech",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
    ]
)

Scorer = Callable[[str | None, dict[str, Any]], float]


def refuses(name: str, answer: str | None) -> bool:
    """Whether an answer is worth 0 without being scored."""
    if answer is None:
        return False
    if len(answer) > LONGEST:
        return True
    if name in MATHS:
        return not is_maths(answer)
    # exp(-nan) is nan, and min(1.0, nan) is 1.0.
    return name == "complex_arithmetic" and bool(_NOT_A_NUMBER.search(answer))


def is_maths(text: str) -> bool:
    """Whether text is a formula of numbers, single letters and common functions, which can do nothing but compute."""
    return (
        bool(_MATHS_CHARACTERS.fullmatch(text))
        and not _ATTRIBUTE.search(text)
        and all(len(word) == 1 or word in _FUNCTIONS for word in _NAME.findall(text))
    )


def shield(cls: type[Any]) -> None:
    """Let the module of a data set that calls `eval` on answers read literals only."""
    module = sys.modules[cls.__module__]
    if getattr(module, "DATASET_NAME", None) in PYTHON:
        module.eval = ast.literal_eval  # type: ignore[attr-defined]


def scorer(name: str, data_set: Any) -> Scorer:
    """The data set's scorer, or ours where its own accepts any text."""
    if name == "game_of_life_halting":
        # Its own compares truth values of texts, and that of "False" is true.
        return lambda answer, entry: float(_plain(answer) == _plain(entry["answer"]))
    found: Scorer = data_set.score_answer
    return found


def _plain(answer: Any) -> str:
    return "" if answer is None else str(answer).strip().strip(".").casefold()
