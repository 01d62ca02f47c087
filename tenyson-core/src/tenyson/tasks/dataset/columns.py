"""Columns: from a row to the fields that its format needs, by name or by a Jinja template of one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from tenyson.config.explain import nearest
from tenyson.errors import MissingDependencyError
from tenyson.tasks.dataset.row import Row, RowError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FIELDS = (
    "messages",
    "conversations",
    "instruction",
    "input",
    "output",
    "history",
    "prompt",
    "completion",
    "answer",
    "chosen",
    "rejected",
    "system",
    "tools",
    "id",
)
"""What a format may read of a row."""


def is_template(text: str) -> bool:
    """Whether a value of `columns` is a template rather than the name of a column."""
    return "{{" in text or "{%" in text


def check_template(text: str, *, expression: bool = False) -> None:
    """Raises: ValueError: Jinja cannot read it. MissingDependencyError: Jinja is not installed."""
    from jinja2 import TemplateSyntaxError

    try:
        _expression(text) if expression else _template(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"{text!r} cannot be read as Jinja: {error.message}") from None


def select(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with the fields of `columns` filled in; its other columns stay. Raises: RowError."""
    if not columns:
        return row
    return Row(
        row.place,
        {**row.values, **{field: value(row, where) for field, where in columns.items()}},
        row.source,
    )


def value(row: Row, where: str) -> Any:
    """What a column holds, or what a template says of the row. Raises: RowError."""
    if is_template(where):
        return _rendered(row, where, _template(where))
    if where not in row.values:
        near = nearest(where, row.values)
        hint = f"did you mean {near}?" if near else f"it has {', '.join(map(str, row.values)) or 'none'}"
        raise RowError(row.place, f"there is no column {where!r}: {hint}")
    return row.values[where]


def keeps(row: Row, expression: str | None) -> bool:
    """Whether a filter keeps the row. Raises: RowError: it cannot be asked about this row."""
    return expression is None or bool(_rendered(row, expression, _expression(expression)))


def _rendered(row: Row, text: str, call: Callable[..., Any]) -> Any:
    try:
        return call(row.values)
    except Exception as error:  # a template is code of the user's, and may raise anything
        raise RowError(row.place, f"{text!r} fails on this row: {error}") from None


@cache
def _template(text: str) -> Callable[..., str]:
    return _environment().from_string(text).render


@cache
def _expression(text: str) -> Callable[..., Any]:
    return _environment().compile_expression(text, undefined_to_none=False)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    try:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise MissingDependencyError(
            "jinja2", needed_for="templates over columns", install="tenyson-core[data]"
        ) from None
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
